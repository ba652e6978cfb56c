"""A closed gate stops the bill too: what the rules ask for, and how often."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import col, select

from console.collector.build import build_collector
from console.collector.operations import Operations
from console.collector.rules import Rules
from console.collector.tick import Collector
from console.errors import ClockApart
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import load_settings
from store.clock import SystemClock
from store.database import Database
from store.gate import Reason
from store.leader import acquire
from store.operations import request, seen_state
from store.phases import OperationKind, Phase
from store.stops import why_no_wake
from store.tables import OperationRow
from tests.databases import empty_sqlite, opened

SETTINGS = """
[budget]
daily_usd = "{limit}"
dark_after = "{dark_after}"
dark_hibernate_after = "{dark_hibernate_after}"
on_exhausted = "{on_exhausted}"
[collector]
every = "300ms"
drain_within = "300ms"
sleep_within = "{sleep_within}"
wake_within = "{wake_within}"
not_applied_after = "100ms"
[providers.cloud]
kind = "simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
daily_usd = "{tier_limit}"
agents = [{{ name = "a", instance = "8429", control_url = "http://127.0.0.1:1", control_secret_file = "key" }}]
[[tiers]]
name = "l40"
provider = "cloud"
market = "spot"
instances = ["8433"]
"""
WORLD = {
    "instances": [
        {"id": 8429, "name": "h100-a", "price_usd_per_hour": "2.00"},
        {"id": 8433, "name": "l40-a", "price_usd_per_hour": "0.80"},
    ],
    "hibernate_s": 0,
    "restore_s": 0,
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """One database is enough: what follows from a verdict is asked for through the same calls on each."""
    with opened(empty_sqlite(tmp_path / "mtok.db")) as database:
        yield database


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with running_simulator(SimulatedWorld.from_json(WORLD, SystemClock())) as running:
        yield running


def _sleeps(row: OperationRow) -> bool:
    """Asleep, whether or not its bill has come to rest yet."""
    return row.kind == OperationKind.HIBERNATE and (row.phase == Phase.ASLEEP or row.outcome == "done")


class _SetBack(SystemClock):
    """A clock that an administrator sets."""

    offset = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.offset


BOTH_ASLEEP = [("h100", "gate", "asleep"), ("l40", "gate", "asleep")]
VALUES = {
    "limit": "200",
    "tier_limit": "200",
    "on_exhausted": "hibernate",
    "wake_within": "1s",
    # what is not about these times may take long on a slow machine
    "dark_after": "10m",
    "dark_hibernate_after": "20m",
    "sleep_within": "30s",
}


class Fleet:
    """A collector with its rules and operations, driven by hand."""

    def __init__(self, folder: Path, database: Database, simulator: Simulator, **settings: str) -> None:
        values = {**VALUES, **settings}
        (folder / "key").write_text("key", encoding="utf-8")
        (folder / "mtok.toml").write_text(SETTINGS.format(url=simulator.base_url, **values), encoding="utf-8")
        self.clock = _SetBack()
        self.collector: Collector = build_collector(database, load_settings(folder / "mtok.toml"), self.clock)
        self.database, self.rules = database, Rules(self.collector)
        self.operations = Operations(self.collector)
        taken = acquire(database, "test", 600)
        assert taken is not None
        self.fence = taken

    async def go_on(self, *, ticks: bool = True, rounds: int) -> None:
        for _ in range(rounds):
            if ticks:
                await self.collector.tick(self.fence)
            await self.collector.decide(self.fence)
            await self.rules.apply(self.fence)
            await self.operations.advance(self.fence)
            await asyncio.sleep(0.1)

    async def go_on_until(self, wished: Sequence[tuple[str, str, str]], *, ticks: bool = True) -> None:
        """Until this is what was operated, by tier, actor and outcome, and a little further."""
        for _ in range(60):
            if sorted(self.operated()) == wished:
                break
            await self.go_on(ticks=ticks, rounds=1)
        await self.go_on(ticks=ticks, rounds=3)
        assert sorted(self.operated()) == wished

    def operated(self) -> list[tuple[str, str, str]]:
        with self.database.read() as session:
            rows = session.exec(select(OperationRow)).all()
            return [(row.tier, row.actor, "asleep" if _sleeps(row) else row.outcome or row.phase) for row in rows]

    def failed(self, tier: str) -> list[OperationRow]:
        """The operations of a tier that failed, in their order."""
        with self.database.read() as session:
            rows = session.exec(select(OperationRow).order_by(col(OperationRow.id))).all()
        return [row for row in rows if row.tier == tier and row.outcome == "failed"]


@pytest.fixture
async def made() -> AsyncIterator[list[Fleet]]:
    fleets: list[Fleet] = []
    yield fleets
    for fleet in fleets:
        await fleet.collector.account.close()


async def test_a_spent_budget_hibernates_every_tier_though_no_agent_answers(
    made: list[Fleet], tmp_path: Path, database: Database, simulator: Simulator
) -> None:
    fleet = Fleet(tmp_path, database, simulator, limit="0.000000001")
    made.append(fleet)
    await asyncio.sleep(1.1)  # a second of bill
    await fleet.go_on_until(BOTH_ASLEEP)
    assert sum("/hibernate" in request for request in simulator.requests) == 2


async def test_on_exhausted_refuse_leaves_them_running(
    made: list[Fleet], tmp_path: Path, database: Database, simulator: Simulator
) -> None:
    fleet = Fleet(tmp_path, database, simulator, limit="0.000000001", on_exhausted="refuse")
    made.append(fleet)
    await asyncio.sleep(1.1)
    await fleet.go_on(rounds=4)
    assert fleet.collector.verdict is not None
    assert not fleet.collector.verdict.is_open
    assert fleet.operated() == []


async def test_the_spent_limit_of_a_tier_hibernates_that_tier(
    made: list[Fleet], tmp_path: Path, database: Database, simulator: Simulator
) -> None:
    fleet = Fleet(tmp_path, database, simulator, tier_limit="0.000000001")
    made.append(fleet)
    await asyncio.sleep(1.1)
    await fleet.go_on_until(BOTH_ASLEEP[:1])


async def test_a_long_dark_hibernates_and_a_short_one_does_not(
    made: list[Fleet], tmp_path: Path, database: Database, simulator: Simulator
) -> None:
    fleet = Fleet(tmp_path, database, simulator, dark_after="1s")
    made.append(fleet)
    await fleet.collector.tick(fleet.fence)
    simulator.faults.set("500", "/billing")
    await asyncio.sleep(1.2)
    await fleet.go_on(ticks=False, rounds=1)
    assert fleet.collector.verdict is not None
    assert fleet.collector.verdict.reasons == (Reason.DARK,)
    assert fleet.operated() == []
    made.append(hasty := Fleet(tmp_path, database, simulator, dark_after="1s", dark_hibernate_after="2s"))
    await hasty.go_on_until(BOTH_ASLEEP, ticks=False)


async def test_a_dark_that_lasts_hibernates_though_the_wall_clock_was_set_back_by_a_day(
    made: list[Fleet], tmp_path: Path, database: Database, simulator: Simulator
) -> None:
    fleet = Fleet(tmp_path, database, simulator, dark_after="1s", dark_hibernate_after="3s")
    made.append(fleet)
    await fleet.go_on(rounds=2)
    fleet.clock.offset = -timedelta(days=1)
    with pytest.raises(ClockApart):
        await fleet.collector.tick(fleet.fence)
    await fleet.go_on(ticks=False, rounds=1)
    assert fleet.collector.verdict is not None
    assert fleet.collector.verdict.reasons == (Reason.DARK,)
    assert fleet.operated() == []
    for _ in range(60):
        if not fleet.operated():
            await fleet.go_on(ticks=False, rounds=1)
    assert {(tier, actor) for tier, actor, _ in fleet.operated()} == {("h100", "gate"), ("l40", "gate")}


async def test_a_demand_that_fails_is_made_again_after_a_growing_pause(
    made: list[Fleet], tmp_path: Path, database: Database, simulator: Simulator
) -> None:
    brief = {"dark_after": "1s", "dark_hibernate_after": "2s", "sleep_within": "1s"}
    fleet = Fleet(tmp_path, database, simulator, limit="0.000000001", **brief)
    made.append(fleet)
    await asyncio.sleep(1.1)
    await fleet.collector.tick(fleet.fence)
    simulator.faults.set("429", "/core/virtual-machines/8429")
    for _ in range(200):
        if len(fleet.failed("h100")) < 3:
            await fleet.go_on(ticks=False, rounds=1)
    failed = fleet.failed("h100")
    assert len(failed) >= 3
    for n, (one, next_one) in enumerate(itertools.pairwise(failed)):
        assert one.finished_at is not None
        assert next_one.requested_at - one.finished_at >= timedelta(seconds=0.3) * 2**n
    assert sum(request.endswith("/hibernate") for request in simulator.requests) == 0
    simulator.faults.set(None)
    for _ in range(300):  # the pause is as long as its failures were many
        if ("h100", "gate", "asleep") not in fleet.operated():
            await fleet.go_on(rounds=1)
    assert ("h100", "gate", "asleep") in fleet.operated()


async def test_a_wake_that_would_cross_the_limit_is_refused_and_closes_nothing(
    made: list[Fleet], tmp_path: Path, database: Database, simulator: Simulator
) -> None:
    fleet = Fleet(tmp_path, database, simulator, tier_limit="0.50", wake_within="10m")
    made.append(fleet)
    await fleet.collector.tick(fleet.fence)
    with database.write() as session:
        seen = seen_state(session, "h100")
        request(session, SystemClock().now(), OperationKind.HIBERNATE, "h100", actor="ada", reason="", seen=seen)
    await fleet.go_on_until([("h100", "ada", "asleep")])
    verdict = fleet.collector.verdict
    assert verdict is not None
    assert verdict.reasons_for("h100") == ()
    with database.read() as session:
        why = why_no_wake(session, fleet.collector.policy, verdict, "h100")
        assert why_no_wake(session, fleet.collector.policy, verdict, "l40") is None
    assert why is None  # $2.00/h for ten minutes is 34 cents
    made.append(dear := Fleet(tmp_path, database, simulator, tier_limit="0.30", wake_within="10m"))
    verdict = await dear.collector.decide(dear.fence)
    with database.read() as session:
        why = why_no_wake(session, dear.collector.policy, verdict, "h100")
    assert "before it could be stopped again" in (why or "")
    assert verdict.reasons_for("h100") == ()
