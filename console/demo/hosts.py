"""The demo's GPU hosts: an agent runs while its simulated instance is ACTIVE, as a real one would."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from console.demo.files import DemoAgent
from console.demo.processes import Child, DemoFailed

_LOOKS_EVERY_S = 0.5
_RESTARTS_AFTER_S = 1.0  # like a service manager: a process that ended by itself is started again


class Hosts:
    """Starts and ends the agents as the provider's instances wake and sleep."""

    def __init__(self, state: Path, agents: Sequence[DemoAgent], provider_url: str, api_key: str) -> None:
        self._state, self._agents = state, agents
        self._http = httpx.Client(base_url=provider_url, headers={"api_key": api_key}, timeout=5)
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
                if httpx.get(f"{agent.url}/health", timeout=2).is_success:
                    return
            except httpx.HTTPError:
                child.check()
            time.sleep(0.05)
        raise DemoFailed(child.part, "did not answer within 30 s", child.log)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOKS_EVERY_S):
            active = self._active_instances()
            if active is None:
                continue  # the provider is in a fault of its own; the hosts live on
            for agent in self._agents:
                self._follow(agent, is_active=agent.tier.instance in active)

    def _follow(self, agent: DemoAgent, *, is_active: bool) -> None:
        child = self._children[agent.name]
        if is_active and not child.runs:
            self._ended.wait(_RESTARTS_AFTER_S)
            self._start(agent)
            self._changed()
        elif not is_active and child.runs:
            child.stop()
            self._changed()

    def _active_instances(self) -> frozenset[int] | None:
        try:
            answer = self._http.get("/core/virtual-machines", params={"page": 1, "pageSize": 100})
            rows = answer.json()["instances"] if answer.is_success else None
        except (httpx.HTTPError, ValueError, KeyError):
            return None
        return None if rows is None else frozenset(row["id"] for row in rows if row["status"] == "ACTIVE")


def mtok() -> list[str]:
    """How to start mtok itself, as it was installed beside this interpreter."""
    beside = shutil.which("mtok", path=str(Path(sys.executable).parent))
    return (
        [beside] if beside else [sys.executable, "-c", "import sys; from console.cli import main; sys.exit(main())"]
    )
