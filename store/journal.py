"""The append-only account of who did what."""

from datetime import datetime

from sqlmodel import Session

from store.printable import printable_lines
from store.tables import JournalEntry


def note(session: Session, at: datetime, actor: str, what: str, subject: str, detail: str = "") -> None:
    """Add one entry to the journal, in the caller's transaction."""
    subject, detail = printable_lines(subject), printable_lines(detail)  # of a NUL no database makes an entry
    session.add(JournalEntry(at=at, actor=actor, what=what, subject=subject, detail=detail))
