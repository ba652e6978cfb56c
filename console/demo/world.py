"""`mtok demo`: a whole local world. Simulated provider, three agents, a small load, collector and console.

Every part is a process of its own on loopback; the engine is the reference engine and the provider is
simulated, and both say so. Everything that it started ends with it.
"""

import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from console.commands import dumped
from console.demo.files import prepare, write_agents, write_json, write_settings, write_world
from console.demo.hosts import Hosts, mtok
from console.demo.processes import Child, wait_for_file
from console.export.status import status_body
from console.service import Service
from console.setting_types import parse_duration
from console.settings import load_settings
from store.clock import SystemClock
from store.database import open_database
from store.errors import ExitCode, SettingsError
from store.fleet import Fleet
from store.unknown import Unknown

_READY_WITHIN_S = 20.0
_LAST_TICKS_WITHIN_S = 20.0


class World:
    """The demo's parts, from `start` to `stop`."""

    def __init__(self, state: Path, adapt: Callable[["World"], None] = lambda _: None) -> None:
        """`adapt` may change the files that were written, before the parts that read them start."""
        self._adapt = adapt
        self.state = state.resolve()
        self.settings = self.state / "mtok.toml"
        self._parts = ExitStack()

    def start(self) -> None:
        """Start every part, in the order in which they need each other.

        Raises:
            DemoFailed: a part did not start; the others have been ended.
        """
        prepare(self.state)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self.provider_url = self._start_provider()
        self.agents = write_agents(self.state)
        write_settings(self.state, self.provider_url, self.agents)
        self._adapt(self)
        key = (self.state / "secrets" / "provider.key").read_text(encoding="utf-8")
        self.hosts = Hosts(self.state, self.agents, self.provider_url, key)
        self._parts.callback(self.hosts.stop)
        self.hosts.start(self._write_demo)
        self.start_collector()
        self._write_demo()
        self.load = self._child("load", [sys.executable, "-m", "console.demo.load", str(self.state)])

    def start_collector(self) -> None:
        """Start the collector, or another one in its place."""
        self.collector = self._child("collector", [*mtok(), "collect", "--config", str(self.settings)])

    def stop(self) -> None:
        """End every part, the last one started first."""
        self._parts.close()

    def _start_provider(self) -> str:
        port_file = self.state / "provider.port"
        world = write_world(self.state)
        command = [sys.executable, "-m", "console.providers.simulator", "--world", str(world)]
        command += [
            "--port-file",
            str(port_file),
            "--api-key-file",
            str(self.state / "secrets" / "provider.key"),
        ]
        command += ["--account-file", str(self.state / "account.json")]
        child = self._child("simulated provider", command)
        return f"http://127.0.0.1:{wait_for_file(port_file, child, _READY_WITHIN_S)}/v1"

    def _child(self, part: str, command: list[str]) -> Child:
        child = Child(part, command, self.state / "logs" / f"{part.replace(' ', '-')}.log")
        self._parts.callback(child.stop)
        return child

    def _write_demo(self) -> None:
        """What a person needs to play with it: `demo.json`."""
        root = self.provider_url.removesuffix("/v1")
        agents = [
            {
                "name": agent.name,
                "tier": agent.tier.name,
                "url": agent.url,
                "control_url": agent.control_url,
                "api_key": agent.api_key,
                "pid": self.hosts.pid(agent),
            }
            for agent in self.agents
        ]
        body = {
            "simulated": True,
            "settings": str(self.settings),
            "provider_url": self.provider_url,
            "provider_account_url": f"{root}/simulator/account",
            "provider_faults_url": f"{root}/simulator/faults",
            "provider_api_key_file": str(self.state / "secrets" / "provider.key"),
            "agents": agents,
            "collector": {"pid": self.collector.pid},
            "provider_account_file": str(self.state / "account.json"),
            "load_report": str(self.state / "load.json"),
            "logs": str(self.state / "logs"),
        }
        write_json(self.state / "demo.json", body)


def run_demo(*, headless: bool, duration: str | None, as_json: bool, state: Path | None) -> int:
    """Run the demo until its time is over, the screen is closed, or a signal comes.

    Raises:
        SettingsError: bad options.
        DemoFailed: a part did not start.
    """
    limit = None if duration is None else _seconds(duration)
    if as_json and not headless:
        raise SettingsError("--json", "needs --headless", "add it")
    ended = threading.Event()
    _end_on_signals(ended)
    with ExitStack() as stack:
        if state is None:
            state = Path(tempfile.mkdtemp(prefix="mtok-demo-"))
            stack.callback(shutil.rmtree, state, ignore_errors=True)
        world = World(state)
        _say(f"demo: SIMULATED provider, REFERENCE engine; everything is in {world.state}")
        world.start()
        stack.callback(world.stop)
        if headless:
            return _run_headless(world, ended, limit, as_json=as_json)
        if limit is not None:
            _end_screen_after(limit)
        greeting = f"demo: nothing here costs money; ? for help, q ends it all; files in {world.state}"
        from console.screen import Wish, open_console

        return open_console(world.settings, Wish(no_collect=True, greeting=greeting))


def _run_headless(world: World, ended: threading.Event, limit_s: float | None, *, as_json: bool) -> int:
    interrupted = ended.wait(limit_s)
    world.load.stop(within_s=30)
    load_ended_at = datetime.now(UTC)
    fleet = _after_the_load(world, load_ended_at, timedelta(seconds=_LAST_TICKS_WITHIN_S))
    if as_json:
        print(dumped(status_body(fleet)))
    return int(ExitCode.INTERRUPTED if interrupted and limit_s is not None else ExitCode.OK)


def _after_the_load(world: World, load_ended_at: datetime, patience: timedelta) -> Fleet:
    """The fleet at the first instant whose figures reach beyond the end of the load, for every tier."""
    settings = load_settings(world.settings)
    database = open_database(settings.store_url)
    try:
        service = Service(database, settings, SystemClock())
        while True:
            fleet = service.fleet()
            edges = [tier.figures["24h"].edges for tier in fleet.tiers]
            if all(not isinstance(edge, Unknown) and edge.end_at > load_ended_at for edge in edges):
                return fleet
            if fleet.at > load_ended_at + patience:
                return fleet
            time.sleep(0.2)
    finally:
        database.close()


def _seconds(duration: str) -> float:
    try:
        return parse_duration(duration).total_seconds()
    except ValueError as error:
        raise SettingsError(f"--for {duration}", str(error), "correct it") from None


def _end_on_signals(ended: threading.Event) -> None:
    def end(_signum: int, _frame: FrameType | None) -> None:
        ended.set()

    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it


def _end_screen_after(limit_s: float) -> None:
    """Close the screen as a person would, with a signal to ourselves that the screen obeys."""
    timer = threading.Timer(limit_s, signal.raise_signal, (signal.SIGTERM,))
    timer.daemon = True
    timer.start()


def _say(line: str) -> None:
    print(line, file=sys.stderr)
