"""A simulated month behind real HTTP: resets, a credit, two outages of ours, a deletion, a sleep, a birth.

Nothing sleeps: one set clock moves the provider's world and our collector. `make prove` ticks six times an hour.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.collector.backfill import Backfill
from console.collector.build import build_collector
from console.collector.tick import Collector
from console.providers.simulator import running_simulator
from console.providers.simulator_world import SimulatedResource, SimulatedWorld
from console.settings import load_settings
from store.clock import SetClock
from store.database import open_database
from store.leader import acquire

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
LAST = datetime(2026, 11, 1, tzinfo=UTC)
EVERY = timedelta(minutes=10 if os.environ.get("MTOK_PROVE") else 120)
OUTAGES = (
    (datetime(2026, 10, 6, 20, tzinfo=UTC), datetime(2026, 10, 8, 3, tzinfo=UTC)),
    (datetime(2026, 10, 15, 22, 30, tzinfo=UTC), datetime(2026, 10, 16, 9, tzinfo=UTC)),
)
SETTINGS = """
[store]
url = "{store}"
[budget]
daily_usd = "1000"
dark_after = "5h"
dark_hibernate_after = "5h"
[collector]
every = "{every}s"
[providers.cloud]
kind = "simulator"
base_url = "{base}"
api_key_env = "CLOUD_KEY"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
volumes = ["5341"]
[[tiers]]
name = "a100"
provider = "cloud"
market = "on-demand"
instances = ["8430"]
"""
WORLD = {
    "instances": [
        {"id": 8429, "name": "h100-a", "price_usd_per_hour": "2.0000001", "asleep_usd_per_hour": "0.016"},
        {"id": 8430, "name": "a100-a", "flavor": "n3-A100x1", "price_usd_per_hour": "1.35"},
    ],
    "volumes": [{"id": 5341, "name": "weights", "price_usd_per_hour": "0.0193548", "attached_to": 8429}],
    "hibernate_s": 30,
    "restore_s": 40,
}


@dataclass
class Month:
    """The month, told; the provider still answers while it is open."""

    settings: Path
    world: SimulatedWorld
    clock: SetClock
    collector: Collector


@contextmanager
def month(folder: Path, store_url: str) -> Iterator[Month]:
    """The simulated provider and a collector that has not ticked yet; `CLOUD_KEY` is set by the test."""
    clock = SetClock(FIRST - timedelta(hours=5))
    world = SimulatedWorld.from_json(WORLD, clock)
    with running_simulator(world) as simulator:
        path = folder / "mtok.toml"
        text = SETTINGS.format(store=store_url, base=simulator.base_url, every=int(EVERY.total_seconds()))
        path.write_text(text, encoding="utf-8")
        settings = load_settings(path)
        database = open_database(settings.store_url)
        yield Month(path, world, clock, build_collector(database, settings, clock))
        database.close()


async def tell(it: Month) -> None:
    """Tick through the month, with all that happens in it."""
    fence = acquire(it.collector.database, "test", 10**6)
    assert fence is not None
    backfill = Backfill(it.collector)
    happenings = _happenings(it.world)
    it.clock.advance(1800 + 7)  # our ticks never fall on midnight
    while it.clock.now() < LAST + EVERY:
        while happenings and happenings[0][0] <= it.clock.now():
            happenings.pop(0)[1]()
        if not any(start <= it.clock.now() < end for start, end in OUTAGES):
            await it.collector.tick(fence)
            await backfill.run(fence)
        it.clock.advance(EVERY.total_seconds())
    await it.collector.account.close()


def _happenings(world: SimulatedWorld) -> list:  # type: ignore[type-arg]
    def machine(id_: int) -> SimulatedResource:
        found = world.find("vm", id_)
        assert found is not None
        return found

    volume = {"id": 9001, "name": "cache", "price_usd_per_hour": "0.01"}
    day = FIRST - timedelta(days=1)
    return [
        (day + timedelta(days=3, hours=12), lambda: world.credit(machine(8429), 50_000_000_001)),
        (day + timedelta(days=10, hours=4), lambda: world.recreate(machine(8430))),
        (day + timedelta(days=12, hours=9), lambda: world.hibernate(machine(8429))),
        (day + timedelta(days=13, hours=9), lambda: world.restore(machine(8429))),
        (day + timedelta(days=18, hours=1), lambda: world.recreate(machine(8430))),
        (day + timedelta(days=20, hours=7), lambda: world.vanish(machine(8430), is_listed=True)),
        (day + timedelta(days=22, hours=3), lambda: world.create_volume(volume)),
    ]
