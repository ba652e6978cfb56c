"""Providers that the settings no longer name: nobody reads their bills any more, so these rest where they were."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from sqlmodel import Session, col, select

from store.counters import last_bill
from store.journal import note
from store.readings import Bill
from store.tables import BillCounter


def retire(session: Session, named: Collection[str], at: datetime) -> None:
    """Close every counter of a provider that is not `named`, journaled; one that is read again opens again."""
    query = select(BillCounter).where(col(BillCounter.final_at).is_(None), col(BillCounter.provider).not_in(named))
    closed: Counter[str] = Counter()
    for counter in session.exec(query).all():
        counter.final_at = at
        closed[counter.provider] += 1
    for provider, count in sorted(closed.items()):
        detail = f"the settings no longer name it; counters closed: {count}"
        note(session, at, "settings", "provider retired", provider, detail)


def left_behind(session: Session, named: Collection[str], bill: Bill, since: datetime | None) -> BillCounter | None:
    """The counter of a provider that is not `named` which `bill` continues: its section has another name now.

    `since`: the last complete tick under the name of today. What both have read is two bills, not one.
    """
    query = select(BillCounter).where(
        BillCounter.counter == bill.counter,
        BillCounter.kind == bill.kind,
        BillCounter.resource_id == bill.resource_id,
        BillCounter.currency == bill.currency,
        col(BillCounter.provider).not_in(named),
    )
    for counter in session.exec(query.order_by(col(BillCounter.id).desc())).all():
        last = last_bill(session, counter.id or 0)
        if last is not None and last.total_nusd <= bill.total_nusd and (since is None or since < last.at):
            return counter
    return None
