"""A collector of one tier against the simulated provider, with compressed times."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from console.collector.build import build_collector
from console.collector.operations import Operations
from console.collector.tick import Collector
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import Settings, load_settings
from store.clock import SystemClock
from store.database import Database
from store.operations import last_of, request, seen_state
from store.phases import OperationKind, Phase
from store.tables import OperationRow

_ENDS_WITHIN_S = 60  # even on a slow machine, whose answers come late and are asked for again
SETTINGS = """
[budget]
daily_usd = "200"
dark_after = "{dark_after}"
[collector]
every = "300ms"
leader_expires_after = "2s"
wake_within = "{wake_within}"
not_applied_after = "600ms"
sleep_within = "20s"
[providers.cloud]
kind = "simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
volumes = ["5341"]
"""
PATIENT = {"dark_after": "60s", "wake_within": "60s"}  # what is not about these times may take long
WORLD = {
    "instances": [
        {"id": 8429, "name": "h100-a", "price_usd_per_hour": "2.00"},
        {"id": 9000, "name": "somebody's", "price_usd_per_hour": "5.00"},
    ],
    "volumes": [{"id": 5341, "name": "weights", "price_usd_per_hour": "0.02", "attached_to": 8429}],
    "hibernate_s": 0,
    "restore_s": 0,
}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    world = SimulatedWorld.from_json(WORLD, SystemClock())
    with running_simulator(world) as running:
        yield running


@pytest.fixture
def times() -> dict[str, str]:
    """What a test that is about these times sets anew."""
    return {}


@pytest.fixture
def settings(simulator: Simulator, tmp_path: Path, times: dict[str, str]) -> Settings:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    text = SETTINGS.format(url=simulator.base_url, **{**PATIENT, **times})
    (tmp_path / "mtok.toml").write_text(text, encoding="utf-8")
    return load_settings(tmp_path / "mtok.toml")


@pytest.fixture
async def collector(database: Database, settings: Settings) -> AsyncIterator[Collector]:
    built = build_collector(database, settings, SystemClock())
    yield built
    await built.account.close()


def ask(database: Database, kind: OperationKind) -> None:
    with database.write() as session:
        seen = seen_state(session, "h100")
        request(session, SystemClock().now(), kind, "h100", actor="ada", reason="", seen=seen)


async def carry_out(operations: Operations, database: Database, fence: int) -> OperationRow:
    """Advance until the operation has ended, or its tier is asleep and only the bill has to come to rest."""
    end_s = time.monotonic() + _ENDS_WITHIN_S
    while time.monotonic() < end_s:
        await operations.advance(fence)
        with database.read() as session:
            row = last_of(session, "h100")
            if row is not None and (row.finished_at is not None or row.phase == Phase.ASLEEP):
                return row
        await asyncio.sleep(0.05)
    pytest.fail("the operation does not end")
