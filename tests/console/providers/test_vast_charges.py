"""Charges as counters: rounding never adds up, windows are told only where they can be known."""

import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from console.collector.backfill import Backfill
from console.collector.build import build_collector
from console.collector.tick import Collector
from console.providers.vast import Vast
from console.providers.vast_simulator import VastSimulator, running_vast_simulator
from console.providers.vast_simulator_bodies import rounded
from console.providers.vast_simulator_world import VastWorld
from console.settings import load_settings
from store.clock import SetClock
from store.database import Database, open_database
from store.errors import FenceLost
from store.figures import Spend
from store.figures_read import figures
from store.leader import acquire
from store.money import parse_nusd
from store.tables import BillCounter
from store.unknown import Unknown
from store.window import Window
from store.words import UNASSIGNED
from tests.conftest import billed_in
from tests.console.providers.vast_account import BID, NOW, WORLD
from tests.databases import empty_sqlite

QUANTUM = 1_000_000  # $0.001
MINUTES = 36
SETTINGS = """
[budget]
daily_usd = "200"
[providers.cloud]
kind = "vast"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
volumes = ["5341"]
[[tiers]]
name = "disks"
provider = "cloud"
market = "on-demand"
instances = []
volumes = ["8429"]
"""


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
def simulator(clock: SetClock) -> Iterator[VastSimulator]:
    with running_vast_simulator(VastWorld.from_json(WORLD, clock)) as running:
        yield running


@pytest.fixture
async def cloud(simulator: VastSimulator, clock: SetClock) -> AsyncIterator[Vast]:
    adapter = Vast("cloud", "key", simulator.base_url, clock=clock)
    yield adapter
    await adapter.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """SQLite alone: what counts here is what the adapter reads."""
    opened = open_database(empty_sqlite(tmp_path / "mtok.db"))
    yield opened
    opened.close()


@pytest.fixture
async def collector(
    database: Database, simulator: VastSimulator, clock: SetClock, tmp_path: Path
) -> AsyncIterator[Collector]:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    text = SETTINGS.format(url=simulator.base_url)
    (tmp_path / "mtok.toml").write_text(text, encoding="utf-8")
    built = build_collector(database, load_settings(tmp_path / "mtok.toml"), clock)
    yield built
    await built.account.close()


def happen(world: VastWorld, minute: int) -> None:
    """What befalls the account: stops, an outbid, a birth, an end between two ticks, and an end for good."""
    bid, owned = world.find("vm", 8429), world.find("vm", 8430)
    assert bid is not None
    if minute == 7:
        world.outbid(is_dear=True)
    elif minute == 12:
        world.outbid(is_dear=False)
    elif minute == 20:
        world.stop(bid)
        world.create_instance({"id": 9000, "name": "newborn", "price_usd_per_hour": "0.777"})
    elif minute == 28:
        world.start(bid)
    elif minute == 33 and owned is not None:
        world.vanish(owned, is_listed=True)


def spent(database: Database, tier: str, start: datetime, end: datetime) -> int:
    with database.read() as session:
        found = billed_in(session, tier, Window(start, end))
    assert isinstance(found, Spend)
    return found.nusd


async def test_spend_equals_the_account_to_its_quantum_over_any_partition(
    collector: Collector, database: Database, simulator: VastSimulator, clock: SetClock
) -> None:
    fence = acquire(database, "test", 10**6)
    assert fence is not None
    for minute in range(MINUTES):
        happen(simulator.world, minute)
        await collector.tick(fence)
        clock.advance(60)
    clock.advance(-60)
    ticks = [NOW + timedelta(minutes=minute) for minute in range(MINUTES)]
    for tier, ids in (("h100", {("vm", 8429), ("volume", 5341)}), (UNASSIGNED, {("vm", 8430), ("vm", 9000)})):
        whole = spent(database, tier, ticks[0], ticks[-1])
        mine = [one for one in simulator.world.resources if (one.kind, one.id) in ids]
        last_s = int(ticks[-1].timestamp())
        account = sum(one.total_nusd(last_s) for one in mine)
        assert abs(whole - account) <= len(mine) * QUANTUM // 2
        for cut in (1, 7, 15):
            edges = [*ticks[:-1:cut], ticks[-1]]
            parts = [spent(database, tier, start, end) for start, end in pairwise(edges)]
            assert sum(parts) == whole


async def test_a_window_shorter_than_three_steps_of_a_cheap_disk_is_no_number(
    collector: Collector, database: Database, clock: SetClock
) -> None:
    fence = acquire(database, "test", 10**6)
    assert fence is not None
    for _ in range(4 * 6 + 2):  # four movements show three steps
        await collector.tick(fence)
        clock.advance(60)
    end = clock.now() - timedelta(seconds=60)
    with database.read() as session:
        short = figures(session, "disks", Window(end - timedelta(minutes=15), end)).spend
        long = figures(session, "disks", Window(end - timedelta(minutes=20), end)).spend
    assert short == Unknown("bills every 6 min")  # $0.01 an hour moves $0.001 every six minutes
    assert isinstance(long, Spend)


async def test_a_contract_first_listed_long_after_it_began_is_spend_and_no_opening_balance(
    collector: Collector, database: Database, simulator: VastSimulator, clock: SetClock
) -> None:
    fence = acquire(database, "test", 10**6)
    assert fence is not None
    await collector.tick(fence)
    simulator.faults.set("freeze")  # charges trail: nobody states by how much
    clock.advance(60)
    simulator.world.create_instance({"id": 9000, "name": "newborn", "price_usd_per_hour": "6"})
    for _ in range(5):
        await collector.tick(fence)
        clock.advance(60)
    simulator.faults.set(None)
    await collector.tick(fence)
    with database.read() as session:
        counter = session.exec(select(BillCounter).where(BillCounter.resource_id == "9000")).one()
    assert counter.opening_nusd == 0
    assert spent(database, UNASSIGNED, NOW, clock.now()) >= 500_000_000


async def test_on_the_first_day_what_was_billed_before_midnight_is_placed_exactly(
    collector: Collector, database: Database, simulator: VastSimulator, clock: SetClock
) -> None:
    clock.advance(86_400)  # the contracts have run since yesterday
    fence = acquire(database, "test", 10**6)
    assert fence is not None
    await collector.tick(fence)
    backfill = Backfill(collector)
    with pytest.raises(FenceLost):
        await backfill.run(fence + 1)
    assert await backfill.run(fence) == 4  # what could not be kept is asked for again
    midnight_s = int(clock.now().replace(hour=0).timestamp())
    with database.read() as session:
        opened = {one.counter.split(":")[2]: one.opening_nusd for one in session.exec(select(BillCounter))}
    kinds = {"vm": "instance", "volume": "volume"}
    assert opened == {
        f"{kinds[one.kind]}-{one.id}": parse_nusd(str(rounded(one.total_nusd(midnight_s))))
        for one in simulator.world.resources
    }


async def test_a_bill_that_does_not_come_in_time_holds_no_tick_up_and_is_asked_for_again(
    collector: Collector, database: Database, simulator: VastSimulator, clock: SetClock, tmp_path: Path
) -> None:
    clock.advance(86_400)
    fence = acquire(database, "test", 10**6)
    assert fence is not None
    await collector.tick(fence)
    backfill, section = Backfill(collector), collector.settings.collector
    hasty = section.model_copy(update={"bills_within": timedelta(milliseconds=100)})
    collector.settings = collector.settings.model_copy(update={"collector": hasty})
    simulator.faults.set("hang")
    begun_s = time.monotonic()
    assert await backfill.run(fence) == 0
    assert time.monotonic() - begun_s < 5  # the connection's own patience is longer
    simulator.faults.set(None)
    collector.settings = collector.settings.model_copy(update={"collector": section})
    assert await backfill.run(fence) == 4


async def test_a_window_is_the_difference_of_two_running_totals(simulator: VastSimulator, clock: SetClock) -> None:
    cloud = Vast("cloud", "key", simulator.base_url, clock=clock, windows="second")
    clock.advance(3600)
    edges = [NOW + timedelta(minutes=minute) for minute in (0, 13, 14, 37, 60)]
    whole = await cloud.billed_total(edges[0], edges[-1])
    parts = [await cloud.billed_total(start, end) for start, end in pairwise(edges)]
    await cloud.close()
    assert sum(part for part in parts if isinstance(part, int)) == whole
    assert whole == sum(
        parse_nusd(str(rounded(one.total_nusd(int(clock.now().timestamp()))))) for one in simulator.world.resources
    )


async def test_a_bound_inside_a_day_is_known_only_where_we_looked_ourselves(
    cloud: Vast, simulator: VastSimulator, clock: SetClock
) -> None:
    clock.advance(600)
    seen = await cloud.bills(())
    looked = seen.items[0].as_of
    clock.advance(600)
    midnight = NOW.replace(hour=0)
    told = await cloud.billed(midnight, looked)
    assert told.complete
    assert {one.ref: one.nusd for one in told.items} == {one.ref: one.total_nusd for one in seen.items}
    unknown = await cloud.billed(midnight, looked + timedelta(seconds=1))
    assert unknown.items == ()
    assert "not known whether a bound inside a day" in unknown.problems[0]
    assert isinstance(await cloud.billed_total(looked + timedelta(seconds=1), clock.now()), str)


async def test_whole_days_are_known_and_a_day_without_a_charge_has_no_line_of_what_was_over(
    cloud: Vast, simulator: VastSimulator, clock: SetClock
) -> None:
    machine = simulator.world.find("vm", 8430)
    assert machine is not None
    clock.advance(3600)
    simulator.world.vanish(machine, is_listed=True)
    clock.advance(3 * 86_400)
    first, second = (NOW.replace(hour=0) + timedelta(days=day) for day in (0, 1))
    day = await cloud.billed(first, second)
    assert day.complete
    assert {one.ref.id: one.nusd for one in day.items}["8430"] == 1_350_000_000
    assert next(one for one in day.items if one.ref == BID).nusd == 32_594_000_000
    following = await cloud.billed(second, second + timedelta(days=1))
    assert "8430" not in {one.ref.id for one in following.items}


async def test_a_window_before_the_fixed_start_is_refused(simulator: VastSimulator, clock: SetClock) -> None:
    cloud = Vast("cloud", "key", simulator.base_url, clock=clock, since=NOW.replace(hour=0))
    told = await cloud.billed(NOW - timedelta(days=2), NOW)
    await cloud.close()
    assert "counted from 2026-11-24 on" in told.problems[0]


@given(st.lists(st.integers(0, 10**8), min_size=2, max_size=20))
def test_rounding_a_running_total_never_adds_up(rises: list[int]) -> None:
    """Whatever a contract accrues, the sum of differences is off by no more than one quantum, however many."""
    totals = [sum(rises[: count + 1]) for count in range(len(rises))]
    read = [parse_nusd(str(rounded(total))) for total in totals]
    differences = [after - before for before, after in pairwise(read)]
    assert all(difference >= 0 for difference in differences)
    assert abs(sum(differences) - (totals[-1] - totals[0])) <= QUANTUM
