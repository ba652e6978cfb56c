"""The agent's ledger: one durable entry a request, and totals that only rise.

A writer thread commits in groups: whoever waits for an entry shares one fsync with the others that wait. Open
entries are checkpointed, so that a death of this process loses at most what came after the last checkpoint
and nothing of a finished request. The schema is SQLModel's, the request path writes plain SQL.
"""

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import structlog

from agent.entries import Counts, Entry, newest_of_each
from agent.errors import LedgerInUse, LedgerUnreadable, LedgerUnwritable
from agent.ledger_sql import checked, commit, connect, days_since, deaths, end_open, forget, identity
from store.file_modes import make_private

log = structlog.get_logger()
_MOST_IN_A_GROUP = 256
_FORGETS_AT_ONCE = 1000  # about 10 ms, for which whoever waits for an entry waits too


@dataclass(frozen=True, slots=True)
class _Write:
    entries: Sequence[Entry]
    busy_ms: int | None
    done: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class _Forget:
    before: datetime
    keep: int
    gone: int
    done: "asyncio.Future[int]"


class Ledger:
    """An open ledger. Totals are those of committed rows alone."""

    def __init__(self, path: Path) -> None:
        """Open or make the ledger, end what a dead agent left open, and check its sums.

        Raises:
            LedgerError: in use, unreadable, of a newer version, or not the sum of its entries.
        """
        self.path = path
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
        with ExitStack() as opened:
            self._lock_file = opened.enter_context(_locked(path))
            try:
                self._connection = opened.enter_context(contextlib.closing(connect(path)))
                self._file = _file_at(path)
                self.uuid, self.created_at, self._busy_ms = identity(self._connection)
                self.aborted = end_open(self._connection)
                self.deaths = deaths(self._connection)
                self._closed = checked(path, self._connection)
                self._days = days_since(self._connection, yesterday)
            except (sqlite3.Error, ValueError, TypeError) as error:
                raise LedgerUnreadable(path, str(error)) from None
            self._opened = opened.pop_all()
        self._open: dict[str, tuple[str, Counts]] = {}
        self._guard = threading.Lock()
        self._queue: queue.SimpleQueue[_Write | _Forget | None] = queue.SimpleQueue()
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

    def ended_on(self, day: str, label: str) -> Counts:
        """What a label's entries that ended on a UTC day (today or yesterday) add up to."""
        return self._days.get((day, label), Counts())

    def write(self, entries: Sequence[Entry], busy_ms: int | None = None) -> "asyncio.Future[None]":
        """Commit entries, and the busy time if given; the future ends when they are on disk.

        Raises:
            LedgerUnwritable: from the future.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(_Write(tuple(entries), busy_ms, done))
        return done

    def forget(self, before: datetime, keep: int) -> "asyncio.Future[int]":
        """Drop entries that ended before `before`, and the oldest of more than `keep`; totals stay as they are.

        Raises:
            LedgerUnwritable: from the future.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put(_Forget(before, keep, 0, done))
        return done

    def close(self) -> None:
        """Commit what waits, and give the file back."""
        self._queue.put(None)
        self._writer.join()
        self._opened.close()

    def _write_groups(self) -> None:
        while (first := self._queue.get()) is not None:
            group: list[_Write] = []
            following: _Write | _Forget | None = first
            while isinstance(following, _Write):
                group.append(following)
                if len(group) == _MOST_IN_A_GROUP:
                    break
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
            if group:
                self._commit(group)
            if isinstance(following, _Forget):
                self._forget(following)
            if following is None:
                return

    def _commit(self, group: Sequence[_Write]) -> None:
        entries = newest_of_each(entry for write in group for entry in write.entries)
        busy_ms = max((write.busy_ms for write in group if write.busy_ms is not None), default=None)
        waiting = [write.done for write in group]
        if _file_at(self.path) != self._file:
            # an open file outlives its name: nobody would ever read what is written on
            reason = "its file was deleted or replaced while it was open"
            remedy = "put that file back, or restart the agent to go on with what is there"
            _resolve(waiting, LedgerUnwritable(self.path, reason, remedy))
            return
        try:
            taken = commit(self._connection, entries, busy_ms)
        except sqlite3.Error as error:
            _resolve(waiting, LedgerUnwritable(self.path, str(error)))
            return
        except Exception:  # whoever waits is told whatever it was, and the writer lives on
            log.exception("ledger not written")
            _resolve(waiting, LedgerUnwritable(self.path, "its writer failed"))
            return
        with self._guard:
            self._busy_ms = max(self._busy_ms, busy_ms or 0)
            for entry in taken:
                self._mirror(entry)
        _resolve(waiting, None)

    def _forget(self, wanted: _Forget) -> None:
        try:
            gone = forget(self._connection, wanted.before, wanted.keep, _FORGETS_AT_ONCE)
        except sqlite3.Error as error:
            _resolve([wanted.done], LedgerUnwritable(self.path, str(error)))
            return
        total = wanted.gone + gone
        if gone == _FORGETS_AT_ONCE:
            self._queue.put(_Forget(wanted.before, wanted.keep, total, wanted.done))  # after those that wait
        else:
            _resolve([wanted.done], total)

    def _mirror(self, entry: Entry) -> None:
        if entry.outcome is None:
            self._open[entry.id] = (entry.label, entry.counts)
            return
        self._open.pop(entry.id, None)
        self._closed[entry.label] = self._closed.get(entry.label, Counts()) + entry.counts
        day = (entry.day, entry.label)
        self._days[day] = self._days.get(day, Counts()) + entry.counts


def _resolve(waiting: Iterable["asyncio.Future[Any]"], result: object) -> None:
    """Tell those that wait, each on its own event loop, with one call a loop."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[asyncio.Future[Any]]] = defaultdict(list)
    for future in waiting:
        by_loop[future.get_loop()].append(future)
    for loop, futures in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, futures, result)


def _settle(futures: Iterable["asyncio.Future[Any]"], result: object) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(result, LedgerUnwritable):
            future.set_exception(result)
        else:
            future.set_result(result)


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file the path leads to; None when it leads to none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _locked(path: Path) -> TextIO:
    real = Path(os.path.realpath(path))  # one file has one lock, whatever links lead to it
    try:
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = real.with_name(f"{real.name}.lock")
        make_private(lock, 0o600)
        lock_file = lock.open("w")
    except OSError as error:
        raise LedgerUnreadable(path, error.strerror or str(error)) from None
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        raise LedgerInUse(path) from None
    return lock_file
