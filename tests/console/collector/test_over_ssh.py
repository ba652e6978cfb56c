"""A tier whose agent listens on its host's loopback alone: ticks, leases and a wake through a real sshd."""

import asyncio
import getpass
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from agent.engine.make import ensure_model
from console.collector.build import build_collector
from console.collector.operations import Operations
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import Settings, load_settings
from store.anatomy import past
from store.clock import SystemClock
from store.leader import acquire
from store.operations import request, seen_state
from store.phases import OperationKind, Phase
from store.tables import AgentRow
from tests.agent.conftest import SECRET, RunningAgent, running_agent, write_settings
from tests.databases import opened
from tests.sshd import Sshd, running_sshd

SETTINGS = """
[budget]
daily_usd = "200"
[collector]
every = "300ms"
usage_within = "3s"
drain_within = "1s"
wake_within = "20s"
[ssh]
known_hosts_file = "{known_hosts}"
config_file = "no-config"
connect_within = "3s"
[providers.cloud]
kind = "simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
agents = [{{ name = "h100-a", instance = "8429", ssh_user = "{user}", ssh_port = {ssh_port}, \
ssh_key_file = "{key}", control_port = {control_port}, control_secret_file = "secret" }}]
"""
WORLD = {
    "instances": [{"id": 8429, "name": "h100-a", "price_usd_per_hour": "2.00", "address": "127.0.0.1"}],
    "hibernate_s": 0,
    "restore_s": 0,
}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[RunningAgent]:
    ensure_model(tmp_path / "model")
    with running_agent(write_settings(tmp_path, tmp_path / "model")) as running:
        yield running


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with running_sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with running_simulator(SimulatedWorld.from_json(WORLD, SystemClock())) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, agent: RunningAgent, sshd: Sshd, simulator: Simulator) -> Settings:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    text = SETTINGS.format(
        url=simulator.base_url,
        user=getpass.getuser(),
        ssh_port=sshd.port,
        key=sshd.folder / "user",
        known_hosts=sshd.known_hosts(),
        control_port=agent.control.rpartition(":")[2],
    )
    (tmp_path / "mtok.toml").write_text(text, encoding="utf-8")
    return load_settings(tmp_path / "mtok.toml")


async def test_a_tier_over_ssh_ticks_is_leased_sleeps_and_wakes_with_its_host_as_a_phase(
    settings: Settings, sshd: Sshd
) -> None:
    with opened(settings.store_url) as database:
        collector = build_collector(database, settings, SystemClock())
        operations = Operations(collector)
        fence = acquire(database, "test", 600)
        assert fence is not None

        def agent_row() -> AgentRow:
            with database.read() as session:
                return session.exec(select(AgentRow)).one()

        async def carry_out(kind: OperationKind, until: Phase) -> None:
            with database.write() as session:
                seen = seen_state(session, "h100")
                request(session, SystemClock().now(), kind, "h100", actor="ada", reason="", seen=seen)
            for _ in range(100):
                await operations.advance(fence)
                with database.read() as session:
                    (now,) = past(session, "h100", kind, 1)
                if now.phase == until:
                    return
                assert now.outcome in (None, "done"), now
                await asyncio.sleep(0.1)
            pytest.fail(f"the {kind} does not end: {now}")

        try:
            await collector.tick(fence)  # the first tick learns the address
            await collector.tick(fence)
            assert (agent_row().problem, agent_row().lease_open) == (None, True)
            sshd.kill_sessions()
            await collector.tick(fence)
            await asyncio.sleep(1.2)  # the pause after a failure
            await collector.tick(fence)
            assert agent_row().problem is None
            await carry_out(OperationKind.HIBERNATE, Phase.ASLEEP)
            sshd.stop()  # the machine sleeps
            await collector.tick(fence)
            assert agent_row().problem is not None
            sshd.start()
            await carry_out(OperationKind.WAKE, Phase.DONE)
            with database.read() as session:
                (wake,) = past(session, "h100", OperationKind.WAKE, 1)
            assert Phase.REACHABLE in [step.phase for step in wake.reached]
            assert wake.reached[-1].phase is Phase.FIRST_TOKEN
        finally:
            await operations.stop()
            await collector.account.close()
