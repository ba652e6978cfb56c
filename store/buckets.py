"""Buckets: bill counters of one charge period each, which start from zero and end.

A provider states a bucket late: an hour's at the next full hour, a day's on the next morning; or we read it late,
after an outage of ours. Its money belongs to its period all the same, so what it held when the period ended is
placed there, as its own statement says.
"""

from datetime import datetime

from sqlmodel import Session, col, select

from store.debits import Advance, Mark
from store.readings import Bill
from store.tables import BillCounter, BillSample, ProviderTick, Tick


def is_ours_from_zero(session: Session, provider: str, bill: Bill) -> bool:
    """Whether a bucket began after our first look at its provider: all that it holds was billed in our time."""
    if bill.ends_at is None or bill.started_at is None:
        return False
    query = select(ProviderTick.at).where(ProviderTick.provider == provider, col(ProviderTick.complete))
    first_at = session.exec(query.order_by(col(ProviderTick.at)).limit(1)).first()
    return first_at is not None and bill.started_at >= first_at.replace(microsecond=0)


def covered_until(bill: Bill, at: datetime) -> datetime:
    """Up to when a bill that moved by `at` speaks: a bucket says nothing of the time after its period."""
    return at if bill.ends_at is None else min(at, bill.ends_at)


def place(session: Session, counter: BillCounter, bill: Bill, at: datetime) -> None:
    """Place what a new counter holds in its period, where that is over before we see it at `at`.

    What was billed before our time is placed nowhere.
    """
    if bill.ends_at is None or not bill.total_nusd:
        return
    counter.moved_at = covered_until(bill, at)
    if bill.started_at is not None and bill.total_nusd > 0 and not counter.opening_nusd:
        _place(session, counter, bill, (bill.started_at, at), bill.total_nusd)


def place_rise(
    session: Session, counter: BillCounter, bill: Bill, last: Mark, after: Advance, at: datetime
) -> None:
    """Place in its period what a known counter rose by since `last`, where that is over when we read it at `at`."""
    if last.fell_at is None and bill.total_nusd > last.total_nusd:
        _place(session, counter, bill, (last.at, at), after.debits_nusd)


def _place(
    session: Session, counter: BillCounter, bill: Bill, within: tuple[datetime, datetime], debits_nusd: int
) -> None:
    """A sample at the last tick of the period `within` two instants, or at its end where no tick lies in it.

    Rather at the tick: a window that begins where the period ends snaps back to it.
    """
    since, at = within
    if bill.ends_at is None or not since < bill.ends_at < at:
        return
    query = select(Tick.at).where(Tick.at <= bill.ends_at, Tick.at > since)
    last_at = session.exec(query.order_by(col(Tick.at).desc()).limit(1)).first()
    assert counter.id is not None
    session.add(
        BillSample(
            counter_id=counter.id,
            at=last_at or bill.ends_at,
            total_nusd=bill.total_nusd,
            debits_nusd=debits_nusd,
            raw=f"{bill.raw} (stated later, for its period)",
            as_of_at=bill.ends_at,
            rate_nusd_per_hour=None,
            origin="derived",
        )
    )
