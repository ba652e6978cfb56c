"""A collector against the simulated provider: ticks, operations, and a schedule that keeps going."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlmodel import col, select

from console.collector.backfill import Backfill
from console.collector.build import build_collector, why_not_lead
from console.collector.operations import Operations
from console.collector.schedule import Schedule
from console.collector.tick import Collector
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import Settings, load_settings
from store.check import check
from store.clock import SystemClock
from store.database import Database, open_database
from store.errors import FenceLost, SettingsError, StoreUnreachable
from store.gate import Reason
from store.leader import acquire
from store.operations import OperationKind, current, request, seen_state
from store.tables import BillSample, Gap, JournalEntry, OperationRow, ProviderTick, ResourceRow, Tick
from store.verdicts import last_verdict

SETTINGS = """
[budget]
daily_usd = "200"
dark_after = "3s"
[collector]
every = "300ms"
leader_expires_after = "2s"
wake_within = "1s"
[providers.cloud]
kind = "simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
volumes = ["5341"]
"""
WORLD = {
    "instances": [
        {"id": 8429, "name": "h100-a", "price_usd_per_hour": "2.00"},
        {"id": 9000, "name": "somebody's", "price_usd_per_hour": "5.00"},
    ],
    "volumes": [{"id": 5341, "name": "weights", "price_usd_per_hour": "0.02", "attached_to": 8429}],
    "hibernate_s": 0,
    "restore_s": 0,
}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    world = SimulatedWorld.from_json(WORLD, SystemClock())
    with running_simulator(world) as running:
        yield running


@pytest.fixture
def settings(simulator: Simulator, tmp_path: Path) -> Settings:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    (tmp_path / "mtok.toml").write_text(SETTINGS.format(url=simulator.base_url), encoding="utf-8")
    return load_settings(tmp_path / "mtok.toml")


@pytest.fixture
async def collector(database: Database, settings: Settings) -> AsyncIterator[Collector]:
    built = build_collector(database, settings, SystemClock())
    yield built
    await built.account.close()


@pytest.fixture
def fence(database: Database) -> int:
    taken = acquire(database, "test", 600)
    assert taken is not None
    return taken


def ask(database: Database, kind: OperationKind) -> None:
    with database.write() as session:
        seen = seen_state(session, "h100")
        request(session, SystemClock().now(), kind, "h100", actor="ada", reason="", seen=seen)


async def carry_out(operations: Operations, database: Database, fence: int, steps: int = 40) -> OperationRow:
    """Advance until the operation has ended."""
    for _ in range(steps):
        await operations.advance(fence)
        with database.read() as session:
            if current(session, "h100") is None:
                return session.exec(select(OperationRow)).all()[-1]
        await asyncio.sleep(0.05)
    pytest.fail("the operation does not end")


async def test_a_tick_stores_what_was_read_and_where_it_belongs(
    collector: Collector, database: Database, fence: int
) -> None:
    assert await collector.tick(fence)
    with database.read() as session:
        assert len(session.exec(select(BillSample)).all()) == 3
        tiers = {(row.resource_id, row.tier) for row in session.exec(select(ResourceRow))}
        assert tiers == {("8429", "h100"), ("5341", "h100"), ("9000", "unassigned")}
        verdict = last_verdict(session)
        assert verdict is not None
        assert verdict.is_open


@pytest.mark.parametrize("fault", ["500", "429", "empty", "drop"])
async def test_a_fault_is_a_gap_and_an_incomplete_tick(
    collector: Collector, database: Database, fence: int, simulator: Simulator, fault: str
) -> None:
    assert await collector.tick(fence)
    simulator.faults.set(fault, "/billing")
    assert not await collector.tick(fence)
    with database.read() as session:
        assert len(session.exec(select(Tick)).all()) == 2
        (gap,) = session.exec(select(Gap)).all()
        assert gap.source == "provider:cloud"
        newest = session.exec(select(ProviderTick)).all()[-1]
        assert newest.problem == gap.problem


async def test_a_collector_that_lost_the_lead_writes_nothing(
    collector: Collector, database: Database, fence: int
) -> None:
    with pytest.raises(FenceLost):
        await collector.tick(fence + 1)
    with database.read() as session:
        assert session.exec(select(Tick)).all() == []


async def test_hibernate_and_wake_go_through_their_phases(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    operations = Operations(collector)
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    assert (await carry_out(operations, database, fence)).outcome == "done"
    machine = simulator.world.find("vm", 8429)
    assert machine is not None
    assert machine.state_at(simulator.world.now_s()) == "HIBERNATED"
    ask(database, OperationKind.WAKE)
    assert (await carry_out(operations, database, fence)).outcome == "done"
    assert machine.state_at(simulator.world.now_s()) == "ACTIVE"
    with database.read() as session:
        told = [entry.what for entry in session.exec(select(JournalEntry)) if entry.actor == "ada"]
    assert told == [
        "hibernate asked",
        "sleep sent",
        "sleep accepted",
        "hibernate done",
        "wake asked",
        "wake sent",
        "wake accepted",
        "wake done",
    ]


async def test_a_lost_answer_is_resolved_by_reading_and_never_by_sending_again(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    await collector.tick(fence)
    simulator.faults.set("drop", "/core/virtual-machines/8429/hibernate")
    ask(database, OperationKind.HIBERNATE)
    assert (await carry_out(Operations(collector), database, fence)).outcome == "done"
    assert sum("/hibernate" in request for request in simulator.requests) == 1
    with database.read() as session:
        assert any(entry.what == "sleep ambiguous" for entry in session.exec(select(JournalEntry)))


async def test_a_wake_is_refused_while_the_gate_is_closed(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    operations = Operations(collector)
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    await carry_out(operations, database, fence)
    await asyncio.sleep(3.1)  # longer than dark_after
    ask(database, OperationKind.WAKE)
    ended = await carry_out(operations, database, fence)
    assert ended.outcome == "refused"
    assert "the gate is closed" in ended.detail
    assert not any("restore" in request for request in simulator.requests)


async def test_an_instance_that_is_no_longer_as_seen_is_left_alone(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    operations = Operations(collector)
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    await operations.advance(fence)  # draining
    machine = simulator.world.find("vm", 8429)
    assert machine is not None
    machine.history.append((simulator.world.now_s(), "SHUTOFF"))
    ended = await carry_out(operations, database, fence)
    assert ended.outcome == "failed"
    assert not any("/hibernate" in request for request in simulator.requests)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(100):
        if await asyncio.to_thread(holds):
            return
        await asyncio.sleep(0.1)
    pytest.fail("did not come to hold")


async def test_a_schedule_leads_ticks_at_once_and_steps_down(collector: Collector, settings: Settings) -> None:
    database = collector.database

    def ticks() -> int:
        with database.read() as session:
            return len(session.exec(select(Tick)).all())

    stop = asyncio.Event()
    schedule = Schedule(collector)
    task = asyncio.create_task(schedule.run(stop))
    await until(lambda: ticks() >= 3)
    assert schedule.leads
    with database.engine.begin() as connection:  # a fault of the store: each run fails, the schedule goes on
        connection.exec_driver_sql("ALTER TABLE provider_ticks RENAME TO gone")
    await asyncio.sleep(1)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO provider_ticks")
    seen = ticks()
    await until(lambda: ticks() > seen)
    stop.set()
    await task
    assert acquire(database, "another", 60) is not None


async def test_a_second_collector_stands_by(settings: Settings, database: Database) -> None:
    acquire(database, "first", 600)
    collector = build_collector(database, settings, SystemClock())
    stop = asyncio.Event()
    schedule = Schedule(collector)
    task = asyncio.create_task(schedule.run(stop))
    await asyncio.sleep(0.8)
    assert not schedule.leads
    stop.set()
    await task
    await collector.account.close()
    with database.read() as session:
        assert session.exec(select(Tick)).all() == []


def test_who_lacks_a_secret_does_not_lead(settings: Settings, tmp_path: Path) -> None:
    assert why_not_lead(settings) is None
    (tmp_path / "key").unlink()
    assert "api_key" in (why_not_lead(settings) or "")
    with pytest.raises(SettingsError, match=r"providers\.cloud\.api_key"):
        build_collector(open_database(settings.store_url), settings, SystemClock())


@pytest.mark.parametrize(
    ("fault", "kept"),
    [("truncated", 0), ("nan", 2), ("string", 2), ("digits", 2), ("negative", 2), ("twice", 3), ("clock", 0)],
)
async def test_of_an_unsound_body_the_tick_keeps_what_is_sound_and_the_gate_sees_it_incomplete(
    collector: Collector, database: Database, fence: int, simulator: Simulator, fault: str, kept: int
) -> None:
    assert await collector.tick(fence)
    simulator.faults.set(fault)
    assert not await collector.tick(fence)
    with database.read() as session:
        ticks = session.exec(select(Tick).order_by(col(Tick.at))).all()
        assert [tick.complete for tick in ticks] == [True, False]
        samples = session.exec(select(BillSample).where(BillSample.at == ticks[-1].at)).all()
        assert len(samples) == kept
        gap = session.exec(select(Gap).where(Gap.source == "provider:cloud")).one()
        assert "/billing/billing/usage" in gap.problem
    simulator.faults.set(None)
    assert await collector.tick(fence)


@pytest.mark.parametrize("fault", ["empty", "missing"])
async def test_a_bill_that_is_missing_while_its_resource_is_listed_is_settled_by_nobody(
    collector: Collector, database: Database, fence: int, simulator: Simulator, fault: str
) -> None:
    assert await collector.tick(fence)
    simulator.faults.set(fault, "/billing")
    backfill = Backfill(collector)
    for _ in range(5):
        await collector.tick(fence)
        await backfill.run(fence)
    verdict = await collector.decide(fence)
    assert Reason.UNSETTLED in verdict.reasons
    simulator.faults.set(None)
    assert await collector.tick(fence)
    assert (await collector.decide(fence)).is_open


async def test_a_full_disk_costs_ticks_and_nothing_else(
    collector: Collector, database: Database, fence: int
) -> None:
    assert await collector.tick(fence)

    def full(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    event.listen(database.engine, "before_cursor_execute", full)
    try:
        with pytest.raises(StoreUnreachable, match="disk is full"):
            await collector.tick(fence)
    finally:
        event.remove(database.engine, "before_cursor_execute", full)
    assert await collector.tick(fence)
    with database.read() as session:
        assert [tick.complete for tick in session.exec(select(Tick))] == [True, True]
    assert check(database) == []
