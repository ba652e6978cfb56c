"""The append-only account of who did what."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from store.printable import printable_lines
from store.tables import JournalEntry


def note(session: Session, at: datetime, actor: str, what: str, subject: str, detail: str = "") -> None:
    """Add one entry to the journal, in the caller's transaction."""
    subject, detail = printable_lines(subject), printable_lines(detail)  # of a NUL no database makes an entry
    session.add(JournalEntry(at=at, actor=actor, what=what, subject=subject, detail=detail))


def latest(session: Session, count: int) -> Sequence[JournalEntry]:
    """The last `count` entries, newest first."""
    return session.exec(select(JournalEntry).order_by(col(JournalEntry.id).desc()).limit(count)).all()
