"""The fleet read again and again shows what one read anew shows, and asks for little while nothing has changed."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from store.database import Database
from store.fleet_reader import FleetReader
from store.fleet_view import Fleet
from store.gate import FLEET, Reason
from store.inventory import forget_agents, keep_agent, keep_resources, mark_lease, mark_unreachable
from store.leader import acquire
from store.operations import current, enter
from store.phases import OperationKind, Phase
from store.samples import record_tick
from store.tables import AgentRow, GateMemory, Ledger
from store.unknown import Unknown
from store.verdicts import record_verdict, verdict_now
from store.words import State
from tests.console.fleet_world import START, FleetWorld, fleet_world
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
    return FleetReader(world.database, specs, policy, STEP).read(world.clock.now())


def besides_figures(fleet: Fleet) -> Fleet:
    """All but the figures, which are held until a tick changes them."""
    tiers = tuple(replace(tier, figures={}, trend=()) for tier in fleet.tiers)
    return replace(fleet, figures_at=fleet.at, tiers=tiers)


def read_sources(world: FleetWorld) -> None:
    """A tick's readings, before anything else of it is stored."""
    fence = acquire(world.database, "vm:1:test", 3600)
    assert fence is not None
    world.ticks += 1
    record_tick(world.database, world.readings(None), fence)


def ask_for_sleep(world: FleetWorld) -> None:
    seen = anew(world).tiers[0].seen
    world.service.ask(OperationKind.HIBERNATE, "h100", seen=seen, reason="night")


def go_on(world: FleetWorld, phase: Phase, detail: str = "", *, is_same: bool = False) -> None:
    with world.database.write() as session:
        row = current(session, "h100")
        assert row is not None
        enter(session, row, phase, row.phase_at if is_same else world.clock.now(), detail)


def see(world: FleetWorld, tier: str, id_: str, *, ago_s: float = 0) -> None:
    """An inventory that shows one instance in error, of which nothing is journaled; read `ago_s` seconds ago."""
    with world.database.write() as session:
        row = world._resource(tier, id_)
        row.state = row.raw_state = State.ERROR
        row.seen_at -= timedelta(seconds=ago_s)
        keep_resources(session, "cloud", [row], row.seen_at, complete=False)


def lease(world: FleetWorld, *, is_open: Sequence[str] = (), is_closed: Sequence[str] = ()) -> None:
    with world.database.write() as session:
        mark_lease(session, is_open, is_open=True)
        mark_lease(session, is_closed, is_open=False)


def silence(world: FleetWorld, problem: str) -> None:
    with world.database.write() as session:
        mark_unreachable(session, "h100-a", "h100", problem)


def answer(world: FleetWorld, in_flight: int) -> None:
    with world.database.write() as session:
        row = session.get_one(AgentRow, "a100-a")
        row.seen_at, row.in_flight = world.clock.now(), in_flight
        keep_agent(session, row)


def name_agents(world: FleetWorld, *names: str) -> None:
    """The settings name these agents of h100 alone, which have not answered yet."""
    with world.database.write() as session:
        forget_agents(session, names)
        for name in names:
            mark_unreachable(session, name, "h100", "no answer")


def remember(world: FleetWorld, *below: tuple[str, datetime]) -> None:
    with world.database.write() as session:
        for row in session.exec(select(GateMemory)).all():
            session.delete(row)
        session.flush()
        session.add_all(GateMemory(scope=scope, below_since_at=since_at) for scope, since_at in below)


def decide(world: FleetWorld, tier_limits_nusd: Mapping[str, int]) -> None:
    """A verdict by settings with these limits of tiers; one that ends with its limit is not journaled."""
    policy = replace(world.settings.gate_policy, tier_limits_nusd=tier_limits_nusd)
    with world.database.write() as session:
        record_verdict(session, verdict_now(session, policy, world.clock.now()))


CHANGES: tuple[Callable[[FleetWorld], object], ...] = (
    FleetWorld.tick,
    lambda world: world.tick("HTTP 500"),
    read_sources,
    lambda world: answer(world, 5),
    lambda world: lease(world, is_closed=["h100-a"]),
    lambda world: lease(world, is_open=["h100-a"], is_closed=["l40-a"]),
    lambda world: silence(world, "no answer"),
    lambda world: silence(world, "no route"),
    ask_for_sleep,
    lambda world: go_on(world, Phase.DRAINING),
    lambda world: go_on(world, Phase.DRAINING, "two streams are left", is_same=True),
    lambda world: see(world, "l40", "8433"),
    lambda world: see(world, "a100", "8437", ago_s=3),
    lambda world: name_agents(world, "h100-b"),
    lambda world: name_agents(world, "h100-c"),
    name_agents,
    lambda world: world.service.close_gate("lunch"),
    lambda world: decide(world, {"h100": 1}),
    lambda world: decide(world, {}),
    lambda world: remember(world, (FLEET, START)),
    lambda world: remember(world, (FLEET, START + timedelta(minutes=2))),
    lambda world: remember(world, ("h100", START + timedelta(minutes=2))),
    remember,
    lambda world: world.service.open_gate("back"),
)


def test_every_change_is_seen_at_once(tmp_path: Path, database: Database) -> None:
    alone = fleet_world(tmp_path)
    alone.database.close()
    world = replace(alone, database=database)
    for _ in range(4):
        world.tick()
    reader = FleetReader(world.database, world.settings.tier_specs, world.settings.gate_policy, STEP)
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
    """A screen's second process hands the fleet over as it is."""
    first = reader.read(world.clock.now())
    assert pickle.loads(pickle.dumps(first)) == first == anew(world)


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
            FleetReader(world.database, specs[:count], policy, STEP).read(now)
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


def test_where_ticks_end_it_shows_what_one_read_anew_shows(world: FleetWorld, reader: FleetReader) -> None:
    """By time alone: no tier serves while it is dark, and what is in flight is known no more."""
    assert reader.read(world.clock.now()).tiers[0].state == "serving"
    for _ in range(50):
        world.clock.advance(5)
        assert besides_figures(reader.read(world.clock.now())) == besides_figures(anew(world))
    last = reader.read(world.clock.now()).tiers[0]
    assert (last.state, last.in_flight) == ("running", Unknown("its agents have not been asked for a while"))


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
    assert read == anew(world)  # its figures too: yesterday's are not today's
    assert read.verdict.facts.debits_today_nusd == Unknown("no complete tick since 2026-11-24T08:03:00Z")
    assert read.verdict.fleet.facts.counted_nusd == 0
