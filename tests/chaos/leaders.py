"""Two collectors on one store, stopped and killed while a tier sleeps and wakes: one leads, and nobody notices.

`at_random` stops and kills whichever collector it likes; `at_each_phase` kills the leader as soon as an operation
has reached a phase. A minute stands for an hour: ticks come every second.
"""

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from console.demo.hosts import mtok
from console.demo.processes import Child
from console.demo.world import World
from console.service import Service
from console.settings import load_settings
from store.clock import SystemClock
from store.database import Database, open_database
from store.errors import StoreUnreachable
from store.leader import leader
from store.operations import OperationRefused, current, last_of, seen_state
from store.phases import OperationKind, Phase
from store.tables import JournalEntry, OperationCall, OperationRow, Tick
from tests.chaos.fleet import with_times
from tests.prepared import prepare_demo, use_null_engine

TIER, INSTANCE = "l40", 8433
_TIMES = {
    "every": "1s",
    "dark_after": "9s",
    "bills_within": "2s",
    "usage_within": "1s",
    "lease_within": "1s",
    "leader_expires_after": "3s",
    "not_applied_after": "3s",
    "drain_within": "6s",
}
_ENDS_WITHIN_S = 60.0
_TRIES = 5  # a phase may pass before anybody has looked
_OVER = (Phase.ASLEEP, Phase.SETTLED)  # nothing is left to be killed at


@dataclass
class Pair:
    """A fleet under two collectors, any of which may lead. `asked`: the operations so far, by their ids."""

    world: World
    database: Database
    service: Service
    asked: list[int] = field(default_factory=list)
    collectors: dict[str, Child] = field(default_factory=dict)
    took_over: int = 0

    def start(self, name: str) -> None:
        """Start a collector, or another one in the place of a dead one."""
        log = self.world.state / "logs" / f"collector-{name}.log"
        command = [*mtok(), "collect", "--config", str(self.world.settings)]
        self.collectors[name] = Child(f"collector {name}", command, log)

    def leading(self) -> str | None:
        """Which collector leads."""
        with self.database.read() as session:
            led = leader(self.database, session)
        pid = None if led is None else led[0].split(":")[1]
        return next((name for name, child in self.collectors.items() if str(child.pid) == pid), None)

    def ask(self, kind: OperationKind) -> int | None:
        """Ask for an operation of the tier, if it can be asked for now; answers its id.

        A collector that was stopped inside its transaction holds SQLite's lock for as long: who asks is told so
        after the busy timeout, nothing was written, and a person asks again.
        """
        try:
            with self.database.read() as session:
                seen = seen_state(session, TIER)
            self.service.ask(kind, TIER, seen=seen)
        except (OperationRefused, StoreUnreachable):
            return None
        with self.database.read() as session:
            row = last_of(session, TIER)
        assert row is not None
        return row.id

    def row(self, id_: int) -> OperationRow:
        """An operation as the store has it now."""
        with self.database.read() as session:
            return session.get_one(OperationRow, id_)

    def is_over(self, id_: int) -> bool:
        """Whether it has ended, or its tier is asleep and only its bill has to rest."""
        row = self.row(id_)
        return row.finished_at is not None or row.phase == Phase.ASLEEP

    def effects(self) -> int:
        """How many actions have reached the provider."""
        with urllib.request.urlopen(self._simulator("requests"), timeout=5) as answer:
            requests = json.load(answer)["requests"]
        return sum(f"/{INSTANCE}/hibernate" in request for request in requests)

    def received(self) -> dict[str, Any]:
        """What the clients of the other tiers were told."""
        report = json.loads((self.world.state / "load.json").read_text(encoding="utf-8"))
        return {tier: got for tier, got in report["tiers"].items() if tier != TIER}

    def end(self) -> None:
        """End every collector that runs."""
        for child in self.collectors.values():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGCONT)
            child.stop()
        self.database.close()

    def _simulator(self, path: str) -> str:
        return f"{self.world.provider_url.removesuffix('/v1')}/simulator/{path}"


@contextmanager
def running_pair(state: Path, store_url: str | None = None, *, is_light: bool = False) -> Iterator[Pair]:
    """Provider (simulated), three agents (reference engine or a light one), load, two collectors, for the block."""

    def adapt(world: World) -> None:
        prepare_demo(world.state)
        text = with_times(world.settings.read_text(encoding="utf-8"), _TIMES)
        if store_url is not None:
            text = text.replace("sqlite:///mtok.db", store_url)
        world.settings.write_text(text, encoding="utf-8")
        if is_light:
            use_null_engine(world)

    world = World(state, adapt)
    world.start()
    settings = load_settings(world.settings)
    pair = Pair(world, database := open_database(settings.store_url), Service(database, settings, SystemClock()))
    try:
        pair.collectors["a"] = world.collector
        pair.start("b")
        wait_until(lambda: _all_served(pair), "every tier serves")
        yield pair
    finally:
        pair.end()
        world.stop()


@dataclass(frozen=True)
class Account:
    """What two collectors did since both stood. `killed`, `stopped`: how many of them in this part of it.

    `noticed`: answers refused or broken meanwhile at the tiers that were left alone. `verdicts`: every change of
    the gate's mind, with its reason.
    """

    operations: int
    outcomes: tuple[str, ...]
    effects: int
    calls: int
    applied: int
    is_fenced: bool
    noticed: int
    killed: int
    stopped: int
    verdicts: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        """What does not hold."""
        found = [f"an operation ended as {one}" for one in self.outcomes if one != "done"]
        if self.effects != self.operations:
            found.append(f"{self.operations} operations had {self.effects} effects")
        if self.applied != self.operations:
            found.append(f"{self.operations} operations have {self.applied} attempts that were applied")
        if not self.is_fenced:
            found.append("a tick of an older leader follows one of a newer")
        if self.noticed:
            found.append(f"{self.noticed} answers were refused or broken")
        return found


def at_random(pair: Pair, duration_s: float, seed: int) -> Account:
    """Let a tier sleep and wake for so long, while a collector at a time is stopped or killed."""
    dice, done = random.Random(seed), {"killed": 0, "stopped": 0}
    before, end = pair.received(), time.monotonic() + duration_s
    while time.monotonic() < end:
        name = dice.choice(sorted(pair.collectors))
        word = dice.choice(("killed", "stopped"))
        done[word] += 1
        os.kill(pair.collectors[name].pid, signal.SIGKILL if word == "killed" else signal.SIGSTOP)
        _go_on(pair, dice.uniform(1, 5))
        if word == "killed":
            pair.collectors[name].stop()
            pair.start(name)
        else:
            os.kill(pair.collectors[name].pid, signal.SIGCONT)
        _go_on(pair, dice.uniform(1, 4))
    return _account(pair, before, **done)


def at_each_phase(pair: Pair, phases: Sequence[tuple[OperationKind, Phase]]) -> Account:
    """Kill the leader when an operation reaches each phase."""
    before = pair.received()
    killed = 0
    for kind, phase in phases:
        tries = 1 if phase in _OVER else _TRIES
        killed += any(_killed_at(pair, kind, phase) for _ in range(tries))
    return _account(pair, before, killed=killed, stopped=0)


def _killed_at(pair: Pair, kind: OperationKind, phase: Phase) -> bool:
    """Whether a leader was killed at a phase of this operation."""
    other = OperationKind.WAKE if kind is OperationKind.HIBERNATE else OperationKind.HIBERNATE
    if _kind_due(pair) is not kind:
        _whole(pair, other)
    id_ = _whole(pair, kind, until=phase)
    name = pair.leading()
    is_killed = name is not None and not pair.is_over(id_)
    if name is not None and is_killed:
        os.kill(pair.collectors[name].pid, signal.SIGKILL)
        pair.collectors[name].stop()
    wait_until(lambda: pair.is_over(id_), f"the {kind} ends")
    if name is not None:
        pair.collectors[name].stop()
        pair.start(name)
    return is_killed


def _whole(pair: Pair, kind: OperationKind, until: Phase | None = None) -> int:
    """Ask for an operation, and wait until it is over, or has reached a phase."""
    found: list[int] = []
    wait_until(lambda: _asked(pair, kind, found), f"a {kind} can be asked for")
    pair.asked.append(found[0])
    wait_until(lambda: pair.is_over(found[0]) or pair.row(found[0]).phase == until, f"the {kind} goes on", 0.003)
    return found[0]


def _asked(pair: Pair, kind: OperationKind, found: list[int]) -> bool:
    id_ = pair.ask(kind)
    found += [] if id_ is None else [id_]
    return bool(found)


def _kind_due(pair: Pair) -> OperationKind:
    """What makes sense next."""
    with pair.database.read() as session:
        last = last_of(session, TIER)
    slept = last is not None and last.kind == OperationKind.HIBERNATE
    return OperationKind.WAKE if slept else OperationKind.HIBERNATE


def _go_on(pair: Pair, seconds: float) -> None:
    """For so long, ask for the next operation whenever the last one is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not pair.asked or pair.is_over(pair.asked[-1]):
            id_ = pair.ask(_kind_due(pair))
            pair.asked += [] if id_ is None else [id_]
        time.sleep(0.1)


def _account(pair: Pair, before: dict[str, Any], *, killed: int, stopped: int) -> Account:
    if pair.asked:
        wait_until(lambda: pair.is_over(pair.asked[-1]), "the last operation ends")
    wait_until(lambda: _calls_judged(pair), "every attempt is accounted for")
    after = pair.received()
    with pair.database.read() as session:
        calls = session.exec(select(OperationCall)).all()
        fences = session.exec(select(Tick.fence).order_by(col(Tick.at))).all()
        rows = session.exec(select(OperationRow).where(col(OperationRow.outcome).is_not(None))).all()
        told = session.exec(select(JournalEntry).where(JournalEntry.what == "verdict")).all()
    return Account(
        operations=len(pair.asked),
        outcomes=tuple(str(row.outcome) for row in rows),
        effects=pair.effects(),
        calls=len(calls),
        applied=sum(call.ended == "applied" for call in calls),
        is_fenced=list(fences) == sorted(fences),
        noticed=sum(after[t][k] - before[t][k] for t in after for k in ("refused", "unreachable", "broken")),
        killed=killed,
        stopped=stopped,
        verdicts=tuple(entry.detail for entry in told),
    )


def _calls_judged(pair: Pair) -> bool:
    with pair.database.read() as session:
        return all(call.ended for call in session.exec(select(OperationCall)).all())


def _all_served(pair: Pair) -> bool:
    path = pair.world.state / "load.json"
    if not path.exists() or pair.leading() is None:
        return False
    with pair.database.read() as session:
        idle = current(session, TIER) is None and bool(seen_state(session, TIER))
    return idle and all(
        got["answers"] > 0 for got in json.loads(path.read_text(encoding="utf-8"))["tiers"].values()
    )


def wait_until(holds: Callable[[], bool], what: str, every_s: float = 0.05) -> None:
    """Look until it holds."""
    end = time.monotonic() + _ENDS_WITHIN_S
    while time.monotonic() < end:
        if holds():
            return
        time.sleep(every_s)
    msg = f"not within {_ENDS_WITHIN_S:g} s: {what}"
    raise TimeoutError(msg)
