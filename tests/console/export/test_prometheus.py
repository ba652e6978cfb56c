"""What Prometheus is told: sound in both formats, equal to our own figures, and silent on what is not known."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as classic_families

from console.cli import main
from console.export.explain import explain_body
from console.export.prometheus import export_prometheus, families, prometheus_text
from store.alarms import tell
from store.operations import finish, request
from store.phases import OperationKind, OperationOutcome
from store.window import Window
from tests.conftest import History
from tests.console.fleet_world import FleetWorld, fleet_world


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    return fleet_world(tmp_path)


def scraped(world: FleetWorld, *, openmetrics: bool = True) -> dict[str, Metric]:
    """Every family of a scrape, by its name, read by the parser of the format."""
    found = families(world.database, world.settings, world.clock.now())
    text = prometheus_text(found, openmetrics=openmetrics)
    assert text.endswith("# EOF\n") == openmetrics
    parsed = openmetrics_families(text) if openmetrics else classic_families(text)
    return {family.name: family for family in parsed}


def value(found: Mapping[str, Metric], name: str, **labels: str) -> float | None:
    """One sample's value; None where there is none."""
    for family in found.values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def test_differences_of_two_scrapes_are_what_explain_says(world: FleetWorld) -> None:
    for _ in range(3):
        world.tick()
    before = scraped(world)
    for _ in range(5):
        world.tick()
    after = scraped(world)
    for spec in world.settings.tier_specs:
        of_tier = {"tier": spec.name}
        edges = [value(one, "mtok_figures_timestamp_seconds", **of_tier) or 0.0 for one in (before, after)]
        start, end = (world.clock.now().fromtimestamp(edge, world.clock.now().tzinfo) for edge in edges)
        with world.database.read() as session:
            told = explain_body(session, spec, Window(start, end))

        def risen(name: str, **labels: str) -> float:
            return (value(after, name, **labels) or 0) - (value(before, name, **labels) or 0)

        assert risen("mtok_spend_nanodollars", currency="USD", **of_tier) == told["spend"]["nusd"] > 0
        assert risen("mtok_debits_nanodollars_total", currency="USD", **of_tier) == told["spend"]["nusd"]
        for field in ("prompt_tokens", "completion_tokens", "requests"):
            assert risen(f"mtok_{field}_total", **of_tier) == told["usage"][field] > 0
        assert risen("mtok_running_seconds_total", **of_tier) * 1000 == told["usage"]["running_ms"]


def test_both_formats_hold_the_same_figures(world: FleetWorld) -> None:
    for _ in range(2):
        world.tick()
    openmetrics, classic = scraped(world), scraped(world, openmetrics=False)
    for name, labels in (
        ("mtok_spend_nanodollars", {"tier": "h100", "currency": "USD"}),
        ("mtok_completion_tokens_total", {"tier": "h100"}),
        ("mtok_gate_reason", {"mtok_gate_reason": "dark"}),
    ):
        assert value(openmetrics, name, **labels) == value(classic, name, **labels) is not None


def test_what_is_not_known_has_no_sample_and_is_counted(world: FleetWorld) -> None:
    found = scraped(world)
    assert value(found, "mtok_spend_nanodollars", tier="h100", currency="USD") is None
    assert value(found, "mtok_figure_unknown", tier="h100", figure="spend") == 1
    assert value(found, "mtok_gate_open") == 0
    assert value(found, "mtok_gate_reason", mtok_gate_reason="unobserved") == 1
    for name in ("mtok_budget_debits", "mtok_budget_headroom", "mtok_overspend_bound"):
        assert value(found, f"{name}_nanodollars", currency="USD") is None
    assert value(found, "mtok_budget_limit_nanodollars", currency="USD") == 200 * 10**9
    for _ in range(2):
        world.tick()
    found = scraped(world)
    assert value(found, "mtok_figure_unknown", tier="h100", figure="spend") == 0
    assert value(found, "mtok_figure_unknown", tier="h100", figure="capacity") == 1  # nobody has measured it
    assert value(found, "mtok_capacity_tokens_per_second", tier="h100") is None


def test_a_dark_provider_shows_in_its_ticks_and_closes_the_gate(world: FleetWorld) -> None:
    for problem in (None, None, "HTTP 500", "HTTP 500"):
        world.tick(problem)
    world.clock.advance(120)
    found = scraped(world)
    assert value(found, "mtok_provider_up", provider="cloud") == 0
    assert value(found, "mtok_provider_ticks_last_hour", provider="cloud", outcome="incomplete") == 2
    at = value(found, "mtok_provider_complete_timestamp_seconds", provider="cloud")
    assert at is not None
    assert world.clock.now().timestamp() - at == 300
    assert value(found, "mtok_gate_reason", mtok_gate_reason="dark") == 1
    assert value(found, "mtok_tier_gate_open", tier="h100") == 0


def test_wakes_are_a_histogram_and_alarms_are_counted(world: FleetWorld) -> None:
    world.asleep = frozenset({"l40"})
    world.tick()
    now = world.clock.now()
    with world.database.write() as session:
        row = request(session, now, OperationKind.WAKE, "l40", actor="ada", reason="", seen="8433=HIBERNATED")
        tell(session, now, "clock_jump", "collector", "it jumped")
    assert value(scraped(world), "mtok_operation_requested_timestamp_seconds", tier="l40", kind="wake")
    with world.database.write() as session:
        session.add(row)
        finish(session, row, OperationOutcome.DONE, now + timedelta(seconds=200))
    found = scraped(world)
    counts = [
        value(found, "mtok_wake_duration_seconds_bucket", tier="l40", le=le) for le in ("180.0", "240.0", "+Inf")
    ]
    assert counts == [0, 1, 1]
    assert value(found, "mtok_wake_last_duration_seconds", tier="l40") == 200
    assert value(found, "mtok_operations_total", kind="wake", outcome="done") == 1
    assert value(found, "mtok_alarms_total", kind="clock_jump") == 1
    assert value(found, "mtok_tier_state", tier="l40", mtok_tier_state="asleep") == 1


def test_the_file_for_the_textfile_collector_is_readable_by_all(world: FleetWorld, tmp_path: Path) -> None:
    world.tick()
    path = tmp_path / "mtok.prom"
    export_prometheus(world.database, world.settings, world.clock.now(), path, openmetrics=False)
    assert path.stat().st_mode & 0o777 == 0o644
    assert "mtok_gate_open" in path.read_text()
    assert not re.search(r"^# TYPE \S+ (stateset|info|unknown)$", path.read_text(), re.MULTILINE)


def test_the_command_prints_it(world: FleetWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.tick()
    assert main(["export", "prometheus", "--config", str(world.settings.path), "--openmetrics"]) == 0
    assert capsys.readouterr().out.endswith("# EOF\n")


def test_it_is_read_from_either_database(history: History, tmp_path: Path) -> None:
    for total in (5_000, 5_700):
        history.tick(history.bill(total), totals=history.totals(10, 20))
    world = fleet_world(tmp_path)
    found = families(history.database, world.settings, history.clock.now())
    samples = {(one.name, one.labels.get("tier")): one.value for family in found for one in family.samples}
    assert samples["mtok_spend_nanodollars", "h100"] == 700
    world.database.close()
