"""`mtok demo`: a whole local world. Simulated providers, three agents, a small load, collector and console.

Every part is a process of its own on loopback; the engine is the reference engine and every provider is
simulated, and all say so. Everything that it started ends with it.
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
from console.demo.files import DemoSimulator, prepare, write_agents, write_json, write_settings, write_simulators
from console.demo.fleets import TIERS, DemoTier, fleet_of, providers_of
from console.demo.hosts import Hosts, mtok
from console.demo.processes import Child, wait_for_file
from console.export.status import status_body
from console.providers.registry import provider_kind
from console.service import Service
from console.setting_types import parse_duration
from console.settings import load_settings
from store.clock import SystemClock
from store.database import open_database
from store.errors import ExitCode, SettingsError
from store.fleet_view import Fleet
from store.unknown import Unknown

_READY_WITHIN_S = 20.0
_LAST_TICKS_WITHIN_S = 20.0


class World:
    """The demo's parts, from `start` to `stop`."""

    def __init__(
        self,
        state: Path,
        adapt: Callable[["World"], None] = lambda _: None,
        tiers: tuple[DemoTier, ...] = TIERS,
    ) -> None:
        """`adapt` may change the files that were written, before the parts that read them start."""
        self._adapt, self.tiers = adapt, tiers
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
        self.urls = {one: self._start_simulator(one) for one in write_simulators(self.state, self.tiers)}
        self.agents = write_agents(self.state, self.tiers)
        write_settings(self.state, self.urls, self.agents)
        self._adapt(self)
        self.hosts = Hosts(
            self.state, self.agents, {one.provider.name: _root(one, url) for one, url in self.urls.items()}
        )
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

    @property
    def provider_url(self) -> str:
        """The address of the first provider's API."""
        return next(iter(self.urls.values()))

    def _start_simulator(self, simulator: DemoSimulator) -> str:
        found = provider_kind(simulator.provider.kind).simulator
        assert found is not None
        command = [sys.executable, "-m", found.module, "--world", str(simulator.world)]
        command += ["--port-file", str(simulator.port), "--api-key-file", str(simulator.key)]
        command += ["--account-file", str(simulator.account)]
        child = self._child(f"{simulator.provider.name} provider", command)
        port = wait_for_file(simulator.port, child, _READY_WITHIN_S)
        return f"http://127.0.0.1:{port}{simulator.provider.below}"

    def _child(self, part: str, command: list[str]) -> Child:
        child = Child(part, command, self.state / "logs" / f"{part.replace(' ', '-')}.log")
        self._parts.callback(child.stop)
        return child

    def _write_demo(self) -> None:
        """What a person needs to play with it: `demo.json`."""
        providers = [_told(one, url) for one, url in self.urls.items()]
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
            **{f"provider_{name}": value for name, value in providers[0].items()},
            "providers": providers,
            "agents": agents,
            "collector": {"pid": self.collector.pid},
            "load_report": str(self.state / "load.json"),
            "logs": str(self.state / "logs"),
        }
        write_json(self.state / "demo.json", body)


def _told(simulator: DemoSimulator, url: str) -> dict[str, str]:
    root = _root(simulator, url)
    return {
        "name": simulator.provider.name,
        "kind": simulator.provider.kind,
        "url": url,
        "account_url": f"{root}/simulator/account",
        "faults_url": f"{root}/simulator/faults",
        "api_key_file": str(simulator.key),
        "account_file": str(simulator.account),
    }


def _root(simulator: DemoSimulator, url: str) -> str:
    return url.removesuffix(simulator.provider.below)


def run_demo(
    *, headless: bool, duration: str | None, as_json: bool, state: Path | None, provider: str = "hyperstack"
) -> int:
    """Run the demo until its time is over, the screen is closed, or a signal comes.

    Raises:
        SettingsError: bad options.
        DemoFailed: a part did not start.
    """
    limit, tiers = None if duration is None else _seconds(duration), fleet_of(provider)
    if as_json and not headless:
        raise SettingsError("--json", "needs --headless", "add it")
    ended = threading.Event()
    _end_on_signals(ended)
    with ExitStack() as stack:
        if state is None:
            state = Path(tempfile.mkdtemp(prefix="mtok-demo-"))
            stack.callback(shutil.rmtree, state, ignore_errors=True)
        world = World(state, tiers=tiers)
        titles = ", ".join(provider_kind(one.kind).title for one in providers_of(tiers))
        _say(f"demo: {titles}; REFERENCE engine; everything is in {world.state}")
        world.start()
        stack.callback(world.stop)
        if headless:
            return _run_headless(world, ended, limit, as_json=as_json)
        if limit is not None:
            _end_screen_after(limit)
        greeting = greeting_of(world.state)
        from console.screen import Wish, open_console

        return open_console(world.settings, Wish(may_collect=False, greeting=greeting))


def greeting_of(state: Path) -> str:
    """The console's first message; with a temporary directory it is whole on 80 columns."""
    return f"demo: costs nothing; ? helps, q ends it all; files in {state}"


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
            if fleet.at > load_ended_at + patience or not world.collector.runs:
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
