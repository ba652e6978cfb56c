"""RunPod's hours in the store: whatever hour it is, spend is what the account says, to the nano-dollar."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from sqlmodel import col, select

from console.collector.backfill import Backfill
from console.collector.build import build_collector
from console.collector.tick import Collector
from console.errors import ProviderError
from console.providers.runpod_simulator import RunPodSimulator, running_runpod
from console.providers.runpod_simulator_world import SimulatedResource, SimulatedRunPod
from console.reconcile import reconcile_window
from console.settings import load_settings
from store.clock import SetClock
from store.database import Database
from store.figures import Spend
from store.leader import acquire
from store.spend import debits_by_tier, debits_of
from store.tables import BillCounter, JournalEntry
from store.window import Window
from tests.conftest import billed_in
from tests.databases import opened

START = datetime(2026, 11, 24, 8, 40, 10, tzinfo=UTC)
SETTINGS = """
[budget]
daily_usd = "200"
[providers.cloud]
kind = "runpod-simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "on-demand"
instances = ["a"]
[[tiers]]
name = "storage"
provider = "cloud"
market = "on-demand"
volumes = ["v"]
"""
WORLD = {
    "instances": [
        {"id": "a", "name": "h100-a", "price_usd_per_hour": "2.39", "asleep_usd_per_hour": "0.01", "age_s": 9000},
    ],
    "volumes": [{"id": "v", "name": "weights", "price_usd_per_hour": "0.0097223", "age_s": 90_000}],
    "quota_per_minute": 600,
}


class Fleet:
    """A collector of one pod and one volume, ticking by a clock of its own."""

    def __init__(self, database: Database, collector: Collector, simulator: RunPodSimulator) -> None:
        self.database, self.collector, self.simulator = database, collector, simulator
        self.fence = acquire(database, "test", 86_400) or 0
        self.ticks: list[datetime] = []

    @property
    def pod(self) -> SimulatedResource:
        return self.simulator.world.resources[0]

    async def run(self, clock: SetClock, until: datetime, every_s: float = 150) -> None:
        """Tick until an instant."""
        while clock.now() < until:
            assert await self.collector.tick(self.fence)
            self.ticks.append(clock.now())
            clock.advance(every_s)

    def spend(self, tier: str, start: datetime, end: datetime) -> int:
        with self.database.read() as session:
            found = billed_in(session, tier, Window(start, end))
        assert isinstance(found, Spend), found
        return found.nusd

    def told(self, one: SimulatedResource, start: datetime, end: datetime) -> int:
        """What the account says that the bill rose by."""
        return one.total_nusd(int(end.timestamp())) - one.total_nusd(int(start.timestamp()))

    @property
    def whole_hours(self) -> tuple[datetime, datetime]:
        """From the first tick after a full hour on: a volume's hour is stated when it is over."""
        return next(at for at in self.ticks if at.hour > START.hour), self.ticks[-1]

    def journal(self) -> list[str]:
        with self.database.read() as session:
            return [row.what for row in session.exec(select(JournalEntry).order_by(col(JournalEntry.id))).all()]


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


@pytest.fixture
def simulator(clock: SetClock) -> Iterator[RunPodSimulator]:
    with running_runpod(SimulatedRunPod.from_json(WORLD, clock)) as running:
        yield running


@pytest.fixture
async def fleet(simulator: RunPodSimulator, clock: SetClock, tmp_path: Path) -> AsyncIterator[Fleet]:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    (tmp_path / "mtok.toml").write_text(SETTINGS.format(url=simulator.base_url), encoding="utf-8")
    settings = load_settings(tmp_path / "mtok.toml")
    with opened(settings.store_url) as database:
        collector = build_collector(database, settings, clock)
        yield Fleet(database, collector, simulator)
        await collector.account.close()


async def test_over_hours_a_stop_a_revision_and_an_end_every_window_is_the_accounts(
    fleet: Fleet, clock: SetClock
) -> None:
    world, pod = fleet.simulator.world, fleet.pod
    await fleet.run(clock, START + timedelta(minutes=35))
    world.do(pod, "stop")
    await fleet.run(clock, START + timedelta(minutes=75))
    world.correct(pod, -50_000_000, of_s=int(START.timestamp()))  # of 08:00, which is closed and done
    world.do(pod, "start")
    await fleet.run(clock, START + timedelta(minutes=95))
    world.do(pod, "terminate")
    await fleet.run(clock, START + timedelta(minutes=150))
    edges = fleet.ticks[1::4]
    for start, end in combinations(edges, 2):
        assert fleet.spend("h100", start, end) == fleet.told(pod, start, end)
    parts = [fleet.spend("h100", start, end) for start, end in pairwise(edges)]
    assert sum(parts) == fleet.spend("h100", edges[0], edges[-1]) > 0
    assert fleet.spend("storage", *fleet.whole_hours) == fleet.told(world.resources[1], *fleet.whole_hours) > 0
    assert "bill fell" in fleet.journal()
    with fleet.database.read() as session:
        debits = debits_of(debits_by_tier(session, fleet.ticks[0], clock.now()), "h100")
        done = session.exec(select(BillCounter).where(BillCounter.kind == "instance")).all()
    spent = fleet.spend("h100", fleet.ticks[0], fleet.ticks[-1])
    assert debits == spent + 50_000_000  # a credit lowers no debits
    assert [one.final_at is not None for one in done] == [True, True, True, True, False]


async def test_hours_that_passed_while_nobody_looked_are_counted_each_from_zero(
    fleet: Fleet, clock: SetClock
) -> None:
    await fleet.run(clock, START + timedelta(minutes=10))
    clock.advance(5 * 3600)
    await fleet.run(clock, START + timedelta(hours=5, minutes=20))
    whole = (fleet.ticks[0], fleet.ticks[-1])
    assert fleet.spend("h100", *whole) == fleet.told(fleet.pod, *whole) > 10_000_000_000
    volume = fleet.simulator.world.resources[1]
    assert (
        fleet.spend("storage", *whole) == fleet.told(volume, *whole) - 9_722_300
    )  # of 08:00, partly before our time


async def test_whole_hours_are_reconciled_with_the_windowed_bill(fleet: Fleet, clock: SetClock) -> None:
    """The samples do not fall on the hours; what they say of an hour is all of it, and no edge is asked for."""
    await fleet.run(clock, START + timedelta(minutes=95), every_s=170)
    fleet.simulator.world.do(fleet.pod, "terminate")
    await fleet.run(clock, START + timedelta(minutes=270), every_s=290)  # a volume's next hour has been stated too
    hours = [START.replace(hour=hour, minute=0, second=0) for hour in (9, 12)]
    provider = fleet.collector.account.providers["cloud"]
    found = await reconcile_window(fleet.database, provider, *hours)
    assert found.holds, found
    assert [line.explanation for line in found.lines] == ["", ""]
    assert found.theirs_nusd == found.organisation_nusd == sum(line.ours_nusd or 0 for line in found.lines) > 0
    with pytest.raises(ProviderError, match="bills by the hour"):
        await reconcile_window(fleet.database, provider, hours[0] + timedelta(minutes=10), hours[1])


async def test_the_first_day_is_debited_from_its_start(fleet: Fleet, clock: SetClock) -> None:
    """The hours that were over before our first look too: each of them began today from zero."""
    await fleet.run(clock, START + timedelta(minutes=12))
    await Backfill(fleet.collector).run(fleet.fence)
    with fleet.database.read() as session:
        debits = debits_of(debits_by_tier(session, START.replace(hour=0, minute=0, second=0), clock.now()), "h100")
    assert debits == fleet.pod.total_nusd(int(fleet.ticks[-1].timestamp())) > 5_000_000_000  # it began at 06:10
