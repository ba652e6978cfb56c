"""A whole fleet of real processes on loopback, with compressed times, a cable that can be cut, and a watcher."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.demo.hosts import mtok
from console.demo.world import World
from store.money import parse_nusd
from tests.prepared import prepare_demo

DARK_AFTER_S = 15.0  # on a slow machine a collector may take most of it to follow one that was killed
MAX_IN_FLIGHT_S = 2.0
SLACK_S = 2.0  # the agent looks for what to cap once a second, and checkpoints its counts once a second
PROMISE_S = DARK_AFTER_S + MAX_IN_FLIGHT_S + SLACK_S
_TIMES = {
    "every": "1s",
    "dark_after": f"{DARK_AFTER_S:g}s",
    "bills_within": "2s",
    "usage_within": "1s",
    "lease_within": "1s",
    "leader_expires_after": "3s",
}
_LOOKS_EVERY_S = 0.25
_DISK_BYTES = 48 * 1024 * 1024


class Cable:
    """A TCP proxy before one agent's control API; cut, it swallows everything and answers nothing."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._is_cut = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Let nothing through."""
        self._is_cut.set()

    def mend(self) -> None:
        """Let everything through; what was swallowed is lost."""
        self._is_cut.clear()

    def close(self) -> None:
        """Accept nothing more."""
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as agent:
            back = threading.Thread(target=self._pump, args=(agent, client), daemon=True)
            back.start()
            self._pump(client, agent)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._is_cut.is_set():
                    sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class SmallDisk:
    """A file system of its own for the store, that can be filled; only root may mount one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)]
        self._folder = folder
        self.is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave no byte free."""
        with suppress(OSError), (self._folder / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"0" * 4096)

    def free(self) -> None:
        """Give the space back."""
        (self._folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it."""
        if self.is_mounted:
            subprocess.run(["umount", str(self._folder)], check=True)


class ChaosWorld(World):
    """The demo's world, with a collector whose clock can be moved."""

    @property
    def clock_file(self) -> Path:
        """By how many seconds the collector's clock is off."""
        return self.state / "clock"

    def start_collector(self) -> None:
        if not self.clock_file.exists():
            self.clock_file.write_text("0", encoding="utf-8")
        command = [sys.executable, "-m", "tests.chaos.collect", str(self.settings), str(self.clock_file)]
        self.collector = self._child("collector", command)


@dataclass(frozen=True)
class Look:
    """What was seen at one instant: completion tokens by agent, and whether each that answered may serve."""

    at: datetime
    tokens: dict[str, int]
    is_open: dict[str, bool]


@dataclass
class Fleet:
    """The world under test. `looks` grow four times a second, by the agents' own control APIs."""

    world: ChaosWorld
    cable: Cable
    disk: SmallDisk
    looks: list[Look] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def agents(self) -> list[str]:
        """The agents' names."""
        return [agent.name for agent in self.world.agents]

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.world.state / "store" / "mtok.db"

    def fault(self, kind: str | None, prefix: str = "/billing") -> None:
        """Begin a fault of the simulated provider, or end it."""
        url = f"{self.world.provider_url.removesuffix('/v1')}/simulator/faults"
        body = json.dumps({"fault": kind, "path_prefix": prefix}).encode()
        urllib.request.urlopen(urllib.request.Request(url, body), timeout=30).close()

    def signal_collector(self, signum: int) -> None:
        """Send a signal to the collector that runs now, by its pid."""
        os.kill(self.world.collector.pid, signum)

    def fill_disk(self) -> None:
        """Leave the store no byte to write in, not even the room that its own log has kept."""
        with closing(sqlite3.connect(self.store, timeout=2, isolation_level=None)) as connection:
            for _ in range(20):
                (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not is_busy:
                    break
                time.sleep(0.05)
            self.disk.fill()

    def move_clock(self, seconds: float) -> None:
        """Put the collector's wall clock off by so much."""
        draft = self.world.clock_file.with_suffix(".draft")
        draft.write_text(str(seconds), encoding="utf-8")
        draft.replace(self.world.clock_file)

    def billed_nusd(self, start: datetime, end: datetime) -> int:
        """What the simulator has billed between two instants, by its own account."""
        url = f"{self.world.provider_url.removesuffix('/v1')}/simulator/account"
        query = urllib.parse.urlencode({"from": start.isoformat(), "to": end.isoformat()})
        with urllib.request.urlopen(f"{url}?{query}", timeout=30) as answer:
            return int(json.load(answer)["billed_nusd"])

    def bound_nusd(self) -> int:
        """What mtok promises now as the most that is spent beyond the limit."""
        command = [*mtok(), "gate", "show", "--json", "--config", str(self.world.settings)]
        body = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
        return parse_nusd(body["overspend_bound"]["usd"])

    def kill_agent(self, name: str) -> None:
        """End an agent's process at once."""
        agent = next(one for one in self.world.agents if one.name == name)
        pid = self.world.hosts.pid(agent)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def last_complete_at(self) -> datetime | None:
        """The last complete tick in the store, if it can be read."""
        try:
            with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=0.2)) as connection:
                (at,) = connection.execute("SELECT max(at) FROM ticks WHERE complete").fetchone()
        except sqlite3.Error:
            return None
        return None if at is None else datetime.fromisoformat(at).replace(tzinfo=UTC)

    def complete_ticks_since(self, at: datetime) -> int:
        """How many complete ticks there have been since an instant."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=1)) as connection:
            query = "SELECT count(*) FROM ticks WHERE complete AND at >= ?"
            (count,) = connection.execute(query, (at.strftime("%Y-%m-%d %H:%M:%S.%f"),)).fetchone()
        return int(count)

    def wait_until_open(self, within_s: float = 120, agents: list[str] | None = None) -> float:
        """Seconds until every agent may serve and has served a token since."""
        begin, start = time.monotonic(), None
        while time.monotonic() - begin < within_s:
            look = self.looks[-1] if self.looks else None
            names = agents or self.agents
            if look is not None and all(look.is_open.get(name, False) for name in names):
                start = start or look
                if all(look.tokens[name] > start.tokens.get(name, -1) for name in names):
                    return time.monotonic() - begin
            else:
                start = None
            time.sleep(0.1)
        msg = f"the fleet did not serve within {within_s:g} s: {self.looks[-1] if self.looks else 'nothing seen'}"
        raise TimeoutError(msg)

    def whole_look_since(self, at: datetime, within_s: float = 60) -> Look:
        """The first look since an instant in which every agent answered, or the last one of all."""
        end, seen = time.monotonic() + within_s, 0
        while time.monotonic() < end:
            looks = self.looks[seen:]
            for look in looks:
                if look.at >= at and set(look.is_open) == set(self.agents):
                    return look
            seen += len(looks)
            time.sleep(0.05)
        return self.looks[-1]

    def watch(self) -> None:
        """Look at the agents until the fleet ends."""
        while not self._ended.wait(_LOOKS_EVERY_S):
            tokens, is_open = dict(self.looks[-1].tokens) if self.looks else {}, {}
            at = datetime.now(UTC)
            for agent in self.world.agents:
                secret = (agent.settings.parent / "control.secret").read_text(encoding="utf-8").strip()
                found = _status(agent.control_url, secret)
                if found is not None:
                    tokens[agent.name], is_open[agent.name] = found
            self.looks.append(Look(at, tokens, is_open))

    def end(self) -> None:
        """Look no more."""
        self._ended.set()


def _status(control_url: str, secret: str) -> tuple[int, bool] | None:
    """Completion tokens, and whether the lease in force is open; None while the agent does not answer."""
    try:
        usage, status = (_get(f"{control_url}/control/{name}", secret) for name in ("usage", "status"))
    except (OSError, ValueError):
        return None
    lease = status["lease"]
    return int(usage["completion_tokens"]), lease["verdict"] == "open" and lease["expires_in_s"] > 0


def _get(url: str, secret: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(request, timeout=1) as answer:
        return json.load(answer)


def with_times(settings: str, times: Mapping[str, str]) -> str:
    """Settings with other times."""
    for name, value in times.items():
        settings = re.sub(rf'(?m)^{name} = ".*"$', f'{name} = "{value}"', settings)
    return settings


@contextmanager
def running_fleet(state: Path, times: Mapping[str, str] = _TIMES) -> Iterator[Fleet]:
    """Provider (simulated), three agents (reference engine), load, collector: until the block ends."""
    cables: list[Cable] = []
    disks: list[SmallDisk] = []

    def adapt(world: World) -> None:
        prepare_demo(world.state)
        first = world.agents[0]
        cables.append(Cable(first.control_port))
        text = world.settings.read_text(encoding="utf-8")
        text = text.replace(first.control_url, f"http://127.0.0.1:{cables[0].port}")
        frozen = "6s" if times is _TIMES else "15m"
        text = text.replace("[budget]\n", f'[budget]\nfrozen_after = "{frozen}"\ndark_hibernate_after = "10m"\n')
        text = text.replace("sqlite:///mtok.db", "sqlite:///store/mtok.db")
        disks.append(SmallDisk(world.state / "store"))
        world.settings.write_text(with_times(text, times), encoding="utf-8")
        for agent in world.agents:
            with agent.settings.open("a", encoding="utf-8") as file:
                file.write(f"[limits]\nmax_in_flight_s = {MAX_IN_FLIGHT_S}\n")

    world = ChaosWorld(state, adapt)
    world.start()
    fleet = Fleet(world, cables[0], disks[0])
    watcher = threading.Thread(target=fleet.watch, daemon=True)
    watcher.start()
    try:
        yield fleet
    finally:
        fleet.end()
        watcher.join()
        with suppress(ProcessLookupError):
            fleet.signal_collector(signal.SIGCONT)
        world.stop()
        cables[0].close()
        disks[0].close()
