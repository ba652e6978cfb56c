"""What systemd hears, on a socket as it would give one."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.engine.null import NullEngine
from agent.engine.protocol import Event, GenRequest
from agent.notify import Notifier
from agent.scheduler import Scheduler
from tests.agent.conftest import SERVE, write_settings


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        yield listening


def heard(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


@pytest.mark.processes
def test_an_agent_is_ready_alive_and_stopping(tmp_path: Path, model_dir: Path, manager: socket.socket) -> None:
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    settings = write_settings(tmp_path, model_dir)
    process = subprocess.Popen([*SERVE, str(settings)], env=environment, stderr=subprocess.DEVNULL)
    try:
        while (first := heard(manager)) == "WATCHDOG=1":  # a slow machine loads for longer than one beat takes
            pass
        assert first.splitlines()[0] == "READY=1"
        assert heard(manager) == "WATCHDOG=1"
        assert heard(manager) == "WATCHDOG=1"
        process.send_signal(signal.SIGTERM)
        while (last := heard(manager)) == "WATCHDOG=1":
            pass
        assert last == "STOPPING=1"
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


class WedgedEngine(NullEngine):
    """It does not return from its first step before `goes_on` is set."""

    def __init__(self) -> None:
        super().__init__(1)
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def step(self) -> list[Event]:
        self.begun.set()
        self.goes_on.wait(60)
        return []


async def test_a_wedged_engine_is_not_vouched_for(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.notify.WEDGED_AFTER_S", 0.2)
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"})
    engine = WedgedEngine()
    scheduler = Scheduler(lambda: engine)
    await scheduler.start()
    beating = asyncio.create_task(notifier.keep_alive(scheduler))
    scheduler.submit(GenRequest("1", [1], 5), lambda _event: None)
    assert await asyncio.to_thread(engine.begun.wait, 60)
    await asyncio.sleep(0.3)  # from here on it is wedged
    manager.setblocking(False)
    while True:
        try:
            manager.recv(100)
        except BlockingIOError:
            break
    await asyncio.sleep(0.2)
    with pytest.raises(BlockingIOError):
        manager.recv(100)
    beating.cancel()
    engine.goes_on.set()
    scheduler.stop()


def test_without_a_manager_nothing_is_said() -> None:
    notifier = Notifier({})
    notifier.tell("READY=1")
    assert notifier.beats_every_s is None
    assert Notifier({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).beats_every_s is None
    assert Notifier({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}).beats_every_s == 1.5
