"""The ledger's statements in plain SQL: the request path pays for nothing else."""

# ruff: noqa: S608 - put together from the lists of columns in this file alone

import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.engine.protocol import Outcome
from agent.entries import Counts, Entry
from agent.errors import LedgerMismatch, LedgerVersion
from store.file_modes import make_private

VERSION = 1

_UPSERT = """
INSERT INTO entries (id, label, endpoint, model, started_at, ended_at, outcome, counted_at, prompt_tokens,
                     cached_tokens, completion_tokens, delivered_tokens, suppressed_tokens, draft_tokens)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, outcome = excluded.outcome,
  counted_at = excluded.counted_at, prompt_tokens = excluded.prompt_tokens,
  cached_tokens = excluded.cached_tokens, completion_tokens = excluded.completion_tokens,
  delivered_tokens = excluded.delivered_tokens, suppressed_tokens = excluded.suppressed_tokens,
  draft_tokens = excluded.draft_tokens
"""
_RISE = """requests = requests + excluded.requests, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  cached_tokens = cached_tokens + excluded.cached_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens,
  delivered_tokens = delivered_tokens + excluded.delivered_tokens,
  suppressed_tokens = suppressed_tokens + excluded.suppressed_tokens,
  draft_tokens = draft_tokens + excluded.draft_tokens"""
_COLUMNS = """requests, prompt_tokens, cached_tokens, completion_tokens, delivered_tokens, suppressed_tokens,
  draft_tokens"""
_ADD = f"""
INSERT INTO totals ({_COLUMNS}, label) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (label) DO UPDATE SET {_RISE}
"""
_ADD_FORGOTTEN = f"""
INSERT INTO forgotten ({_COLUMNS}, label) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (label) DO UPDATE SET {_RISE}
"""
_ADD_DAY = f"""
INSERT INTO days ({_COLUMNS}, label, day) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, label) DO UPDATE SET {_RISE}
"""
_ENTRY_COUNTS = """1, prompt_tokens, cached_tokens, completion_tokens, delivered_tokens, suppressed_tokens,
  draft_tokens"""
_SUM = """count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(cached_tokens), 0),
  coalesce(sum(completion_tokens), 0), coalesce(sum(delivered_tokens), 0), coalesce(sum(suppressed_tokens), 0),
  coalesce(sum(draft_tokens), 0)"""

Sums = dict[str, Counts]


@dataclass(frozen=True, slots=True)
class Deaths:
    """How often an agent died with requests under way, and how many those were."""

    times: int
    requests: int
    last_found_at: str | None


def connect(path: Path) -> sqlite3.Connection:
    """Open or make a ledger of this version.

    Raises:
        sqlite3.Error: it cannot be opened, or is no ledger.
        LedgerVersion: a newer mtok made it.
    """
    make_private(path, 0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise LedgerVersion(path, version)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if version < VERSION:
            from agent.ledger_schema import bring_up_to_date

            bring_up_to_date(connection, version)
    except BaseException:
        connection.close()
        raise
    return connection


def identity(connection: sqlite3.Connection) -> tuple[str, datetime, int]:
    """UUID, instant of creation and busy time; made on the first call."""
    connection.execute(
        "INSERT OR IGNORE INTO identity (id, uuid, created_at, busy_ms) VALUES (1, ?, ?, 0)",
        (str(uuid.uuid4()), datetime.now(UTC).isoformat()),
    )
    row = connection.execute("SELECT uuid, created_at, busy_ms FROM identity").fetchone()
    return row[0], datetime.fromisoformat(row[1]), row[2]


def end_open(connection: sqlite3.Connection) -> int:
    """End what a dead agent left open, with the counts of its last checkpoint; answers how many that were."""
    now = datetime.now(UTC).isoformat()
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        left = connection.execute(
            f"SELECT {_SUM}, label, substr(coalesce(counted_at, ?), 1, 10), max(counted_at)"
            " FROM entries WHERE outcome = '' GROUP BY label, substr(coalesce(counted_at, ?), 1, 10)",
            (now, now),
        ).fetchall()
        if not left:
            return 0
        connection.executemany(_ADD, [row[:8] for row in left])
        connection.executemany(_ADD_DAY, [row[:9] for row in left])
        connection.execute(
            "UPDATE entries SET outcome = ?, ended_at = coalesce(counted_at, ?) WHERE outcome = ''",
            (Outcome.ABORTED.value, now),
        )
        requests, tokens = sum(row[0] for row in left), sum(row[3] for row in left)
        last = max((row[9] for row in left if row[9]), default=None)
        connection.execute(
            "INSERT INTO deaths (found_at, last_counted_at, requests, completion_tokens) VALUES (?, ?, ?, ?)",
            (now, last, requests, tokens),
        )
    return int(requests)


def deaths(connection: sqlite3.Connection) -> Deaths:
    """Every death that left requests open."""
    found = "SELECT count(*), coalesce(sum(requests), 0), max(found_at) FROM deaths"
    return Deaths(*connection.execute(found).fetchone())


def checked(path: Path, connection: sqlite3.Connection) -> Sums:
    """The totals by label, after a look at every entry.

    Raises:
        LedgerMismatch: they are not the sum of the entries, forgotten ones included, or not that of the days.
    """
    totals = _by_label(connection.execute(f"SELECT label, {_COLUMNS} FROM totals"))
    entries = _by_label(connection.execute(f"SELECT label, {_SUM} FROM entries WHERE outcome <> '' GROUP BY label"))
    for label, counts in _by_label(connection.execute(f"SELECT label, {_COLUMNS} FROM forgotten")).items():
        entries[label] = entries.get(label, Counts()) + counts
    days: Sums = {}
    for row in connection.execute(f"SELECT label, {_COLUMNS} FROM days"):
        days[row[0]] = days.get(row[0], Counts()) + Counts(*row[1:])
    for what, sums in (("entries", entries), ("days", days)):
        for label in totals.keys() | sums.keys():
            if totals.get(label) != sums.get(label):
                raise LedgerMismatch(path, label, what, totals.get(label), sums.get(label))
    return totals


def days_since(connection: sqlite3.Connection, day: str) -> dict[tuple[str, str], Counts]:
    """By day and label, what ended on `day` or later."""
    rows = connection.execute(f"SELECT day, label, {_COLUMNS} FROM days WHERE day >= ?", (day,))
    return {(row[0], row[1]): Counts(*row[2:]) for row in rows}


def commit(connection: sqlite3.Connection, entries: Mapping[str, Entry], busy_ms: int | None) -> list[Entry]:
    """Write entries, by id, in one transaction; answers those that were taken: an ended entry never changes."""
    now = datetime.now(UTC).isoformat()
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        ended = _ended_among(connection, list(entries))
        taken = [entry for id_, entry in entries.items() if id_ not in ended]
        connection.executemany(_UPSERT, [entry.row(now) for entry in taken])
        sums: dict[tuple[str, str], Counts] = {}
        for entry in taken:
            if entry.outcome is not None:
                key = (entry.label, entry.day)
                sums[key] = sums.get(key, Counts()) + entry.counts
        connection.executemany(_ADD, [(*counts.values(), label) for (label, _), counts in sums.items()])
        connection.executemany(_ADD_DAY, [(*counts.values(), *key) for key, counts in sums.items()])
        if busy_ms is not None:
            connection.execute("UPDATE identity SET busy_ms = max(busy_ms, ?)", (busy_ms,))
    return taken


def forget(connection: sqlite3.Connection, before: datetime, keep: int, batch: int) -> int:
    """Drop the oldest `batch` entries as far as they ended before `before`, or are more than `keep`.

    Answers how many went. Their sums stay, so that the totals can still be checked.
    """
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        newest = connection.execute("SELECT coalesce(max(rowid), 0) FROM entries").fetchone()[0]
        oldest = connection.execute(
            f"SELECT {_ENTRY_COUNTS}, label, rowid, ended_at FROM entries"
            " WHERE outcome <> '' ORDER BY rowid LIMIT ?",
            (batch,),
        ).fetchall()
        limit = before.astimezone(UTC).isoformat()
        doomed = [row for row in oldest if row[9] < limit or row[8] <= newest - keep]
        connection.executemany(_ADD_FORGOTTEN, [row[:8] for row in doomed])
        connection.executemany("DELETE FROM entries WHERE rowid = ?", [(row[8],) for row in doomed])
    return len(doomed)


def _ended_among(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        marks = ",".join("?" * len(part))
        rows = connection.execute(f"SELECT id FROM entries WHERE outcome <> '' AND id IN ({marks})", part)
        found.update(row[0] for row in rows)
    return found


def _by_label(rows: Iterable[Sequence[int | str]]) -> Sums:
    return {str(row[0]): Counts(*(int(number) for number in row[1:])) for row in rows}
