"""How much of the journal a screen holds: the newest entries, newer ones as they are written, older on wish."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from store.journal_read import Entry

PAGE_ENTRIES = 200


class Journal(Protocol):
    """What gives entries, newest first."""

    def journal(
        self, count: int, *, before_id: int | None = None, text: str = "", at: datetime | None = None
    ) -> Sequence[Entry]:
        """At most `count` entries with `text` in them, older than `before_id`, up to `at`."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """The entries with `text` in them up to `at`. `newest_id`: of the whole journal; `is_whole`: no older ones."""

    text: str
    at: datetime | None
    newest_id: int
    entries: tuple[Entry, ...]
    is_whole: bool


def follow(journal: Journal, before: Held | None, text: str, at: datetime | None, *, wants_older: bool) -> Held:
    """What to hold now; `before` itself where nothing has changed, which costs one row of the journal."""
    newest = journal.journal(1, at=at)
    newest_id = newest[0].id if newest else 0
    if before is None or (before.text, before.at) != (text, at):
        found = tuple(journal.journal(PAGE_ENTRIES, text=text, at=at))
        return Held(text, at, newest_id, found, len(found) < PAGE_ENTRIES)
    held = before if newest_id == before.newest_id else _with_newer(journal, before, newest_id)
    return _with_older(journal, held) if wants_older and not held.is_whole else held


def _with_newer(journal: Journal, held: Held, newest_id: int) -> Held:
    found = journal.journal(PAGE_ENTRIES, text=held.text, at=held.at)
    known = held.entries[0].id if held.entries else 0
    newer = tuple(one for one in found if one.id > known)
    if len(newer) == PAGE_ENTRIES:  # more may lie between: begin anew
        return replace(held, newest_id=newest_id, entries=newer, is_whole=False)
    return replace(held, newest_id=newest_id, entries=newer + held.entries)


def _with_older(journal: Journal, held: Held) -> Held:
    oldest = held.entries[-1].id if held.entries else None
    older = tuple(journal.journal(PAGE_ENTRIES, before_id=oldest, text=held.text, at=held.at))
    return replace(held, entries=held.entries + older, is_whole=len(older) < PAGE_ENTRIES)
