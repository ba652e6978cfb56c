"""A past minute is shown as it was known then; what was not recorded says so, and is never today's value."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from sqlmodel import col, select, update

from store.copy import copy_store
from store.database import Database
from store.errors import NothingRecorded
from store.fleet_reader import FleetReader
from store.fleet_view import Fleet, TierSpec, TierView
from store.gate import GatePolicy, Reason
from store.leader import acquire
from store.operations import current, enter, finish
from store.phases import OperationKind, OperationOutcome, Phase
from store.replay import read_fleet_at
from store.retention import Retention, thin
from store.samples import record_tick
from store.tables import BillCounter, ResourceRow, TierTick
from store.unknown import NOT_RECORDED, Unknown
from store.verdicts import record_verdict, verdict_now
from store.words import SERVING, Market, State
from tests.console.fleet_world import START, FleetWorld, fleet_world
from tests.databases import emptied, empty_sqlite, opened
from tests.store.worlds import TIERS, World, worlds

MINUTE = timedelta(minutes=1)
POLICY = GatePolicy(10**12, ZoneInfo("UTC"), timedelta(seconds=170))
SPECS = [TierSpec(tier, "cloud", "H100", Market.SPOT) for tier in TIERS]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FleetWorld]:
    """Three tiers before their first tick."""
    world = fleet_world(tmp_path)
    yield world
    world.database.close()


def tier(fleet: Fleet, name: str = "h100") -> TierView:
    found = fleet.tier(name)
    assert found is not None
    return found


def as_then(fleet: Fleet) -> list[object]:
    """All of a fleet that is recorded with its instant."""
    tiers = [(one.spec, one.state, one.rate_nusd_per_hour, one.figures, one.trend) for one in fleet.tiers]
    return [
        *tiers,
        fleet.tick_at,
        fleet.verdict.reasons,
        fleet.verdict.limit_nusd,
        fleet.health,
        fleet.closed_since,
    ]


def test_each_minute_is_shown_again_as_it_was(world: FleetWorld) -> None:
    seen: list[Fleet] = []
    problems = (None, None, "HTTP 500", "HTTP 500", "HTTP 500", "HTTP 500", None, None, None)
    for minute, problem in enumerate(problems):
        world.asleep = frozenset({"l40"} if minute > 3 else ())
        world.tick(problem)
        world.clock.advance(-30)  # a tick is known from its own instant on: look between two of them
        seen.append(world.service.fleet())
        world.clock.advance(30)
    assert {fleet.verdict.is_open for fleet in seen} == {True, False}
    for fleet in seen:
        again = world.service.fleet_at(fleet.at)
        assert as_then(again) == as_then(fleet)
        assert again.is_replay
        assert not fleet.is_replay


def test_what_is_not_recorded_says_so(world: FleetWorld) -> None:
    world.tick()
    world.tick()
    shown = tier(world.service.fleet_at(START + MINUTE))
    assert shown.state == SERVING
    assert (shown.seen, shown.in_flight) == ("not recorded", NOT_RECORDED)
    assert (shown.engine, shown.sleep, shown.keys) == ("", None, {})
    assert set(shown.refusals) == set(OperationKind)
    assert world.service.fleet_at(START).verdict.facts.fleet.headroom_nusd == NOT_RECORDED


def test_a_rate_is_the_one_that_was_quoted_then(world: FleetWorld) -> None:
    world.tick()
    world.tick()
    with world.database.write() as session:
        session.connection().execute(update(ResourceRow).values(rate_nusd_per_hour=1))
    assert tier(world.service.fleet_at(START)).rate_nusd_per_hour == 2_000_000_000


def test_an_operation_is_shown_as_far_as_it_had_come(world: FleetWorld) -> None:
    world.tick()
    seen = tier(world.service.fleet()).seen
    world.service.ask(OperationKind.HIBERNATE, "h100", seen=seen, reason="night")
    for phase in (Phase.DRAINING, Phase.PROVIDER):
        world.clock.advance(30)
        with world.database.write() as session:
            row = current(session, "h100")
            assert row is not None
            enter(session, row, phase, world.clock.now(), f"about {phase}")
    world.clock.advance(30)
    with world.database.write() as session:
        row = current(session, "h100")
        assert row is not None
        finish(session, row, OperationOutcome.DONE, world.clock.now())
    shown = [tier(world.service.fleet_at(START + timedelta(seconds=s))).operation for s in (59, 60, 90, 149, 150)]
    assert [one.phase if one else None for one in shown] == [None, "requested", "draining", "provider", None]
    assert shown[2] is not None
    assert shown[2].detail == "about draining"
    assert [reached.phase for reached in shown[2].reached] == ["requested", "draining"]


def test_the_gate_is_shown_with_the_limit_and_the_hand_of_then(world: FleetWorld) -> None:
    world.tick()
    world.service.close_gate("lunch")
    world.tick()
    world.service.open_gate("back")
    world.tick()
    closed, opened_again = world.service.fleet_at(START + MINUTE), world.service.fleet_at(START + 2 * MINUTE)
    assert closed.verdict.reasons == (Reason.MANUAL,)
    assert "ada@192.0.2.7 (lunch)" in closed.verdict.sentence
    assert (opened_again.verdict.is_open, opened_again.closed_since) == (True, None)
    assert closed.verdict.limit_nusd == 200 * 10**9
    assert isinstance(closed.verdict.facts.debits_today_nusd, int)


def test_a_reset_later_that_day_is_not_known_before(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, limit="0.05", minutes=4)
    world.service.reset_gate(10**9, "launch day")
    world.tick()
    before, after = world.service.fleet_at(START + 3 * MINUTE), world.service.fleet_at(START + 4 * MINUTE)
    world.database.close()
    assert (before.verdict.limit_nusd, before.verdict.is_open) == (50_000_000, False)
    assert (after.verdict.limit_nusd, after.verdict.facts.fleet.allowances_nusd) == (1_050_000_000, 10**9)


def decided(world: FleetWorld) -> None:
    with world.database.write() as session:
        record_verdict(session, verdict_now(session, world.settings.gate_policy, world.clock.now()))


def test_what_a_person_did_a_moment_later_is_not_shown_before(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, limit="0.05", minutes=4)
    acts: tuple[Callable[[], None], ...] = (
        lambda: world.service.close_gate("leak"),
        lambda: world.service.open_gate("mended"),
        lambda: world.service.reset_gate(10**9, "launch day"),
    )
    for act in acts:
        world.tick()
        world.clock.advance(-57)  # three seconds after the tick, which changed nothing
        act()
        decided(world)
        now = world.clock.now()
        before, *past, after = (world.service.fleet_at(now - timedelta(seconds=s)) for s in (4, 3, 1, 0))
        assert before.verdict.reasons != after.verdict.reasons
        for fleet in past:
            assert fleet.verdict.reasons == before.verdict.reasons
            assert fleet.verdict.facts.closed_by == before.verdict.facts.closed_by
            assert fleet.closed_since == before.closed_since
        world.clock.advance(57)
    world.database.close()


@pytest.mark.parametrize("is_closed_meanwhile", [False, True])
def test_a_ticks_own_verdict_holds_from_the_tick_on_though_it_was_kept_later(
    world: FleetWorld, is_closed_meanwhile: bool
) -> None:
    world.tick()
    world.tick()
    world.clock.advance(600)  # a pause after which the first tick is dark still
    at = world.clock.now()
    fence = acquire(world.database, "vm:1:test", 3600)
    assert fence is not None
    record_tick(world.database, world.readings(None), fence)
    world.clock.advance(2)
    if is_closed_meanwhile:
        world.service.close_gate("leak")
    decided(world)
    shown = world.service.fleet_at(at)
    assert shown.verdict.reasons == (() if is_closed_meanwhile else (Reason.DARK,))
    assert shown.closed_since == (None if is_closed_meanwhile else at)
    assert Reason.DARK in world.service.fleet_at(world.clock.now()).verdict.reasons


def test_a_time_without_a_collector_is_dark_and_led_by_nobody(world: FleetWorld) -> None:
    world.tick()
    world.clock.advance(3600)
    world.tick()
    alone = world.service.fleet_at(START + timedelta(minutes=20))
    assert alone.verdict.reasons == (Reason.DARK,)
    assert alone.closed_since == START + timedelta(seconds=170)
    assert alone.led_by is None
    assert world.service.fleet_at(START + MINUTE).led_by == "fence 1"


def test_nothing_is_shown_of_before_the_first_tick(world: FleetWorld) -> None:
    with pytest.raises(NothingRecorded, match="this store holds no tick at all"):
        world.service.fleet_at(START)
    world.tick()
    with pytest.raises(NothingRecorded, match="nothing is recorded before 2026-11-24T08:00:00Z; name an instant"):
        world.service.fleet_at(START - MINUTE)


def test_minutes_are_stepped_through_by_their_ticks(world: FleetWorld) -> None:
    for _ in range(3):
        world.tick()
    service = world.service
    assert service.minute_before(START + MINUTE) == START
    assert service.minute_before(START) is None
    assert service.minute_after(START + timedelta(seconds=30)) == START + MINUTE
    assert service.minute_after(START + 2 * MINUTE) is None


def test_steps_pass_no_outage_by(world: FleetWorld) -> None:
    """Nobody led, so there is no tick between; what happened is that it became dark."""
    world.tick()
    world.clock.advance(3600)
    service, later = world.service, world.clock.now()
    dark = START + world.settings.gate_policy.dark_after + timedelta(seconds=1)
    assert service.minute_after(START) == dark  # and no tick has come since
    assert service.minute_after(dark) is None
    world.tick()
    world.clock.advance(60)
    assert service.minute_after(dark) == later
    assert service.minute_before(later) == dark
    assert service.minute_before(dark) == START
    assert service.fleet_at(START).verdict.is_open
    assert service.fleet_at(dark).verdict.reasons == (Reason.DARK,)


def test_a_minute_from_before_states_were_kept_tells_what_its_running_time_does(world: FleetWorld) -> None:
    for minute in range(4):
        world.asleep = frozenset({"l40"} if minute > 1 else ())
        world.tick()
    with world.database.write() as session:
        session.connection().execute(update(TierTick).values(state=None))
    states = [tier(world.service.fleet_at(START + MINUTE * minute), "l40").state for minute in range(4)]
    assert states == [State.UNKNOWN, State.RUNNING, "asleep or not running", "asleep or not running"]


def test_a_tier_of_later_resources_is_not_there_yet(world: FleetWorld) -> None:
    world.tick()
    world.tick()
    with world.database.write() as session:
        counter = session.exec(select(BillCounter).where(BillCounter.tier == "a100")).one()
        counter.tier, counter.first_seen_at = "unassigned", START + MINUTE
    assert world.service.fleet_at(START).tier("unassigned") is None
    assert world.service.fleet_at(START + MINUTE).tier("unassigned") is not None


def test_states_survive_thinning_and_moving(world: FleetWorld, tmp_path: Path) -> None:
    for minute in range(75):
        world.asleep = frozenset({"l40"} if minute > 30 else ())
        world.tick()
    thin(world.database, Retention(timedelta(days=30), timedelta(days=365), ZoneInfo("UTC")), START + timedelta(40))
    with opened(empty_sqlite(tmp_path / "other.db")) as other:
        copy_store(world.database, other)
        with other.read() as session:
            kept = session.exec(select(TierTick).where(TierTick.tier == "l40").order_by(col(TierTick.at))).all()
        assert len(kept) < 5
        assert [one.state for one in kept] == [SERVING, State.ASLEEP, State.ASLEEP]
        policy, specs = world.settings.gate_policy, world.settings.tier_specs
        at = START + timedelta(minutes=65)
        assert tier(read_fleet_at(other, specs, policy, at, MINUTE), "l40").state == State.ASLEEP


@given(world=worlds(most_ticks=9))
@settings(max_examples=15)
def test_figures_of_any_past_minute_are_those_that_were_shown(ground: tuple[Database, int], world: World) -> None:
    database, fence = ground
    emptied(database)
    shown = []
    for number in range(world.ticks):
        record_tick(database, world.readings(number), fence)
        shown.append(FleetReader(database, SPECS, POLICY, 10 * MINUTE).read(world.at(number)))
    for fleet in shown:
        again = read_fleet_at(database, SPECS, POLICY, fleet.at, 10 * MINUTE)
        assert [one.figures for one in again.tiers] == [one.figures for one in fleet.tiers]
        assert [one.trend for one in again.tiers] == [one.trend for one in fleet.tiers]
        spent = fleet.verdict.facts.debits_today_nusd
        assert again.verdict.facts.debits_today_nusd == spent or isinstance(spent, Unknown)
