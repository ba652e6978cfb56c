"""Samples that no tick read: placed by the provider's windowed bill, or by an engineer. Refused unless they fit."""

from datetime import datetime

from sqlalchemy import update
from sqlmodel import Session, col

from store.counters import bill_after, bill_at
from store.errors import DerivedRefused
from store.tables import BillCounter, BillSample


def add_derived(
    session: Session, counter: BillCounter, at: datetime, total_nusd: int, raw: str, origin: str = "derived"
) -> None:
    """Add what the counter held at `at`; `raw` says what that was derived from.

    Before the first sample it becomes what the counter opened with: the rise from there on is ours to count. One
    that opened with nothing was born in our time, and all that it held is counted already.

    Raises:
        DerivedRefused: it does not lie between its neighbours; nothing was written.
    """
    assert counter.id is not None
    before, after = bill_at(session, counter.id, at), bill_after(session, counter.id, at)
    _refuse_unless_between(counter, at, total_nusd, before, after)
    debits = total_nusd if before is None else before.debits_nusd + total_nusd - before.total_nusd
    if before is None and after is not None and counter.opening_nusd:
        debits, earlier = 0, after.total_nusd - total_nusd
        samples = update(BillSample).where(col(BillSample.counter_id) == counter.id)
        session.connection().execute(samples.values(debits_nusd=col(BillSample.debits_nusd) + earlier))
        counter.opening_nusd = total_nusd
    session.add(
        BillSample(
            counter_id=counter.id,
            at=at,
            total_nusd=total_nusd,
            debits_nusd=debits,
            raw=raw,
            as_of_at=at,
            origin=origin,
        )
    )
    session.flush()


def _refuse_unless_between(
    counter: BillCounter, at: datetime, total_nusd: int, before: BillSample | None, after: BillSample | None
) -> None:
    lowest = before.total_nusd if before else 0
    highest = after.total_nusd if after else None
    if before is not None and before.at == at:
        raise DerivedRefused(counter.counter, at, "there is a sample of that instant")
    if before is not None and before.fell_at is not None:
        raise DerivedRefused(counter.counter, at, "the counter had fallen, and it is not known yet what that was")
    if total_nusd < lowest or (highest is not None and total_nusd > highest):
        between = f"{lowest} and {'—' if highest is None else highest} nusd"
        raise DerivedRefused(counter.counter, at, f"{total_nusd} nusd do not lie between its neighbours, {between}")
