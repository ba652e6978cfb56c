"""A collector against the simulated provider: ticks, operations, and a schedule that keeps going."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlmodel import col, select
from structlog.testing import capture_logs

from console.collector.backfill import Backfill
from console.collector.build import build_collector, why_not_lead
from console.collector.rules import Rules
from console.collector.schedule import Schedule
from console.collector.tick import Collector
from console.errors import ClockApart
from console.providers.simulator import Simulator
from console.settings import Settings, load_settings
from store.check import check
from store.clock import SystemClock
from store.database import Database, open_database
from store.errors import ClockBehind, FenceLost, SettingsError, StoreUnreachable
from store.gate import Reason
from store.leader import acquire
from store.tables import BillSample, Gap, JournalEntry, OperationRow, ProviderTick, ResourceRow, Tick
from store.verdicts import last_verdict
from store.words import State


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


async def test_a_renamed_provider_takes_its_machines_along(
    collector: Collector, database: Database, fence: int, settings: Settings
) -> None:
    assert await collector.tick(fence)
    text = settings.path.read_text(encoding="utf-8").replace("providers.cloud", "providers.renamed")
    settings.path.write_text(text.replace('provider = "cloud"', 'provider = "renamed"'), encoding="utf-8")
    renamed = build_collector(database, load_settings(settings.path), SystemClock())
    assert await renamed.tick(fence)
    await renamed.account.close()
    with database.read() as session:
        assert {row.provider for row in session.exec(select(ResourceRow))} == {"renamed"}
        changes = session.exec(select(JournalEntry.what).where(JournalEntry.actor == "settings")).all()
    assert changes == ["provider retired", *["provider changed"] * 3]


async def test_what_has_gone_and_is_in_no_settings_any_more_is_no_preemption(
    collector: Collector, database: Database, fence: int
) -> None:
    at = SystemClock().now()
    gone: dict[str, Any] = {
        "tier": "of another time",
        "name": "b",
        "state": State.GONE,
        "raw_state": "not listed",
        "seen_at": at,
    }
    with database.write() as session:
        row = ResourceRow(provider="cloud", kind="instance", resource_id="77", unasked_at=at, **gone)
        session.add(row)
    assert await collector.tick(fence)
    with database.read() as session:
        assert session.get_one(ResourceRow, ("cloud", "instance", "77")).unasked_at is None


class Jumping(SystemClock):
    by_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.by_s)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1200):
        if await asyncio.to_thread(holds):
            return
        await asyncio.sleep(0.05)
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
    with capture_logs() as told:
        await until(lambda: any(one["event"] in ("not done", "failed") for one in told))
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO provider_ticks")
    seen = ticks()
    await until(lambda: ticks() > seen)
    stop.set()
    await task
    assert acquire(database, "another", 60) is not None


async def test_to_stop_amid_a_tick_is_no_fault(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    begun = asyncio.Event()

    async def hangs(fence: int) -> bool:
        begun.set()
        return await asyncio.Event().wait()

    collector.tick = hangs  # type: ignore[method-assign]
    stop = asyncio.Event()
    task = asyncio.create_task(Schedule(collector).run(stop))
    await asyncio.wait_for(begun.wait(), 20)
    stop.set()
    await task
    await asyncio.sleep(0.1)  # what the scheduler has cancelled ends by itself
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_leader_whose_clock_nobody_vouches_for_yields_to_another(
    settings: Settings, database: Database
) -> None:
    clock = Jumping()
    collector = build_collector(database, settings, clock)
    stop = asyncio.Event()
    task = asyncio.create_task(Schedule(collector).run(stop))
    await until(lambda: collector.ticked_s is not None)
    assert acquire(database, "another", 60) is None
    clock.by_s = 86_400
    await until(
        lambda: acquire(database, "another", 60) is not None
    )  # it asks again and again, as who stands by does
    with database.read() as session:
        assert session.exec(select(JournalEntry).where(JournalEntry.what == "lead yielded")).all()
    stop.set()
    await task
    await collector.account.close()


async def test_a_second_collector_stands_by(settings: Settings, database: Database) -> None:
    acquire(database, "first", 15)
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


async def test_nothing_is_dated_by_a_clock_that_has_jumped_until_a_provider_agrees_with_it(
    settings: Settings, database: Database, fence: int
) -> None:
    """A tick a day ahead would keep every true one out; and a moment's dark is no reason to hibernate a fleet."""

    clock = Jumping()
    collector = build_collector(database, settings, clock)
    assert await collector.tick(fence)
    clock.by_s = 86_400
    with pytest.raises(ClockApart, match="away from every provider's; nothing was written"):
        await collector.tick(fence)
    verdict = await collector.decide(fence)
    assert Reason.DARK in verdict.reasons
    await Rules(collector).apply(fence)
    with database.read() as session:
        assert len(session.exec(select(Tick)).all()) == 1
        assert session.exec(select(OperationRow)).all() == []
    clock.by_s = 0
    await asyncio.sleep(0.01)
    assert await collector.tick(fence)
    clock.by_s = -86_400
    with pytest.raises((ClockApart, ClockBehind)):
        await collector.tick(fence)
    assert Reason.DARK in (await collector.decide(fence)).reasons
    await collector.account.close()


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(hours=-1)])
async def test_a_clock_corrected_while_a_provider_is_asked_dates_no_tick(
    settings: Settings, database: Database, fence: int, simulator: Simulator, by: timedelta
) -> None:
    """The provider agrees with the corrected clock, and knows nothing of the instant at which the tick began."""

    class Corrected(SystemClock):
        def now(self) -> datetime:
            return super().now() + (timedelta() if len(simulator.requests) > asked else by)

    asked = len(simulator.requests)
    collector = build_collector(database, settings, Corrected())
    with pytest.raises(ClockApart, match="while the providers were asked; nothing was written"):
        await collector.tick(fence)
    assert await collector.tick(fence)
    await collector.account.close()


async def test_a_clock_set_back_stops_no_schedule(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Jumping()
    clock.by_s = 3600

    class SchedulersClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock.now().astimezone(tz)

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", SchedulersClock)
    monkeypatch.setattr("console.collector.schedule.datetime", SchedulersClock)
    collector = build_collector(database, settings, clock)
    stop, schedule = asyncio.Event(), Schedule(collector)
    task = asyncio.create_task(schedule.run(stop))
    await until(lambda: schedule.leads)
    clock.by_s = 0  # the provider has never agreed with the clock: the first tick of all is stored after this
    await until(lambda: collector.ticked_s is not None)
    stop.set()
    await task
    await collector.account.close()


async def test_who_steps_down_while_asking_for_the_lead_has_none(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = 0

    def slowly(database: Database, owner: str, ttl_s: float) -> int | None:
        nonlocal asks
        asks += 1
        if asks > 1:
            time.sleep(0.5)
        return acquire(database, owner, ttl_s)

    monkeypatch.setattr("console.collector.schedule.acquire", slowly)
    stop = asyncio.Event()
    task = asyncio.create_task(Schedule(collector).run(stop))
    await until(lambda: asks > 1)
    stop.set()
    await task
    await asyncio.sleep(1)
    assert acquire(collector.database, "another", 60) is not None
