"""The ledger's entries, read beside a running agent."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from agent.errors import LedgerUnreadable

_LOOKS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class RequestLine:
    """An entry as `mtok agent requests` shows it. `outcome` is `running` until it has ended."""

    id: str
    label: str
    endpoint: str
    model: str
    started_at: str
    ended_at: str | None
    outcome: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    delivered_tokens: int
    suppressed_tokens: int
    draft_tokens: int
    counted_at: str | None

    def body(self) -> dict[str, object]:
        """Its fields, for JSON."""
        return asdict(self)

    def text(self) -> str:
        """It as a line for a person."""
        tokens = f"{self.prompt_tokens:>7} {self.cached_tokens:>7} {self.completion_tokens:>7}"
        head = f"{self.started_at[:19]}Z {self.label:<16.16} {self.endpoint:<16.16} {self.outcome:<9}"
        return f"{head} {tokens} {self.delivered_tokens:>7}  {self.id}"


HEADING = (
    f"{'started':<20} {'label':<16} {'endpoint':<16} {'outcome':<9} "
    f"{'prompt':>7} {'cached':>7} {'compl.':>7} {'deliv.':>7}  id"
)
_NAMES = ", ".join(one.name for one in fields(RequestLine))
_NEWEST = f"SELECT rowid, {_NAMES} FROM entries ORDER BY rowid DESC LIMIT ?"  # noqa: S608 - our own names
_SINCE = f"SELECT rowid, {_NAMES} FROM entries WHERE rowid > ? ORDER BY rowid"  # noqa: S608
_ONE = f"SELECT rowid, {_NAMES} FROM entries WHERE rowid = ?"  # noqa: S608


def newest_requests(path: Path, most: int) -> list[RequestLine]:
    """The newest entries of a ledger, oldest first.

    Raises:
        LedgerUnreadable: there is none, or it cannot be read.
    """
    try:
        with closing(_opened(path)) as connection:
            return [_line(row) for row in reversed(connection.execute(_NEWEST, (most,)).fetchall())]
    except sqlite3.Error as error:
        raise LedgerUnreadable(path, str(error)) from None


def follow_requests(path: Path) -> Iterator[RequestLine]:
    """Each request as it ends, for ever; those that run already are among them.

    Raises:
        LedgerUnreadable: there is no ledger, or it cannot be read.
    """
    try:
        with closing(_opened(path)) as connection:
            newest = connection.execute("SELECT coalesce(max(rowid), 0) FROM entries").fetchone()[0]
            running = {row[0] for row in connection.execute("SELECT rowid FROM entries WHERE outcome = ''")}
            while True:
                rows = [row for rowid in running for row in connection.execute(_ONE, (rowid,))]
                rows += connection.execute(_SINCE, (newest,)).fetchall()
                running = {row[0] for row in rows if not row[7]}
                newest = max([newest, *(row[0] for row in rows)])
                yield from (_line(row) for row in rows if row[7])
                time.sleep(_LOOKS_EVERY_S)
    except sqlite3.Error as error:
        raise LedgerUnreadable(path, str(error)) from None


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _line(row: Sequence[object]) -> RequestLine:
    values = list(row[1:])
    values[6] = values[6] or "running"
    return RequestLine(*values)  # type: ignore[arg-type]
