"""A whole fleet of real processes on loopback, with compressed times, a cable that can be cut, and a watcher."""

import json
import os
import re
import signal
import socket
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.demo.world import World

DARK_AFTER_S = 6.0
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


@dataclass(frozen=True)
class Look:
    """What was seen at one instant: completion tokens by agent, and whether each may serve."""

    at: datetime
    tokens: dict[str, int]
    is_open: dict[str, bool]


@dataclass
class Fleet:
    """The world under test. `looks` grow four times a second, by the agents' own control APIs."""

    world: World
    cable: Cable
    looks: list[Look] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def agents(self) -> list[str]:
        """The agents' names."""
        return [agent.name for agent in self.world.agents]

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.world.state / "mtok.db"

    def fault(self, kind: str | None, prefix: str = "/billing") -> None:
        """Begin a fault of the simulated provider, or end it."""
        url = f"{self.world.provider_url.removesuffix('/v1')}/simulator/faults"
        body = json.dumps({"fault": kind, "path_prefix": prefix}).encode()
        urllib.request.urlopen(urllib.request.Request(url, body), timeout=5).close()

    def signal_collector(self, signum: int) -> None:
        """Send a signal to the collector that runs now, by its pid."""
        os.kill(self.world.collector.pid, signum)

    def kill_agent(self, name: str) -> None:
        """End an agent's process at once."""
        agent = next(one for one in self.world.agents if one.name == name)
        pid = self.world.hosts.pid(agent)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def last_complete_at(self) -> datetime | None:
        """The last complete tick in the store, if it can be read."""
        try:
            with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=0.2) as connection:
                (at,) = connection.execute("SELECT max(at) FROM ticks WHERE complete").fetchone()
        except sqlite3.Error:
            return None
        return None if at is None else datetime.fromisoformat(at).replace(tzinfo=UTC)

    def wait_until_open(self, within_s: float = 60, agents: list[str] | None = None) -> float:
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

    def watch(self) -> None:
        """Look at the agents until the fleet ends."""
        while not self._ended.wait(_LOOKS_EVERY_S):
            tokens, is_open = dict(self.looks[-1].tokens) if self.looks else {}, {}
            at = datetime.now(UTC)
            for agent in self.world.agents:
                secret = (agent.settings.parent / "control.secret").read_text(encoding="utf-8").strip()
                found = _status(agent.control_url, secret)
                is_open[agent.name] = found is not None and found[1]
                if found is not None:
                    tokens[agent.name] = found[0]
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
def running_fleet(state: Path) -> Iterator[Fleet]:
    """Provider (simulated), three agents (reference engine), load, collector: until the block ends."""
    cables: list[Cable] = []

    def adapt(world: World) -> None:
        first = world.agents[0]
        cables.append(Cable(first.control_port))
        text = world.settings.read_text(encoding="utf-8")
        text = text.replace(first.control_url, f"http://127.0.0.1:{cables[0].port}")
        text = text.replace("[budget]\n", '[budget]\nfrozen_after = "6s"\ndark_hibernate_after = "10m"\n')
        world.settings.write_text(with_times(text, _TIMES), encoding="utf-8")
        for agent in world.agents:
            with agent.settings.open("a", encoding="utf-8") as file:
                file.write(f"[limits]\nmax_in_flight_s = {MAX_IN_FLIGHT_S}\n")

    world = World(state, adapt)
    world.start()
    fleet = Fleet(world, cables[0])
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
