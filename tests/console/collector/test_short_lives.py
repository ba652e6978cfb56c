"""Machines that nobody saw alive: what they were billed is counted, once, in the day in which they lived."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.collector.build import build_collector
from console.collector.tick import Collector
from console.providers.simulator import running_simulator
from console.providers.simulator_world import SimulatedResource, SimulatedWorld
from console.settings import load_settings
from store.check import check
from store.clock import SetClock
from store.database import Database
from store.figures import Spend
from store.figures_read import figures
from store.leader import acquire
from store.window import Window

SETTINGS = """
[budget]
daily_usd = "500"
[providers.cloud]
kind = "simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["1"]
"""
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ROW = {"id": 1, "name": "a", "price_usd_per_hour": "3.60"}
DISK = {"id": 2, "name": "weights", "price_usd_per_hour": "0.36"}


@dataclass
class Account:
    """One collector and the account that it watches, on one clock."""

    collector: Collector
    world: SimulatedWorld
    clock: SetClock
    fence: int

    async def go_on(self, minutes: int) -> None:
        """A tick a minute."""
        for _ in range(minutes):
            await self.collector.tick(self.fence)
            self.clock.advance(60)

    def machine(self) -> SimulatedResource:
        found = self.world.find("vm", 1)
        assert found is not None
        return found

    def spend_nusd(self) -> int:
        """Of the tier, since the first tick."""
        with self.collector.database.read() as session:
            found = figures(session, "h100", Window(NOON, self.clock.now() - timedelta(minutes=1))).spend
        assert isinstance(found, Spend), found
        return found.nusd


@pytest.fixture
async def account(database: Database, tmp_path: Path) -> AsyncIterator[Account]:
    clock = SetClock(NOON - timedelta(hours=6))
    world = SimulatedWorld.from_json({"instances": [ROW], "volumes": [DISK]}, clock)
    clock.advance(6 * 3600)
    with running_simulator(world) as simulator:
        (tmp_path / "key").write_text("key", encoding="utf-8")
        (tmp_path / "mtok.toml").write_text(SETTINGS.format(url=simulator.base_url), encoding="utf-8")
        fence = acquire(database, "test", 10**9)
        assert fence is not None
        collector = build_collector(database, load_settings(tmp_path / "mtok.toml"), clock)
        yield Account(collector, world, clock, fence)
        await collector.account.close()


@pytest.mark.parametrize("outage_s", [0, 3 * 3600])
async def test_a_life_between_two_ticks_or_inside_an_outage_is_billed_to_the_nano_dollar(
    account: Account, outage_s: int
) -> None:
    await account.go_on(3)
    account.clock.advance(outage_s / 2)
    account.world.recreate(account.machine())
    account.clock.advance(20)
    account.world.recreate(account.machine())
    account.clock.advance(outage_s / 2)
    await account.go_on(30)
    seconds = 33 * 60 + outage_s + 20 - 60  # up to the last tick
    assert abs(account.spend_nusd() - seconds * 1_000_000) <= 3  # each of three lives is rounded
    assert check(account.collector.database) == []


async def test_what_died_before_our_time_is_no_part_of_any_spend(account: Account) -> None:
    account.world.recreate(account.machine())
    await account.go_on(20)
    assert abs(account.spend_nusd() - 19 * 60 * 1_000_000) <= 1
    assert account.collector.verdict is not None
    assert account.collector.verdict.is_open
