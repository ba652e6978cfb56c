"""Sources as lines: what answers, what does not, and no clock that ticks while all is well."""

from dataclasses import replace
from datetime import timedelta

import pytest
from rich.cells import cell_len

from console.tui.cells import Role, Row, text_of
from console.tui.render.billing import COLUMNS, BillingAnswer, Shape, detail_rows, entries, gap_rows, share, state
from console.tui.table import columns_for, heading, texts
from store.fleet_view import Fleet
from store.sources import SourceHealth, Stretch
from store.unknown import Unknown
from tests.console.fleet_world import fleet_world

TICK = timedelta(seconds=60)
NASTY = "HTTP 500 \x1b[31m[bold]漢字[/bold] " + "x" * 90


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    world = fleet_world(tmp_path_factory.mktemp("fleet"), minutes=2)
    world.asleep = frozenset({"l40"})
    world.tick()
    return world.service.fleet()


def source(fleet: Fleet, **changes: object) -> SourceHealth:
    known = SourceHealth(
        kind="provider",
        name="cloud",
        tier="",
        last_complete_at=fleet.at - TICK,
        problem=None,
        latency_median_ms=12,
        latency_p95_ms=40,
        complete=1440,
        incomplete=0,
        gaps=(),
        step=TICK,
        lag=timedelta(seconds=4),
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def told(rows: list[Row]) -> str:
    return "\n".join(text_of(row) for row in rows)


def test_states_are_told_apart_without_colour(fleet: Fleet) -> None:
    agent = {"kind": "agent", "name": "l40-a", "tier": "l40"}
    found = {
        state(source(fleet), TICK, fleet),
        state(source(fleet, problem="HTTP 500"), TICK, fleet),
        state(source(fleet, last_complete_at=fleet.at - 4 * TICK, problem="HTTP 500"), TICK, fleet),
        state(source(fleet, last_complete_at=None, problem="never asked"), TICK, fleet),
        state(source(fleet, **agent, last_complete_at=fleet.at - 9 * TICK), TICK, fleet),
    }
    assert found == {
        ("● complete", Role.PLAIN),
        ("! problem", Role.WARN),
        ("! STALE 4 min", Role.BAD),
        ("— never yet", Role.BAD),
        ("○ asleep", Role.MUTED),
    }


def test_nothing_moves_while_a_source_is_healthy(fleet: Fleet) -> None:
    answer = BillingAnswer([source(fleet)], TICK)
    later = replace(fleet, at=fleet.at + timedelta(seconds=45))
    assert entries(answer, fleet) == entries(answer, later)
    assert detail_rows(source(fleet), answer, fleet, 80) == detail_rows(source(fleet), answer, later, 80)


@pytest.mark.parametrize(
    ("complete", "incomplete", "text"),
    [(1440, 0, "100%"), (1439, 1, "99.9%"), (143_999, 1, "99.9%"), (0, 3, "0.0%"), (0, 0, "—")],
)
def test_a_share_is_100_percent_only_when_nothing_is_missing(
    fleet: Fleet, complete: int, incomplete: int, text: str
) -> None:
    assert share(source(fleet, complete=complete, incomplete=incomplete)) == text


def test_a_gap_that_goes_on_has_no_end_yet(fleet: Fleet) -> None:
    gaps = (
        Stretch(fleet.at, None, 2, "HTTP 503"),
        Stretch(fleet.at - timedelta(hours=3), fleet.at - timedelta(hours=1), 120, "timed out"),
    )
    shown = told(gap_rows(gaps, 80))
    assert "goes on" in shown
    assert "2 h" in shown
    assert "NO GAP" in told(gap_rows((), 80))


def test_the_detail_says_what_was_observed_and_what_is_documented(fleet: Fleet) -> None:
    one = source(fleet, problem="HTTP 500", lag=Unknown("no bill has moved"))
    shape = Shape("hyperstack", "lifetime", TICK, timedelta(minutes=4))
    shown = told(detail_rows(one, BillingAnswer([one], TICK, {"cloud": shape}), fleet, 120))
    for text in (
        "! HTTP 500",
        "answers in 12 ms (median)",
        "bills move every 60 s, and trail by — (no bill has moved)",
        "hyperstack documents: a bill is a total over each resource's whole life",
        "it moves every 60 s; it trails by up to 4 min",
    ):
        assert text in shown


def test_a_source_that_nobody_asks_is_not_said_to_have_no_gap(fleet: Fleet) -> None:
    late = source(fleet, last_complete_at=fleet.at - 9 * TICK)
    gap = Stretch(fleet.at - 20 * TICK, fleet.at - 19 * TICK, 1, "HTTP 503")
    answer = BillingAnswer([late], TICK)
    for one in (late, replace(late, gaps=(gap,))):
        shown = told(detail_rows(one, answer, fleet, 79))
        assert "NO GAP" not in shown
        assert "! NOT ASKED since 11-24 07:54:00 UTC: what it has missed is noted nowhere" in shown
        assert ("HTTP 503" in shown) == bool(one.gaps)
    going_on = replace(late, gaps=(replace(gap, until_at=None),))
    assert "NOT ASKED" not in told(detail_rows(going_on, answer, fleet, 79))
    assert "NOT ASKED" not in told(detail_rows(source(fleet), answer, fleet, 79))


def test_an_agent_of_a_tier_that_slept_says_how_often(fleet: Fleet) -> None:
    agent = source(fleet, kind="agent", name="l40-a", tier="l40", complete=120, asleep=20)
    shown = told(detail_rows(agent, BillingAnswer([agent], TICK), fleet, 120))
    assert "120 of 120 ticks in 24 h were (100%) its tier slept at 20 more" in " ".join(shown.split())
    all_day = replace(agent, complete=0, asleep=140)
    assert share(all_day) == "—"
    assert "its tier slept at every tick in 24 h" in told(
        detail_rows(all_day, BillingAnswer([all_day], TICK), fleet, 120)
    )


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_nothing_is_wider_than_the_screen_and_no_heading_is_cut(fleet: Fleet, width: int) -> None:
    one = source(fleet, name=NASTY, problem=NASTY, gaps=(Stretch(fleet.at, None, 1, NASTY),), tier=NASTY)
    answer = BillingAnswer([one], TICK, {NASTY: Shape("x", "lifetime")})
    found = entries(answer, fleet)
    fitting = columns_for(COLUMNS, found, width)
    above = heading(fitting, None)
    for column in fitting:
        assert column.heading in above
    lines = [above, texts(fitting, found[0]), *map(text_of, detail_rows(one, answer, fleet, width))]
    assert max(map(cell_len, lines)) <= width
    assert "\x1b" not in "".join(lines)


def test_80_columns_hold_what_was_observed_of_a_bill(fleet: Fleet) -> None:
    keys = {column.key for column in columns_for(COLUMNS, entries(BillingAnswer([source(fleet)], TICK), fleet), 80)}
    assert keys == {"name", "state", "complete", "latency", "share", "gaps", "step", "lag"}
