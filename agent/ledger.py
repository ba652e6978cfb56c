"""The agent's ledger: one durable entry a request, and totals that only rise.

A writer thread commits in groups: whoever waits for an entry shares one fsync with the others that wait. Open
entries are checkpointed, so that a death of this process loses at most what came after the last checkpoint
and nothing of a finished request. The schema is SQLModel's, the request path writes plain SQL.
"""

import asyncio
import contextlib
import fcntl
import queue
import sqlite3
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, TextIO

from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from agent.engine.protocol import Outcome
from agent.errors import LedgerInUse, LedgerMismatch, LedgerUnreadable, LedgerUnwritable


class _LedgerTable(SQLModel, registry=registry()):
    """A schema of its own: the agent's ledger and the console's store are two databases."""


class LedgerIdentity(_LedgerTable, table=True):
    """Which ledger this is. A wiped disk makes another one, hence another counter."""

    __tablename__: ClassVar[str] = "identity"

    id: int = Field(default=1, primary_key=True)
    uuid: str
    created_at: str
    busy_ms: int = 0


class EntryRow(_LedgerTable, table=True):
    """One request that reached the engine. `outcome` is empty while it runs."""

    __tablename__: ClassVar[str] = "entries"

    id: str = Field(primary_key=True)
    label: str = Field(index=True)
    endpoint: str
    model: str
    started_at: str
    ended_at: str | None = None
    outcome: str = Field(default="", index=True)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    delivered_tokens: int = 0


class TotalsRow(_LedgerTable, table=True):
    """What a label's ended entries add up to; they may be forgotten one day, their sum may not."""

    __tablename__: ClassVar[str] = "totals"

    label: str = Field(primary_key=True)
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    delivered_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests and tokens. `delivered_tokens` reached the client, `cached_tokens` are some of the prompt's."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    delivered_tokens: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Counts)))


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as the ledger keeps it; without an `outcome` it still runs."""

    id: str
    label: str
    endpoint: str
    model: str
    started_at: datetime
    counts: Counts
    outcome: Outcome | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Write:
    entries: Sequence[Entry]
    busy_ms: int | None
    done: "Future[None]"


_UPSERT = """
INSERT INTO entries (id, label, endpoint, model, started_at, ended_at, outcome,
                     prompt_tokens, cached_tokens, completion_tokens, delivered_tokens)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, outcome = excluded.outcome,
  prompt_tokens = excluded.prompt_tokens, cached_tokens = excluded.cached_tokens,
  completion_tokens = excluded.completion_tokens, delivered_tokens = excluded.delivered_tokens
WHERE entries.outcome = ''
"""
_ADD = """
INSERT INTO totals (label, requests, prompt_tokens, cached_tokens, completion_tokens, delivered_tokens)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (label) DO UPDATE SET requests = requests + excluded.requests,
  prompt_tokens = prompt_tokens + excluded.prompt_tokens, cached_tokens = cached_tokens + excluded.cached_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens,
  delivered_tokens = delivered_tokens + excluded.delivered_tokens
"""
_SUMS = """
SELECT label, count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(cached_tokens), 0),
       coalesce(sum(completion_tokens), 0), coalesce(sum(delivered_tokens), 0)
FROM entries WHERE outcome <> '' GROUP BY label
"""
_TOTALS = """
SELECT label, requests, prompt_tokens, cached_tokens, completion_tokens, delivered_tokens FROM totals
"""
_MOST_IN_A_GROUP = 256


class Ledger:
    """An open ledger. Totals are those of committed rows alone."""

    def __init__(self, path: Path) -> None:
        """Open or make the ledger, end what a dead agent left open, and check its sums.

        Raises:
            LedgerError: in use, unreadable, or not the sum of its entries.
        """
        self.path = path
        with ExitStack() as opened:
            self._lock_file = opened.enter_context(_locked(path))
            try:
                self._connection = opened.enter_context(contextlib.closing(_connected(path)))
                self.uuid, self.created_at, self._busy_ms = _identity(self._connection)
                self.aborted = _abort_open(self._connection)
                self._closed = _checked(path, self._connection)
            except (sqlite3.Error, ValueError, TypeError) as error:
                raise LedgerUnreadable(path, str(error)) from None
            self._opened = opened.pop_all()
        self._open: dict[str, tuple[str, Counts]] = {}
        self._guard = threading.Lock()
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_groups, name="ledger", daemon=True)
        self._writer.start()

    @property
    def busy_ms(self) -> int:
        """Wall time with at least one active sequence, over the ledger's whole life."""
        return self._busy_ms

    def totals(self) -> Mapping[str, Counts]:
        """By label, what has been committed: ended entries, and the running ones up to their checkpoints."""
        with self._guard:
            totals = dict(self._closed)
            for label, counts in self._open.values():
                totals[label] = totals.get(label, Counts()) + counts
            return totals

    def write(self, entries: Sequence[Entry], busy_ms: int | None = None) -> "asyncio.Future[None]":
        """Commit entries, and the busy time if given; the future ends when they are on disk.

        Raises:
            LedgerUnwritable: from the future.
        """
        done: Future[None] = Future()
        self._queue.put(_Write(tuple(entries), busy_ms, done))
        return asyncio.wrap_future(done)

    def close(self) -> None:
        """Commit what waits, and give the file back."""
        self._queue.put(None)
        self._writer.join()
        self._opened.close()

    def _write_groups(self) -> None:
        while True:
            first = self._queue.get()
            group: list[_Write] = []
            ends = first is None
            if first is not None:
                group.append(first)
            while not ends and len(group) < _MOST_IN_A_GROUP:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    ends = True
                else:
                    group.append(following)
            if group:
                self._commit(group)
            if ends:
                return

    def _commit(self, group: Sequence[_Write]) -> None:
        entries = [entry for write in group for entry in write.entries]
        ended = [entry for entry in entries if entry.outcome is not None]
        busy = max((write.busy_ms for write in group if write.busy_ms is not None), default=None)
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(_UPSERT, [_row(entry) for entry in entries])
                self._connection.executemany(_ADD, [(entry.label, *_values(entry.counts)) for entry in ended])
                if busy is not None:
                    self._connection.execute("UPDATE identity SET busy_ms = max(busy_ms, ?)", (busy,))
        except sqlite3.Error as error:
            for write in group:
                write.done.set_exception(LedgerUnwritable(self.path, str(error)))
            return
        with self._guard:
            self._busy_ms = max(self._busy_ms, busy or 0)
            for entry in entries:
                self._mirror(entry)
        for write in group:
            write.done.set_result(None)

    def _mirror(self, entry: Entry) -> None:
        if entry.outcome is None:
            self._open[entry.id] = (entry.label, entry.counts)
        else:
            self._open.pop(entry.id, None)
            self._closed[entry.label] = self._closed.get(entry.label, Counts()) + entry.counts


def _locked(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock_file = path.with_name(f"{path.name}.lock").open("w")
    except OSError as error:
        raise LedgerUnreadable(path, error.strerror or str(error)) from None
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        raise LedgerInUse(path) from None
    return lock_file


def _connected(path: Path) -> sqlite3.Connection:
    engine = create_engine(f"sqlite:///{path}")
    try:
        _LedgerTable.metadata.create_all(engine)
    except DBAPIError as error:
        raise LedgerUnreadable(path, str(error.orig)) from None
    finally:
        engine.dispose()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _identity(connection: sqlite3.Connection) -> tuple[str, datetime, int]:
    connection.execute(
        "INSERT OR IGNORE INTO identity (id, uuid, created_at, busy_ms) VALUES (1, ?, ?, 0)",
        (str(uuid.uuid4()), datetime.now(UTC).isoformat()),
    )
    row = connection.execute("SELECT uuid, created_at, busy_ms FROM identity").fetchone()
    return row[0], datetime.fromisoformat(row[1]), row[2]


def _abort_open(connection: sqlite3.Connection) -> int:
    """End what a dead agent left open, with the counts of its last checkpoint; answers how many."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        sums = _SUMS.replace("outcome <> ''", "outcome = ''")
        left = connection.execute(sums).fetchall()
        connection.executemany(_ADD, left)
        connection.execute(
            "UPDATE entries SET outcome = ?, ended_at = ? WHERE outcome = ''",
            (Outcome.ABORTED.value, datetime.now(UTC).isoformat()),
        )
    return sum(row[1] for row in left)


def _checked(path: Path, connection: sqlite3.Connection) -> dict[str, Counts]:
    totals = {row[0]: Counts(*row[1:]) for row in connection.execute(_TOTALS)}
    sums = {row[0]: Counts(*row[1:]) for row in connection.execute(_SUMS)}
    for label in totals.keys() | sums.keys():
        if totals.get(label) != sums.get(label):
            raise LedgerMismatch(path, label, totals.get(label), sums.get(label))
    return totals


def _row(entry: Entry) -> tuple[object, ...]:
    ended_at = entry.ended_at.isoformat() if entry.ended_at else None
    head = (entry.id, entry.label, entry.endpoint, entry.model, entry.started_at.isoformat(), ended_at)
    return (*head, entry.outcome.value if entry.outcome else "", *_values(entry.counts)[1:])


def _values(counts: Counts) -> tuple[int, ...]:
    return tuple(getattr(counts, one.name) for one in fields(Counts))
