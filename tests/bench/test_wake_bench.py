"""What a wake costs beyond the provider's restore and the engine's load: our own looking, deciding and asking.

Real collector at its real pace (it looks once a second), real agent that is loaded already, simulated provider.
"""

import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.engine.make import ensure_model
from console.collector.inside import InsideCollector
from console.providers.simulator import running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.service import Service
from console.settings import load_settings
from store.anatomy import Anatomy, past
from store.clock import SystemClock
from store.database import Database, open_database
from store.operations import calls_of, seen_state
from store.phases import OperationKind, Phase
from tests.agent.conftest import SECRET, running_agent, write_settings

SETTINGS = """
[budget]
daily_usd = "200"
[providers.cloud]
kind = "simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
agents = [{{ name = "a", instance = "8429", control_url = "{control}", control_secret_file = "secret" }}]
"""
WORLD = {
    "instances": [{"id": 8429, "name": "h100-a", "price_usd_per_hour": "2.00", "address": "127.0.0.1"}],
    "hibernate_s": 1,
    "restore_s": 3,
}
WAKES = 5


def test_overhead_of_a_wake(tmp_path: Path) -> None:
    ensure_model(tmp_path / "model")
    world = SimulatedWorld.from_json(WORLD, SystemClock())
    with (
        running_simulator(world) as simulator,
        running_agent(write_settings(tmp_path, tmp_path / "model")) as agent,
    ):
        (tmp_path / "key").write_text("key", encoding="utf-8")
        (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
        path = tmp_path / "mtok.toml"
        path.write_text(SETTINGS.format(url=simulator.base_url, control=agent.control), encoding="utf-8")
        settings = load_settings(path)
        database = open_database(settings.store_url)
        service = Service(database, settings, SystemClock(), actor="bench")
        collector = InsideCollector(lambda: database, settings, lambda _why_not: None)
        collector.start()
        try:
            overheads = [_overhead_s(database, service, world) for _ in range(WAKES)]
        finally:
            collector.stop()
        database.close()
    median, worst = statistics.median(overheads), max(overheads)
    print(f"\noverhead of a wake, {WAKES} wakes: median {median:.2f} s, worst {worst:.2f} s (target < 5 s)")
    print("    simulated provider (restores in 3 s), reference engine (loaded already)")


def _overhead_s(database: Database, service: Service, world: SimulatedWorld) -> float:
    _done(database, service, OperationKind.HIBERNATE)
    wake = _done(database, service, OperationKind.WAKE)
    machine = world.find("vm", 8429)
    assert machine is not None
    active_at = datetime.fromtimestamp(machine.history[-1][0], UTC)
    with database.read() as session:
        (call,) = calls_of(session, wake.id)
    assert wake.finished_at is not None
    asking = call.sent_at - wake.requested_at
    serving = wake.finished_at - active_at
    return (asking + serving).total_seconds()


def _done(database: Database, service: Service, kind: OperationKind) -> Anatomy:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with database.read() as session:
            found, seen = past(session, "h100", kind, 1), seen_state(session, "h100")
            wanted = "ACTIVE" if kind is OperationKind.HIBERNATE else "HIBERNATED"
        if wanted in seen:
            break
        time.sleep(0.05)
    before = found[0].id if found else 0
    service.ask(kind, "h100", seen=seen)
    while time.monotonic() < end:
        with database.read() as session:
            (now,) = past(session, "h100", kind, 1)
        if now.id > before and (now.outcome or now.phase == Phase.ASLEEP):
            assert now.outcome in (None, "done"), now
            return now
        time.sleep(0.05)
    pytest.fail(f"the {kind} does not end")
