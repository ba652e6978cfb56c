"""What systemd hears of a collector."""

import asyncio
import socket
from pathlib import Path

import pytest

from console.collector.announce import announced
from console.collector.build import build_collector
from console.collector.schedule import Schedule
from store.notify import Notifier
from tests.console.fleet_world import fleet_world


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


async def test_a_collector_is_ready_alive_while_it_asks_for_the_lead_and_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_KEY", "key")
    monkeypatch.setenv("S", "secret")
    world = fleet_world(tmp_path)
    collector = build_collector(world.database, world.settings, world.clock)
    schedule = Schedule(collector)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "40000"}
        async with announced(schedule, Notifier(environment)):
            assert heard(manager) == ["READY=1\nSTATUS=starting"]
            await asyncio.sleep(0.2)
            assert set(heard(manager)) == {"WATCHDOG=1\nSTATUS=standing by"}
            world.clock.advance(61)  # it has not asked since
            await asyncio.sleep(0.05)
            heard(manager)
            await asyncio.sleep(0.2)
            assert heard(manager) == []
        assert heard(manager) == ["STOPPING=1"]
    await collector.account.close()
    world.database.close()
