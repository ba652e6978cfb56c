"""Windowed bills, over real HTTP from a simulated world that a set clock moves; and every unsound body."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from console.providers.hyperstack import Hyperstack
from console.providers.protocol import Ref, WindowBilled
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from store.clock import SetClock
from store.words import ResourceKind
from tests.console.providers.conftest import WORLD

START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


@pytest.fixture
def world(clock: SetClock) -> SimulatedWorld:
    return SimulatedWorld.from_json(WORLD, clock)


@pytest.fixture
async def cloud(world: SimulatedWorld, clock: SetClock) -> AsyncIterator[Hyperstack]:
    with running_simulator(world) as simulator:
        provider = Hyperstack("cloud", "key", simulator.base_url, clock=clock)
        yield provider
        await provider.close()


def of(billed: tuple[WindowBilled, ...], kind: ResourceKind, id_: str) -> int:
    found = [one.nusd for one in billed if one.ref == Ref(kind, id_)]
    assert len(found) == 1
    return found[0]


async def test_a_day_is_what_the_machine_ran(cloud: Hyperstack, clock: SetClock) -> None:
    clock.advance(2 * 86_400)
    batch = await cloud.billed(START, START + DAY)
    assert batch.problems == ()
    assert of(batch.items, ResourceKind.INSTANCE, "8429") == 48 * 10**9
    assert of(batch.items, ResourceKind.VOLUME, "8429") == 24 * 10**7  # the volume with the machine's number


async def test_windows_add_up_and_so_do_resources(cloud: Hyperstack, clock: SetClock) -> None:
    clock.advance(100_001)
    cuts = [
        START,
        START + timedelta(seconds=17_321),
        START + timedelta(seconds=61_003),
        START + timedelta(hours=26),
    ]
    whole = await cloud.billed(cuts[0], cuts[-1])
    parts = [await cloud.billed(*pair) for pair in pairwise(cuts)]
    assert sum(one.nusd for part in parts for one in part.items) == sum(one.nusd for one in whole.items)
    assert await cloud.billed_total(cuts[0], cuts[-1]) == sum(one.nusd for one in whole.items)


async def test_a_window_before_everything_is_empty_and_no_problem(cloud: Hyperstack) -> None:
    batch = await cloud.billed(START - DAY, START)
    assert (batch.items, batch.problems) == ((), ())


async def test_a_deleted_a_recreated_and_a_credited_resource(
    cloud: Hyperstack, world: SimulatedWorld, clock: SetClock
) -> None:
    clock.advance(3600)
    machine, other = world.find("vm", 8429), world.find("vm", 8430)
    assert machine is not None
    assert other is not None
    world.vanish(other, is_listed=False)
    world.recreate(machine)
    clock.advance(3600)
    anew = world.find("vm", 8429)
    assert anew is not None
    world.credit(anew, 500_000_000)
    clock.advance(3600)
    batch = await cloud.billed(START, START + timedelta(hours=3))
    assert of(batch.items, ResourceKind.INSTANCE, "8430") == 1_350_000_000
    assert of(batch.items, ResourceKind.INSTANCE, "8429") == 6 * 10**9 - 500_000_000  # both identities together
    bills = await cloud.bills([])
    assert [
        one.total_nusd for one in bills.items if one.ref.id == "8429" and one.name == "h100-a" and one.active
    ] == [4 * 10**9 - 500_000_000]


async def test_more_resources_than_a_page(clock: SetClock) -> None:
    world = SimulatedWorld(clock)
    for id_ in range(230):
        world.create_volume({"id": id_ + 1, "name": f"v{id_}", "price_usd_per_hour": "0.36"})
    clock.advance(3600)
    with running_simulator(world) as simulator:
        cloud = Hyperstack("cloud", "key", simulator.base_url, clock=clock)
        batch = await cloud.billed(START, START + timedelta(hours=1))
        await cloud.close()
    assert len(batch.items) == 230
    assert {one.nusd for one in batch.items} == {360_000_000}


@pytest.mark.parametrize("fault", ["500", "truncated"])
async def test_a_windowed_bill_that_cannot_be_read_is_a_problem(
    world: SimulatedWorld, clock: SetClock, fault: str
) -> None:
    clock.advance(3600)
    with running_simulator(world) as simulator:
        simulator.faults.set(fault)
        cloud = Hyperstack("cloud", "key", simulator.base_url, clock=clock)
        batch = await cloud.billed(START, START + timedelta(hours=1))
        total = await cloud.billed_total(START, START + timedelta(hours=1))
        await cloud.close()
    assert batch.problems
    assert isinstance(total, str)


@pytest.mark.parametrize(
    ("fault", "kept", "told"),
    [
        ("truncated", 0, "not JSON"),
        ("nan", 3, "not finite"),
        ("string", 3, "no number"),
        ("digits", 3, "400 characters"),
        ("negative", 3, "negative"),
        ("twice", 4, "listed twice"),
        ("clock", 0, "86400 s away"),
    ],
)
async def test_an_unsound_body_keeps_what_is_sound(
    world: SimulatedWorld, clock: SetClock, fault: str, kept: int, told: str
) -> None:
    clock.advance(3600)
    simulator: Simulator
    with running_simulator(world) as simulator:
        simulator.faults.set(fault)
        cloud = Hyperstack("cloud", "key", simulator.base_url, clock=clock)
        batch = await cloud.bills([])
        await cloud.close()
    assert len(batch.items) == kept
    assert not batch.complete
    assert told in batch.problems[0]
