"""Hibernating, waking and being outbid on Vast.ai, as a collector carries them out and sees them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from console.collector.build import build_collector
from console.collector.operations import Operations
from console.collector.tick import Collector
from console.providers.vast_simulator import VastSimulator, running_vast_simulator
from console.providers.vast_simulator_world import VastWorld
from console.settings import load_settings
from store.alarms import conditions
from store.clock import SystemClock
from store.database import Database, open_database
from store.operations import last_of, request, seen_state
from store.phases import OperationKind, Phase
from store.tables import OperationRow
from tests.console.providers.vast_account import WORLD
from tests.databases import empty_sqlite

SETTINGS = """
[budget]
daily_usd = "200"
dark_after = "30s"
[collector]
every = "300ms"
leader_expires_after = "2s"
wake_within = "20s"
not_applied_after = "600ms"
sleep_within = "20s"
on_wake_timeout = "hibernate"
[providers.cloud]
kind = "vast-simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
volumes = ["5341"]
"""


@pytest.fixture
def simulator() -> Iterator[VastSimulator]:
    with running_vast_simulator(VastWorld.from_json(WORLD, SystemClock())) as running:
        yield running


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(empty_sqlite(tmp_path / "mtok.db"))
    yield opened
    opened.close()


@pytest.fixture
async def collector(database: Database, simulator: VastSimulator, tmp_path: Path) -> AsyncIterator[Collector]:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    text = SETTINGS.format(url=simulator.base_url)
    (tmp_path / "mtok.toml").write_text(text, encoding="utf-8")
    built = build_collector(database, load_settings(tmp_path / "mtok.toml"), SystemClock())
    yield built
    await built.account.close()


async def carry_out(
    collector: Collector, fence: int, kind: OperationKind, until: Callable[[OperationRow], bool]
) -> OperationRow:
    """Ask for an operation, and advance it until it is as wished."""
    operations, database = Operations(collector), collector.database
    with database.write() as session:
        seen = seen_state(session, "h100")
        request(session, SystemClock().now(), kind, "h100", actor="ada", reason="", seen=seen)
    for _ in range(60):
        await operations.advance(fence)
        with database.read() as session:
            row = last_of(session, "h100")
        if row is not None and until(row):
            return row
        await asyncio.sleep(0.05)
    pytest.fail(f"the operation does not come so far: {row}")


def puts(simulator: VastSimulator) -> int:
    return sum(request.startswith("PUT") for request in simulator.requests)


async def test_a_tier_hibernates_and_wakes_with_one_request_each(
    collector: Collector, fence: int, simulator: VastSimulator
) -> None:
    await collector.tick(fence)
    await collector.tick(fence)
    await carry_out(collector, fence, OperationKind.HIBERNATE, lambda row: row.phase == Phase.ASLEEP)
    assert puts(simulator) == 1
    with collector.database.write() as session:
        asleep = session.exec(select(OperationRow)).one()
        asleep.finished_at, asleep.outcome = SystemClock().now(), "done"  # its bill would have to rest for minutes
    await collector.tick(fence)
    woken = await carry_out(collector, fence, OperationKind.WAKE, lambda row: row.finished_at is not None)
    assert (woken.outcome, woken.detail) == ("done", "it has no agents")
    assert puts(simulator) == 2


async def test_a_wake_of_what_was_outbid_waits_sends_nothing_and_arrives_by_itself(
    collector: Collector, fence: int, simulator: VastSimulator
) -> None:
    await collector.tick(fence)
    simulator.faults.set("outbid")
    await collector.tick(fence)
    await collector.tick(fence)
    verdict = await collector.decide(fence)
    with collector.database.read() as session:
        alarms = [one.text for one in conditions(session, collector.policy, verdict)]
    assert any("8429 stopped" in text and "nobody had asked" in text for text in alarms)

    def has_tried(row: OperationRow) -> bool:
        if row.calls:
            simulator.faults.set(None)
        return row.finished_at is not None

    woken = await carry_out(collector, fence, OperationKind.WAKE, has_tried)
    assert woken.outcome == "done"
    assert puts(simulator) == 0
