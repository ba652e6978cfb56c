"""One collector, three real adapters: two simulated accounts, one of them in euro, and a folder of files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.collector.build import build_collector
from console.collector.tick import Collector
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import load_settings
from store.clock import SetClock
from store.database import open_database
from store.figures import Spend
from store.figures_read import figures
from store.gate import Reason
from store.leader import acquire
from store.window import Window
from tests.databases import opened

SETTINGS = """
[budget]
daily_usd = "500"
daily = {{ EUR = "100" }}
scope = "{scope}"

[providers.dollars]
kind = "simulator"
base_url = "{dollars}"
api_key_file = "key"

[providers.euros]
kind = "simulator"
base_url = "{euros}"
api_key_file = "key"
currency = "EUR"

[providers.exports]
kind = "files"
folder = "exports"

[[tiers]]
name = "usd"
provider = "dollars"
market = "spot"
instances = ["1"]

[[tiers]]
name = "eur"
provider = "euros"
market = "spot"
instances = ["1"]

[[tiers]]
name = "rack"
provider = "exports"
market = "reserved"
instances = ["gpu-1"]
"""
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
WORLD = {"instances": [{"id": 1, "name": "a", "price_usd_per_hour": "3.60", "asleep_usd_per_hour": "0"}]}


@dataclass
class Fleet:
    """The collector, the simulators' clock, and what may be taken away."""

    collector: Collector
    clock: SetClock
    euros: Simulator
    exports: Path
    fence: int

    async def go_on(self, minutes: int) -> None:
        for _ in range(minutes):
            at = self.clock.now().timestamp() - 10
            for file in self.exports.glob("*.csv"):
                os.utime(file, (at, at))
            await self.collector.tick(self.fence)
            self.clock.advance(60)

    @property
    def open_tiers(self) -> set[str]:
        verdict = self.collector.verdict
        assert verdict is not None
        return {tier for tier in ("usd", "eur", "rack") if not verdict.reasons_for(tier)}


@pytest.fixture(params=["account", "provider"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    clock = SetClock(NOON)
    with (
        running_simulator(SimulatedWorld.from_json(WORLD, clock)) as dollars,
        running_simulator(SimulatedWorld.from_json(WORLD, clock)) as euros,
    ):
        text = SETTINGS.format(scope=request.param, dollars=dollars.base_url, euros=euros.base_url)
        (tmp_path / "mtok.toml").write_text(text, encoding="utf-8")
        (tmp_path / "key").write_text("key", encoding="utf-8")
        exports = tmp_path / "exports"
        exports.mkdir()
        hours = [NOON - timedelta(hours=back) for back in (4, 3, 2, 1)]
        rows = "".join(f"gpu-1,instance,{at:%FT%TZ},{at + timedelta(hours=1):%FT%TZ},2,USD\n" for at in hours)
        (exports / "hours.csv").write_text(f"resource,kind,start,end,amount,currency\n{rows}", encoding="utf-8")
        settings = load_settings(tmp_path / "mtok.toml")
        with opened(settings.store_url):
            database = open_database(settings.store_url)
        fence = acquire(database, "test", 10**6)
        assert fence is not None
        yield Fleet(build_collector(database, settings, clock), clock, euros, exports, fence)
        database.close()


async def test_three_providers_in_one_gate(fleet: Fleet) -> None:
    await fleet.go_on(4)
    collector = fleet.collector
    assert fleet.open_tiers == {"usd", "eur", "rack"}
    with collector.database.read() as session:
        window = Window(NOON, fleet.clock.now())
        spends = [figures(session, tier, window).spend for tier in ("usd", "eur")]
    assert [(one.currency, one.nusd) for one in spends if isinstance(one, Spend)] == [
        ("USD", 180_000_000),
        ("EUR", 180_000_000),
    ]
    fleet.euros.faults.set("500")
    await fleet.go_on(4)
    verdict = collector.verdict
    assert verdict is not None
    if collector.policy.provider_of:
        assert verdict.is_open
        assert fleet.open_tiers == {"usd", "rack"}
        assert verdict.reasons_for("eur") == (Reason.DARK,)
    else:
        assert verdict.reasons == (Reason.DARK,)
        assert fleet.open_tiers == set()
    fleet.euros.faults.set(None)
    fleet.exports.rename(fleet.exports.with_name("aside"))
    await fleet.go_on(4)
    is_apart = bool(collector.policy.provider_of)
    assert fleet.open_tiers == ({"usd", "eur"} if is_apart else set())
    await collector.account.close()
