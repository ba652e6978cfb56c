"""The journal, page by page."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, or_, select

from store.tables import JournalEntry


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what, to what, and how it ended."""

    id: int
    at: datetime
    actor: str
    what: str
    subject: str
    detail: str


def entries(
    session: Session,
    count: int,
    *,
    before_id: int | None = None,
    text: str = "",
    until: datetime | None = None,
) -> tuple[Entry, ...]:
    """The last `count` entries, newest first; the next page is the one `before_id` of the last entry of this one.

    `text` is sought in actor, what, subject and detail, in letters of either case.
    """
    query = select(JournalEntry).order_by(col(JournalEntry.id).desc()).limit(count)
    if before_id is not None:
        query = query.where(col(JournalEntry.id) < before_id)
    if until is not None:
        query = query.where(JournalEntry.at <= until)
    if text:
        fields = (JournalEntry.actor, JournalEntry.what, JournalEntry.subject, JournalEntry.detail)
        query = query.where(or_(*(col(one).icontains(text, autoescape=True) for one in fields)))
    rows = session.exec(query).all()
    return tuple(Entry(one.id or 0, one.at, one.actor, one.what, one.subject, one.detail) for one in rows)
