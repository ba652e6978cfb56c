"""The fleet read again and again shows what one read anew shows, and asks for little while nothing has changed."""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import select

from store.fleet import Fleet, TierSpec, read_fleet
from store.fleet_reader import FleetReader
from store.gate import GatePolicy, Reason
from store.inventory import keep_resources, mark_lease, mark_unreachable
from store.operations import OperationKind, Phase, current, enter
from store.tables import AgentRow, Ledger
from store.unknown import Unknown
from store.words import Market
from tests.conftest import History
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.databases import statements

STEP = timedelta(minutes=2)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FleetWorld]:
    """Three tiers after a few minutes."""
    world = fleet_world(tmp_path, minutes=4)
    yield world
    world.database.close()


@pytest.fixture
def reader(world: FleetWorld) -> FleetReader:
    return FleetReader(world.database, world.settings.tier_specs, world.settings.gate_policy, STEP)


def anew(world: FleetWorld) -> Fleet:
    """What somebody who has read nothing before sees."""
    specs, policy = world.settings.tier_specs, world.settings.gate_policy
    return read_fleet(world.database, specs, policy, world.clock.now(), STEP)


def besides_figures(fleet: Fleet) -> Fleet:
    """All but the figures, which are held until a tick changes them."""
    tiers = tuple(replace(tier, figures={}, trend=()) for tier in fleet.tiers)
    return replace(fleet, figures_at=fleet.at, tiers=tiers)


def ask_for_sleep(world: FleetWorld) -> None:
    seen = anew(world).tiers[0].seen
    world.service.ask(OperationKind.HIBERNATE, "h100", seen=seen, reason="night")


def go_on(world: FleetWorld) -> None:
    with world.database.write() as session:
        row = current(session, "h100")
        assert row is not None
        enter(session, row, Phase.DRAINING, world.clock.now())


def stop(world: FleetWorld) -> None:
    world.asleep = frozenset({"l40"})
    with world.database.write() as session:
        row = world._resource("l40", "8433")
        keep_resources(session, "cloud", [row], world.clock.now(), complete=False)


def revoke(world: FleetWorld) -> None:
    with world.database.write() as session:
        mark_lease(session, ["h100-a"], is_open=False)


def silence(world: FleetWorld, problem: str) -> None:
    with world.database.write() as session:
        mark_unreachable(session, "h100-a", "h100", problem)


CHANGES: tuple[Callable[[FleetWorld], object], ...] = (
    lambda world: world.tick(),
    lambda world: world.tick("HTTP 500"),
    ask_for_sleep,
    go_on,
    stop,
    revoke,
    lambda world: silence(world, "no answer"),
    lambda world: silence(world, "no route"),
    lambda world: world.service.close_gate("lunch"),
    lambda world: world.service.open_gate("back"),
)


def test_every_change_is_seen_at_once(world: FleetWorld, reader: FleetReader) -> None:
    reader.read(world.clock.now())
    for change in CHANGES:
        change(world)
        world.clock.advance(1)
        assert besides_figures(reader.read(world.clock.now())) == besides_figures(anew(world))


def test_while_nothing_changes_two_questions_are_enough(world: FleetWorld, reader: FleetReader) -> None:
    first = reader.read(world.clock.now())
    world.clock.advance(1)
    with statements(world.database) as sent:
        again = reader.read(world.clock.now())
    assert len([one for one in sent if "SELECT" in one]) <= 3
    assert again.tiers is first.tiers
    assert again.at == world.clock.now()


def test_what_another_process_has_read_is_as_good(world: FleetWorld, reader: FleetReader) -> None:
    first = reader.read(world.clock.now())
    other = FleetReader(world.database, world.settings.tier_specs, world.settings.gate_policy, STEP)
    other.memory = pickle.loads(pickle.dumps(reader.memory))
    with statements(world.database) as sent:
        assert other.read(world.clock.now()) == first
    assert len([one for one in sent if "SELECT" in one]) <= 3
    world.tick()
    assert other.read(world.clock.now()) == anew(world) != first


@pytest.mark.parametrize("are_new", [False, True], ids=["ledgers known", "ledgers new"])
def test_a_whole_fleet_takes_no_more_questions_than_one_tier(world: FleetWorld, are_new: bool) -> None:
    if are_new:
        with world.database.write() as session:
            for ledger in session.exec(select(Ledger)).all():
                ledger.uuid += "-before"
        world.tick()
    specs, policy, now = world.settings.tier_specs, world.settings.gate_policy, world.clock.now()

    def asked(count: int) -> int:
        with statements(world.database) as sent:
            read_fleet(world.database, specs[:count], policy, now, STEP)
        return len(sent)

    asked(3)
    assert asked(1) == asked(3)


def test_dark_shows_at_its_second_although_nothing_has_changed(world: FleetWorld, reader: FleetReader) -> None:
    world.clock.advance(-60)  # the instant of the last tick
    dark_after = world.settings.gate_policy.dark_after
    reader.read(world.clock.now() + dark_after - timedelta(seconds=1))
    assert reader.read(world.clock.now() + dark_after).verdict.is_open
    late = reader.read(world.clock.now() + dark_after + timedelta(seconds=1))
    assert late.verdict.reasons == (Reason.DARK,)


def test_figures_grow_old_without_ticks(world: FleetWorld, reader: FleetReader) -> None:
    now = world.clock.now()
    assert not isinstance(reader.read(now).tiers[0].figures["5m"].spend, Unknown)
    late = reader.read(now + timedelta(minutes=20)).tiers[0].figures["5m"].spend
    assert isinstance(late, Unknown)
    assert "no complete tick since" in late.reason


def test_a_new_day_is_read_anew(world: FleetWorld, reader: FleetReader) -> None:
    world.clock.advance(16 * 3600 - 4 * 60 - 2)  # two seconds before midnight
    reader.read(world.clock.now())
    world.clock.advance(2)
    read = reader.read(world.clock.now())
    assert read.verdict == anew(world).verdict
    assert read.verdict.facts.debits_today_nusd == 0


def test_what_an_agent_says_is_seen_at_once_on_each_database(history: History) -> None:
    specs = [TierSpec("h100", "cloud", "H100 PCIe", Market.SPOT)]
    policy = GatePolicy(10**15, ZoneInfo("UTC"), timedelta(seconds=170))
    reader = FleetReader(history.database, specs, policy, STEP)
    history.tick(history.bill(10**9))
    with history.database.write() as session:
        session.add(AgentRow(agent="h100-a", tier="h100", seen_at=history.clock.now(), problem="refused"))
    before = reader.read(history.clock.now())
    assert reader.read(history.clock.now()).tiers is before.tiers
    with history.database.write() as session:
        session.get_one(AgentRow, "h100-a").problem = "no answer"
    assert reader.read(history.clock.now()).tiers is not before.tiers
