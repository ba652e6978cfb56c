"""Whether a sleeping tier's bill has come to rest: asleep is believed when the bill agrees."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, col, func, select

from store.falls import rises_since
from store.steps import step_of
from store.tables import BillCounter, BillSample, ResourceRow
from store.words import ResourceKind

RATES_OVER = timedelta(days=7)
_TICKS, _STEPS = 2, 3
_STORAGE_SHARE = 10  # a sleeping machine's disk and address bill a few percent of its GPU: a tenth is well above
_HOUR_US = 3_600_000_000


def rest_needed(session: Session, tier: str, every: timedelta) -> timedelta:
    """For how long the bill has to rest: two ticks, or three of its steps and its lag, whichever is longer."""
    found = [_rest(session, counter, every) for counter in _counters(session, tier)]
    return max(found, default=_TICKS * every)


def is_at_rest(session: Session, tier: str, since: datetime, every: timedelta) -> bool | None:
    """Whether the bill of the tier's instances, asleep `since`, stands still or rises as storage alone does.

    None while that cannot be told: what was billed before the sleep has to have arrived, and the bill to have
    been watched for as long as `rest_needed` says.
    """
    verdicts = [_has_rested(session, counter, since, every) for counter in _counters(session, tier)]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def highest_rate(session: Session, resource: BillCounter | ResourceRow, since: datetime) -> int | None:
    """The highest rate quoted since an instant for a resource, or a counter's; a threshold, never a figure.

    For the resource, not the counter: an hour's bucket that began asleep has never heard the price of the GPU.
    """
    query = select(func.max(BillSample.rate_nusd_per_hour)).join(
        BillCounter, col(BillSample.counter_id) == BillCounter.id
    )
    of_it = (
        BillCounter.provider == resource.provider,
        BillCounter.kind == resource.kind,
        BillCounter.resource_id == resource.resource_id,
    )
    return session.exec(query.where(*of_it, BillSample.at >= since)).one()


def _counters(session: Session, tier: str) -> Sequence[BillCounter]:
    query = select(BillCounter).where(
        BillCounter.tier == tier,
        BillCounter.kind == ResourceKind.INSTANCE,
        col(BillCounter.final_at).is_(None),
        col(BillCounter.excluded).is_(False),
    )
    return session.exec(query).all()


def _has_rested(session: Session, counter: BillCounter, since: datetime, every: timedelta) -> bool | None:
    rest = _rest(session, counter, every)
    last = _sample(session, counter, None)
    first = None if last is None else _sample(session, counter, last.at - rest)
    if last is None or first is None or first.at < since + _arrival(session, counter, every):
        return None
    risen_nusd = last.debits_nusd - first.debits_nusd
    if last.fell_at is not None:  # what has risen since is no debit yet, and no rest either
        risen_nusd += rises_since(session, last.counter_id, max(last.fell_at, first.at), last.at)
    if risen_nusd <= 0:
        return True
    elapsed_us = (last.at - first.at) // timedelta(microseconds=1)
    highest = highest_rate(session, counter, last.at - RATES_OVER)
    return highest is not None and risen_nusd * _HOUR_US * _STORAGE_SHARE <= highest * elapsed_us


def _rest(session: Session, counter: BillCounter, every: timedelta) -> timedelta:
    return max(_TICKS * every, _STEPS * (step_of(counter.steps) or every) + _lag(session, counter))


def _arrival(session: Session, counter: BillCounter, every: timedelta) -> timedelta:
    """How long what was billed before takes to be on the bill."""
    return (step_of(counter.steps) or every) + _lag(session, counter)


def _lag(session: Session, counter: BillCounter) -> timedelta:
    last = _sample(session, counter, None)
    return timedelta(0) if last is None else max(last.at - last.as_of_at, timedelta(0))


def _sample(session: Session, counter: BillCounter, at: datetime | None) -> BillSample | None:
    query = select(BillSample).where(BillSample.counter_id == counter.id)
    if at is not None:
        query = query.where(BillSample.at <= at)
    return session.exec(query.order_by(col(BillSample.at).desc()).limit(1)).first()
