"""The day's budget as it filled, and the verdicts of its day."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import col, select

from store.budget_curve import BudgetCurve
from store.gate import FLEET, Reason
from store.tables import BillSample
from store.unknown import NOT_RECORDED, UNOBSERVED, Unknown
from tests.console.fleet_world import START, FleetWorld, fleet_world

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FleetWorld]:
    """Three tiers whose limit of five cents is soon reached, raised, and closed by hand."""
    world = fleet_world(tmp_path, limit="0.05", minutes=4)
    world.service.reset_gate(10**9, "launch day")
    world.tick()
    world.service.close_gate("lunch")
    world.tick()
    yield world
    world.database.close()


def test_the_curve_ends_where_the_gate_is(world: FleetWorld) -> None:
    found: BudgetCurve = world.service.budget_curve(96)
    verdict = world.service.fleet().verdict
    assert (found.points[-1].at, found.points[-1].debits_nusd) == (
        world.clock.now(),
        verdict.facts.debits_today_nusd,
    )
    assert found.points[-1].limit_nusd == verdict.limit_nusd == 1_050_000_000
    assert found.limit_nusd == 50_000_000
    assert (found.start_at, found.end_at) == (
        datetime(2026, 11, 24, tzinfo=UTC),
        datetime(2026, 11, 25, tzinfo=UTC),
    )
    assert len(found.points) == 34  # eight hours of quarters, and now
    spent = [point.debits_nusd for point in found.points if isinstance(point.debits_nusd, int)]
    assert spent == sorted(spent)


def test_what_was_spent_before_anybody_looked_is_not_zero(world: FleetWorld) -> None:
    points = world.service.budget_curve(1440).points
    assert {point.debits_nusd for point in points if point.at < START} == {UNOBSERVED}
    assert all(isinstance(point.debits_nusd, int) for point in points if point.at >= START)
    world.clock.advance(86_400)
    assert world.service.budget_curve(96).points[0].debits_nusd == 0  # nobody looked, and yet the counter is known


def test_what_a_provider_told_of_before_we_looked_is_known(world: FleetWorld) -> None:
    told_at = START - 30 * MINUTE
    with world.database.write() as session:
        sample = session.exec(select(BillSample).order_by(col(BillSample.at))).first()
        assert sample is not None
        derived = {**sample.model_dump(), "at": told_at, "debits_nusd": 0, "origin": "derived"}
        session.add(BillSample(**derived))
    points = world.service.budget_curve(1440).points
    known = [point.at for point in points if isinstance(point.debits_nusd, int)]
    assert known[0] == told_at


def test_an_allowance_raises_the_limit_from_its_instant_on(world: FleetWorld) -> None:
    found = world.service.budget_curve(1440)
    limits = [point.limit_nusd for point in found.points if point.at >= START]
    assert limits == [50_000_000] * 4 + [1_050_000_000] * 3
    (given,) = found.allowances
    assert (given.amount_nusd, given.actor, given.reason, given.scope) == (
        10**9,
        "ada@192.0.2.7",
        "launch day",
        FLEET,
    )


def test_a_past_minute_knows_no_later_allowance(world: FleetWorld) -> None:
    found = world.service.budget_curve(96, START + 3 * MINUTE)
    assert found.allowances == ()
    assert (found.limit_nusd, found.points[-1].limit_nusd) == (50_000_000, 50_000_000)
    assert world.service.budget_curve(96, START - MINUTE).limit_nusd == NOT_RECORDED


def test_a_tier_without_a_limit_of_its_own_says_so(world: FleetWorld) -> None:
    found = world.service.budget_curve(96, scope="h100")
    assert found.limit_nusd == Unknown("tier h100 has no limit of its own")
    assert found.points[-1].limit_nusd == found.limit_nusd
    assert isinstance(found.points[-1].debits_nusd, int)


def test_verdicts_hold_until_the_next(world: FleetWorld) -> None:
    found = world.service.verdict_changes(10)
    assert found[0].until_at is None
    assert Reason.MANUAL in found[0].reasons
    assert [later.since_at for later in found[:-1]] == [earlier.until_at for earlier in found[1:]]
    assert Reason.MANUAL not in found[1].reasons
    assert world.service.verdict_changes(10, found[0].since_at - MINUTE)[0].id == found[1].id
    assert len(world.service.verdict_changes(1)) == 1
