"""Before a day's first complete tick whatever shows what was spent today says that it is not known."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.export.gate import gate_body, gate_text
from console.export.gate_table import gate_rows
from console.export.prometheus import families, prometheus_text
from console.export.status import status_body
from console.export.text import status_text
from console.plain_lines import gate_sentence
from console.tui.cells import text_of
from console.tui.render import status
from tests.console.fleet_world import FleetWorld, fleet_world

WHY = "no complete tick since 2026-11-24T23:59:00Z"
UNKNOWN = {"unknown": WHY}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FleetWorld]:
    """Ten minutes of the evening; then twenty seconds past midnight, without a tick since."""
    world = fleet_world(tmp_path)
    world.clock.advance(15 * 3600 + 50 * 60)
    for _ in range(10):
        world.tick()
    world.clock.advance(20)
    yield world
    world.database.close()


def test_a_person_is_told_so(world: FleetWorld) -> None:
    for fleet in (world.service.fleet(), world.service.fleet_at(world.clock.now())):
        assert fleet.verdict.is_open
        (row,) = status.gate_rows(fleet, 120)
        said = (status_text(fleet), gate_sentence(fleet), text_of(row))
        for text in said:
            assert WHY in text
            assert "$0.00" not in text


def test_other_programs_are_told_so(world: FleetWorld) -> None:
    gate = status_body(world.service.fleet())["gate"]
    assert gate["spend_today_usd"] == UNKNOWN
    assert float(gate["upper_bound_usd"]) > 0  # by which the gate decides
    policy, (verdict, promise) = world.settings.gate_policy, world.service.verdict()
    body = gate_body(policy, verdict, promise)
    assert body["fleet"]["debits"] == body["fleet"]["debits_usd"] == UNKNOWN
    assert f"— ({WHY})" in gate_text(body)
    text = prometheus_text(families(world.database, world.settings, world.clock.now()), openmetrics=True)
    assert "mtok_budget_headroom_nanodollars{" in text
    assert "mtok_budget_debits_nanodollars{" not in text


def test_the_table_of_the_gate_has_no_amount_of_today(world: FleetWorld) -> None:
    service = world.service
    rows = gate_rows(service.verdict()[0], {}, service.budget_curve(24), service.verdict_changes(5))
    debits = [row for row in rows if row[2] == "debits_usd"]
    assert [row[3:5] for row in debits] == [["", WHY], ["0.000000000", ""], ["", WHY]]  # midnight itself is known
    world.tick()
    spent = service.fleet().verdict.facts.debits_today_nusd
    assert isinstance(spent, int)
    assert spent > 0
