"""What a screen that reads the fleet each second costs: while nothing changes, and when a tick has come.

50 tiers over a week of minutes, and 1,000 tiers over six hours. Printed beside its target; nothing can fail for
being slow.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from store.database import Database
from store.fleet_reader import FleetReader
from store.fleet_view import TierSpec
from store.gate import GatePolicy
from store.inventory import keep_agent, keep_resources
from store.leader import acquire
from store.readings import AgentReading, Bill, LedgerTotals, ProviderReading, TickReadings, TierResources
from store.samples import record_tick
from store.tables import AgentRow, BillCounter, ResourceRow
from store.words import Market, ResourceKind, State
from tests.bench.test_store_bench import END, ZONE, filled, median_ms

POLICY = GatePolicy(10**15, ZONE, timedelta(seconds=170))
STEP = timedelta(minutes=2)
LINES: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """The lines, once all are there."""
    yield
    print("\n\n" + "\n".join(LINES))


def specs(count: int) -> list[TierSpec]:
    return [TierSpec(f"t{index}", "cloud", "H100", Market.SPOT) for index in range(count)]


def furnished(path: Path, days: float, count: int, end: datetime = END) -> Database:
    """A store of `count` tiers, each of one instance with one agent, told up to `end`."""
    database = filled(path, days, count, count, end)
    with database.write() as session:
        for counter in session.exec(select(BillCounter)).all():
            counter.moved_at, counter.steps = end, "60 60 60 60 60"
        rows = [instance(index, end) for index in range(count)]
        keep_resources(session, "cloud", rows, end, complete=True)
        for index in range(count):
            agent = AgentRow(agent=f"a{index + 1}", tier=f"t{index}", seen_at=end, engine="null", lease_open=True)
            keep_agent(session, agent)
    return database


def instance(index: int, seen_at: datetime) -> ResourceRow:
    return ResourceRow(
        provider="cloud",
        kind=ResourceKind.INSTANCE,
        resource_id=f"r{index}",
        tier=f"t{index}",
        name=f"r{index}",
        state=State.RUNNING,
        raw_state="ACTIVE",
        rate_nusd_per_hour=2 * 10**9,
        can_sleep=True,
        seen_at=seen_at,
    )


def tick(database: Database, fence: int, count: int, at: datetime) -> None:
    """One more minute, of every tier."""
    long_ago = END - timedelta(days=99)
    total = 10**15 + round((at - END).total_seconds()) * 10**6
    providers = {
        "cloud": ProviderReading(
            tuple(
                Bill(f"c{n}", "instance", f"r{n}", f"r{n}", f"t{n}", "USD", "1", total, at, long_ago, 2 * 10**9)
                for n in range(count)
            ),
            None,
            5,
        )
    }
    made = 10**9 + round((at - END).total_seconds()) * 900
    agents = {
        f"a{n + 1}": AgentReading(
            f"t{n}", LedgerTotals(f"l{n + 1}", long_ago, made, 0, made, made, made, made), None
        )
        for n in range(count)
    }
    tiers = {f"t{n}": TierResources("cloud", frozenset({f"r{n}"}), 1) for n in range(count)}
    record_tick(database, TickReadings(at, 5, providers, agents, tiers), fence)


@pytest.mark.parametrize(("count", "days", "targets"), [(50, 7, ("< 3", "< 250")), (1000, 0.25, ("", "< 3000"))])
def test_a_screen_that_reads_each_second(tmp_path: Path, count: int, days: float, targets: tuple[str, str]) -> None:
    database = furnished(tmp_path / "fleet.db", days, count)
    fence = acquire(database, "bench", 10**6)
    assert fence is not None
    reader = FleetReader(database, specs(count), POLICY, STEP)
    now = END + timedelta(seconds=5)
    reader.read(now)
    same = median_ms(lambda: reader.read(now), rounds=50)
    took = []
    for minute in range(1, 6):
        tick(database, fence, count, END + timedelta(minutes=minute))
        start = time.perf_counter()
        fleet = reader.read(END + timedelta(minutes=minute, seconds=5))
        took.append((time.perf_counter() - start) * 1000)
    assert len(fleet.tiers) == count
    assert all(isinstance(tier.figures["1h"].output_nusd_per_mtok, int) for tier in fleet.tiers)
    anew = median_ms(
        lambda: FleetReader(database, specs(count), POLICY, STEP).read(now + timedelta(minutes=5)), rounds=3
    )
    database.close()
    median = sorted(took)[len(took) // 2]
    LINES.append(f"the fleet of {count} tiers, nothing has changed{same:>20.2f} ms   {targets[0]}")
    LINES.append(f"the same, a tick has come{median:>38.0f} ms   {targets[1]}")
    LINES.append(f"the same ÷ read anew by a process that holds nothing{median / anew:>11.2f} ({anew:.0f} ms)")
