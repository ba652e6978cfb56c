"""Settling a counter whose provider no longer knows it: by an engineer with a reason, or by a windowed bill."""

from datetime import datetime

from sqlmodel import Session

from store.counters import last_bill
from store.derived import add_derived
from store.errors import SettleRefused
from store.falls import end_fall
from store.journal import note
from store.money import format_nusd
from store.tables import BillCounter


def settle(
    session: Session, at: datetime, counter_id: int, *, actor: str, reason: str, total_nusd: int | None = None
) -> BillCounter:
    """Close an unsettled counter at its last sample, or at `total_nusd` if its last bill is known.

    Raises:
        SettleRefused: there is no such counter, it is not unsettled, or the reason is missing.
        DerivedRefused: `total_nusd` is below what was read last.
    """
    counter = session.get(BillCounter, counter_id)
    if counter is None:
        raise SettleRefused(counter_id, "there is no such counter; see mtok counter list")
    if counter.unsettled_at is None:
        raise SettleRefused(counter_id, f"{counter.counter} is not unsettled")
    if not reason.strip():
        raise SettleRefused(counter_id, "a reason is needed")
    end_fall(session, counter_id)
    if total_nusd is not None:
        add_derived(session, counter, at, total_nusd, f"{format_nusd(total_nusd)} ({reason.strip()})", "settled")
    last = last_bill(session, counter_id)
    counter.unsettled_at, counter.final_at = None, at if last is None else max(at, last.at)
    held = "nothing" if last is None else f"{format_nusd(last.total_nusd)} {counter.currency}"
    note(session, at, actor, "counter settled", counter.counter, f"closed at {held}: {reason.strip()}")
    return counter
