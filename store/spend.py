"""Spend: what the provider's own counters rose by, between two complete ticks. No rate is used."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from store.counters import bills_at, counters_of
from store.edges import snap
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
        """Nano-dollars, with its sign: a credit lowers it."""
        base = self.start.total_nusd if self.start else self.counter.opening_nusd
        return self.end.total_nusd - base


@dataclass(frozen=True, slots=True)
class Spend:
    """Money billed between `edges`, in nano-units of `currency`, and the terms that add up to it."""

    nusd: int
    currency: str
    edges: Edges
    terms: tuple[SpendTerm, ...]


def spend(session: Session, tier: str, window: Window) -> Spend | Unknown:
    """Money billed to `tier` inside `window`, read off the provider's counters."""
    edges = snap(session, tier, window)
    return edges if isinstance(edges, Unknown) else spend_between(session, tier, edges)


def spend_between(session: Session, tier: str, edges: Edges) -> Spend | Unknown:
    """The same, between edges that are complete ticks already."""
    starts, ends = bills_at(session, edges.start_at, tier), bills_at(session, edges.end_at, tier)
    counters = counters_of(session, tier)
    terms = tuple(
        SpendTerm(counter, starts.get(counter.id), ends[counter.id]) for counter in counters if counter.id in ends
    )
    currencies = {term.counter.currency for term in terms}
    if len(currencies) > 1:
        return Unknown(f"bills in {' and '.join(sorted(currencies))}, which are never summed")
    if not terms:
        return Unknown("no bill counter of this tier has been read yet")
    return Spend(sum(term.nusd for term in terms), currencies.pop(), edges, terms)


def debits_between(session: Session, start: datetime, end: datetime) -> int | Unknown:
    """Debits of the whole account in `[start, end)`, for the gate: every rise, and no credit lowers it.

    A counter first seen inside counts from zero if it was born inside, otherwise from its first sample.
    """
    starts, ends = bills_at(session, start, None), bills_at(session, end, None)
    total_nusd = 0
    currencies = set()
    for counter in counters_of(session, None):
        if counter.id not in ends:
            continue
        currencies.add(counter.currency)
        total_nusd += ends[counter.id].debits_nusd - _debits_before(counter, starts.get(counter.id), start)
    if len(currencies) > 1:
        return Unknown(f"bills in {' and '.join(sorted(currencies))}, and the limit is in one currency")
    return total_nusd


def _debits_before(counter: BillCounter, sample: BillSample | None, start: datetime) -> int:
    if sample is not None:
        return sample.debits_nusd
    was_born_inside = counter.started_at is not None and counter.started_at >= start
    return 0 if was_born_inside else max(counter.opening_nusd, 0)
