"""Spend: what the provider's own counters rose by, between two complete ticks. No rate is used."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from store.clock import rfc3339
from store.counters import debits_at, is_last
from store.figures import Spend
from store.money import USD
from store.pace import Pace
from store.steps import SHORTEST_WINDOW_STEPS, is_moving, step_of, told
from store.tables import BillCounter, BillSample
from store.unknown import Unknown
from store.window import Edges, Window


@dataclass(frozen=True, slots=True)
class SpendTerm:
    """One counter's part: `end` less `start`; without a `start` sample, less what it opened with."""

    counter: BillCounter
    start: BillSample | None
    end: BillSample

    @property
    def nusd(self) -> int:
        """Nano-dollars, with its sign."""
        return self.end.total_nusd - (self.start.total_nusd if self.start else self.counter.opening_nusd)

    @property
    def debits_nusd(self) -> int:
        """The rises alone. What is left of `nusd` are credits and corrections."""
        return self.end.debits_nusd - (self.start.debits_nusd if self.start else 0)


def spend_of(rows: Sequence[Row[Any]], start: str, end: str, edges: Edges) -> Spend | Unknown:
    """The sum over `rows` (see `bill_rows`) of one tier between two of their columns.

    A counter that neither moved nor ended in between brings no currency of its own.
    """
    total_nusd, known, billed = 0, [], set()
    for row in rows:
        values = row._mapping
        at_end = values[end]
        if at_end is None:
            continue
        if row.unsettled_at is not None and row.unsettled_at <= edges.end_at:
            return unsettled(row.id, row.counter, row.unsettled_at)
        at_start = values[start]
        total_nusd += at_end - (row.opening_nusd if at_start is None else at_start)
        known.append(row.currency)
        ended_inside = row.final_at is not None and edges.start_at < row.final_at <= edges.end_at
        if at_start != at_end or ended_inside:
            billed.add(row.currency)
    if len(billed) > 1:
        return Unknown(f"bills in {' and '.join(sorted(billed))}, which are never summed")
    if not known:
        return Unknown("no bill counter of this tier has been read yet")
    return Spend(total_nusd, billed.pop() if billed else known[-1], edges)


def too_short(rows: Sequence[Row[Any] | Pace], window: Window) -> Unknown | None:
    """Why `window` is too short for how often these counters move, as observed; None when it is long enough."""
    slowest = slowest_step(rows, window.end)
    if window.end - window.start >= SHORTEST_WINDOW_STEPS * slowest:
        return None
    return Unknown(f"bills every {told(slowest)}")


def slowest_step(rows: Sequence[Row[Any] | Pace], at: datetime) -> timedelta:
    """How often the slowest of these counters moves that still does so `at`; zero while none has shown it."""
    slowest = timedelta(0)
    for row in rows:
        step = step_of(row.steps) if row.final_at is None else None
        if step is not None and is_moving(step, row.moved_at, at):
            slowest = max(slowest, step)
    return slowest


def unsettled(counter_id: int, counter: str, at: datetime) -> Unknown:
    """Why a counter's money is not known: it vanished, and nobody has said what its last bill was."""
    return Unknown(
        f"unsettled: {counter} vanished, noticed at {rfc3339(at)}; mtok counter settle {counter_id} --reason …"
    )


def spend_terms(session: Session, tier: str, edges: Edges, *, are_at_rest: bool = True) -> Iterator[SpendTerm]:
    """Every counter's part between two edges, with its samples: what a person adds up again.

    Without those that `are_at_rest` it names none that was not read between the edges, but for the unsettled ones.
    """
    start, end = aliased(BillSample), aliased(BillSample)
    query = (
        select(BillCounter, start, end)
        .select_from(BillCounter)
        .join(end, is_last(end, edges.end_at))
        .outerjoin(start, is_last(start, edges.start_at))
        .where(col(BillCounter.tier) == tier)
        .order_by(col(BillCounter.id))
    )
    if not are_at_rest:
        was_read = col(start.at).is_(None) | (col(start.at) != end.at)
        query = query.where(was_read | col(BillCounter.unsettled_at).is_not(None))
    for counter, at_start, at_end in session.exec(query):
        yield SpendTerm(counter, at_start, at_end)


@dataclass(frozen=True, slots=True)
class Debit:
    """What one counter was debited in a window, or why that is not known."""

    tier: str
    currency: str
    nusd: int | Unknown


def debits_by_tier(session: Session, start: datetime, end: datetime) -> list[Debit]:
    """Every counter's debits in `[start, end)`, for the gate: every rise, and no credit lowers it.

    A counter first seen inside counts from our first look, or from where a derived sample or its birth put it.
    """
    found = []
    for row in debits_at(session, [start, end]):
        if row.unsettled_at is not None:
            found.append(Debit(row.tier, row.currency, unsettled(row.id, row.counter, row.unsettled_at)))
        elif row.edge1 is not None:
            found.append(Debit(row.tier, row.currency, row.edge1 - (row.edge0 or 0)))
    return found


def debits_of(debits: Sequence[Debit], tier: str | None) -> int | Unknown:
    """The sum over one tier, or over the whole account; currencies are never summed."""
    total_nusd, currencies = 0, set()
    for debit in debits:
        if tier is not None and debit.tier != tier:
            continue
        if isinstance(debit.nusd, Unknown):
            return debit.nusd
        if debit.nusd:
            currencies.add(debit.currency)
        total_nusd += debit.nusd
    if len(currencies) > 1:
        return Unknown(f"bills in {' and '.join(sorted(currencies))}, and the limit is in one currency")
    return total_nusd


def without_limit(billed: Collection[str], limits: Collection[str]) -> Unknown | None:
    """Why the day has no bound: something is billed in a currency that `limits` lacks; None where nothing is."""
    others = sorted(set(billed) - {USD, *limits})
    return Unknown(f"bills in {' and '.join(others)}, and [budget.daily] has no limit in it") if others else None


def currencies_of(debits: Sequence[Debit]) -> set[str]:
    """Those in which something was billed, or may have been."""
    return {one.currency for one in debits if isinstance(one.nusd, Unknown) or one.nusd}
