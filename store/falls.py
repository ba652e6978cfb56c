"""A fall that is still open, read off its counter's samples: where it began, and what has risen since."""

from datetime import datetime
from itertools import pairwise

from sqlmodel import Session, col, select

from store.counters import last_bill
from store.debits import Fall
from store.tables import BillSample


def open_fall(session: Session, counter_id: int, fell_at: datetime) -> Fall:
    """The fall that a counter's last sample bears."""
    before = select(BillSample.total_nusd).where(BillSample.counter_id == counter_id, BillSample.at < fell_at)
    peak = session.exec(before.order_by(col(BillSample.at).desc()).limit(1)).first()
    return Fall(peak or 0, rises_since(session, counter_id, fell_at))


def rises_since(session: Session, counter_id: int, fell_at: datetime, until: datetime | None = None) -> int:
    """What has risen since a fall: debits, unless the fall turns out to have been jitter."""
    query = select(BillSample.total_nusd).where(BillSample.counter_id == counter_id, BillSample.at >= fell_at)
    if until is not None:
        query = query.where(BillSample.at <= until)
    totals = session.exec(query.order_by(col(BillSample.at))).all()
    return sum(max(after - now, 0) for now, after in pairwise(totals))


def end_fall(session: Session, counter_id: int) -> None:
    """Debit what has risen since a fall that is still open: the counter ends, and nobody will decide it."""
    last = last_bill(session, counter_id)
    if last is not None and last.fell_at is not None:
        last.debits_nusd += rises_since(session, counter_id, last.fell_at)
        last.fell_at = None
