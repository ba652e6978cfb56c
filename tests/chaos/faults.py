"""What is broken, and how it is healed again. Each fault names the agents that are blind while it lasts."""

import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.fleet import DARK_AFTER_S, Fleet

Act = Callable[[Fleet], None]


@dataclass(frozen=True)
class Fault:
    """`blinds`: nobody, everybody, or the agent behind the cable. `stays_open`: service must not stop at all.

    `noticed_s`: after how many seconds the gate closes although ticks are complete; else it is dark, `dark_after`
    after the last complete one.
    """

    name: str
    begin: Act
    heal: Act
    blinds: str = "all"
    stays_open: bool = False
    lasts_s: float | None = None
    needs_disk: bool = False
    noticed_s: float | None = None


def _nothing(_: Fleet) -> None:
    pass


def _provider(kind: str, **more: object) -> Fault:
    def begin(fleet: Fleet) -> None:
        fleet.fault(kind)

    def heal(fleet: Fleet) -> None:
        fleet.fault(None)

    return Fault(f"provider: {kind}", begin, heal, **more)  # type: ignore[arg-type]


def _send(signum: int) -> Act:
    return lambda fleet: fleet.signal_collector(signum)


def _restart(fleet: Fleet) -> None:
    fleet.world.collector.stop()
    fleet.world.start_collector()


def _replace(fleet: Fleet) -> None:
    fleet.signal_collector(signal.SIGKILL)
    time.sleep(0.2)
    fleet.world.start_collector()


class _Lock:
    """A writer that holds the store for as long as the fault lasts."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, fleet: Fleet) -> None:
        self._ended.clear()
        self._thread = threading.Thread(target=self._hold, args=(fleet,), daemon=True)
        self._thread.start()

    def heal(self, _: Fleet) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _hold(self, fleet: Fleet) -> None:
        connection = sqlite3.connect(fleet.store, timeout=10, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        self._ended.wait(60)
        connection.execute("ROLLBACK")
        connection.close()


def _delete_store(fleet: Fleet) -> None:
    for suffix in ("", "-wal", "-shm"):
        fleet.store.with_name(f"mtok.db{suffix}").unlink(missing_ok=True)


def _both(*acts: Act) -> Act:
    def act(fleet: Fleet) -> None:
        for one in acts:
            one(fleet)

    return act


_lock = _Lock()
_cut = Fault("network cut to one agent", lambda f: f.cable.cut(), lambda f: f.cable.mend(), blinds="one")
_agent_killed = Fault(
    "agent killed mid-stream", lambda f: f.kill_agent(f.agents[1]), _nothing, blinds="none", lasts_s=1
)
_500 = _provider("500")
_restarted = Fault(
    "collector: restart under load",
    _replace,
    _nothing,
    blinds="none",
    stays_open=True,
    lasts_s=DARK_AFTER_S + 3,  # by when the last lease of the one before has run out
)

SHORT = (
    _500,
    _restarted,
    _agent_killed,
)
FULL = (
    Fault("collector: SIGKILL", _send(signal.SIGKILL), _restart),
    Fault("collector: SIGSTOP", _send(signal.SIGSTOP), _send(signal.SIGCONT)),
    _restarted,
    _cut,
    _500,
    Fault(
        "provider: 500, for less than dark_after",
        lambda f: f.fault("500"),
        lambda f: f.fault(None),
        blinds="none",
        stays_open=True,
        lasts_s=DARK_AFTER_S / 3,
    ),
    _provider("429"),
    _provider("hang"),
    _provider("drop"),
    _provider("empty"),
    _provider("yesterday"),
    _provider("missing"),
    _provider("truncated"),
    _provider("clock"),
    _provider("freeze", lasts_s=16, noticed_s=9),
    Fault("store: locked", _lock.begin, _lock.heal),
    Fault("store: disk full", lambda f: f.fill_disk(), lambda f: f.disk.free(), needs_disk=True),
    Fault("clock of the collector: a day ahead", lambda f: f.move_clock(86_400), lambda f: f.move_clock(0)),
    Fault("clock of the collector: a day back", lambda f: f.move_clock(-86_400), lambda f: f.move_clock(0)),
    Fault("store: file deleted", _delete_store, _restart, blinds="all"),
    _agent_killed,
    Fault(
        "provider: 500, and an agent killed",
        _both(_500.begin, _agent_killed.begin),
        _500.heal,
    ),
    Fault(
        "provider: hang, and the collector killed",
        _both(lambda f: f.fault("hang"), _send(signal.SIGKILL)),
        _both(lambda f: f.fault(None), _restart),
    ),
    Fault("network cut, and the store locked", _both(_cut.begin, _lock.begin), _both(_cut.heal, _lock.heal)),
)
