"""Buckets: bill counters of one charge period each, which start from zero and end.

A provider states a bucket late: an hour's at the next full hour, a day's on the next morning. Its money belongs to
its period all the same, so what it held when the period ended is placed there, as its own statement says.
"""

from datetime import datetime

from sqlmodel import Session, col, select

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
    """Place what a new counter holds at the last tick of its period, where that is over before we see it at `at`.

    At the tick, not at the period's end: a window that begins there snaps back to that tick. What was billed
    before our time is placed nowhere.
    """
    if bill.ends_at is None or not bill.total_nusd:
        return
    counter.moved_at = covered_until(bill, at)
    if bill.started_at is None or bill.ends_at > at or bill.total_nusd < 0 or counter.opening_nusd:
        return
    query = select(Tick.at).where(Tick.at <= bill.ends_at, Tick.at > bill.started_at, Tick.at < at)
    last_at = session.exec(query.order_by(col(Tick.at).desc()).limit(1)).first()
    if last_at is not None:
        assert counter.id is not None
        session.add(
            BillSample(
                counter_id=counter.id,
                at=last_at,
                total_nusd=bill.total_nusd,
                debits_nusd=bill.total_nusd,
                raw=f"{bill.raw} (stated later, for its period)",
                as_of_at=bill.ends_at,
                rate_nusd_per_hour=None,
                origin="derived",
            )
        )
