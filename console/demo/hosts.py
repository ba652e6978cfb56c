"""The demo's GPU hosts: an agent runs while its simulated instance does, as a real one would."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from console.demo.files import DemoAgent
from console.demo.processes import Child, DemoFailed
from store.words import State

_LOOKS_EVERY_S = 0.5
_RESTARTS_AFTER_S = 1.0  # like a service manager: a process that ended by itself is started again


class Hosts:
    """Starts and ends the agents as the provider's instances wake and sleep."""

    def __init__(self, state: Path, agents: Sequence[DemoAgent], roots: Mapping[str, str]) -> None:
        """`roots`: by provider, where its simulator answers."""
        self._state, self._agents, self._roots = state, agents, roots
        self._http = httpx.Client(timeout=5)
        self._children: dict[str, Child] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name="hosts", daemon=True)
        self._changed: Callable[[], None] = lambda: None

    def start(self, changed: Callable[[], None]) -> None:
        """Start every agent, wait until all answer, then follow the instances; `changed` hears of new pids.

        Raises:
            DemoFailed: an agent ended, or did not answer in time.
        """
        for agent in self._agents:
            self._start(agent)
        for agent in self._agents:
            self._wait_until_it_answers(agent)
        self._changed = changed
        self._watcher.start()

    def pid(self, agent: DemoAgent) -> int | None:
        """The id of an agent's process; None while its instance sleeps."""
        with self._lock:
            child = self._children.get(agent.name)
            return child.pid if child is not None and child.runs else None

    def stop(self) -> None:
        """End every agent."""
        self._ended.set()
        if self._watcher.ident is not None:
            self._watcher.join()
        for child in self._children.values():
            child.ask_to_stop()
        for child in self._children.values():
            child.stop()
        self._http.close()

    def _start(self, agent: DemoAgent) -> None:
        log = self._state / "logs" / f"{agent.name}.log"
        command = [*mtok(), "agent", "serve", "--config", str(agent.settings)]
        with self._lock:
            self._children[agent.name] = Child(f"agent {agent.name}", command, log)

    def _wait_until_it_answers(self, agent: DemoAgent) -> None:
        child = self._children[agent.name]
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                if self._http.get(f"{agent.url}/health", timeout=2).is_success:
                    return
            except httpx.HTTPError:
                child.check()
            time.sleep(0.05)
        raise DemoFailed(child.part, "did not answer within 30 s", child.log)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOKS_EVERY_S):
            for name, root in self._roots.items():
                running = self._running(root)
                if running is None:
                    continue  # the simulator does not answer; its hosts live on
                for agent in self._agents:
                    if agent.tier.provider.name == name:
                        self._follow(agent, is_active=agent.tier.instance in running)

    def _follow(self, agent: DemoAgent, *, is_active: bool) -> None:
        child = self._children[agent.name]
        if is_active and not child.runs:
            self._ended.wait(_RESTARTS_AFTER_S)
            self._start(agent)
            self._changed()
        elif not is_active and child.runs:
            child.stop()
            self._changed()

    def _running(self, root: str) -> frozenset[str] | None:
        """The instances that run, as their simulator says whatever fault its provider's side is in."""
        try:
            answer = self._http.get(f"{root}/simulator/instances")
            return frozenset(id_ for id_, one in answer.json().items() if one["state"] == State.RUNNING)
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
            return None


def mtok() -> list[str]:
    """How to start mtok itself, as it was installed beside this interpreter."""
    beside = shutil.which("mtok", path=str(Path(sys.executable).parent))
    return (
        [beside] if beside else [sys.executable, "-c", "import sys; from console.cli import main; sys.exit(main())"]
    )
