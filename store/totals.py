"""Running totals of a tier up to its last complete tick: what a monitoring system subtracts from one another.

The difference of two totals is the figure between the two ticks, to the nano-dollar. What was billed before our
first look is in neither, nor what a ledger lost when its snapshot was restored: the figure between two such totals
is not known.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlmodel import Session

from store.counters import Totals as Counts
from store.counters import bill_rows, debits_at, usage_rows
from store.edges import TierEdge, complete_of, never_complete
from store.figures import Usage
from store.spend import unsettled
from store.unknown import Unknown
from store.usage import AtEdge, firsts, usage_of
from store.window import Edges

Money = Mapping[str, int] | Unknown
"""Nano-units by currency, which are never summed."""


@dataclass(frozen=True, slots=True)
class Totals:
    """A tier's totals at the complete tick `at`. Credits lower `spend`; `debits` and `usage` only rise."""

    at: datetime
    spend: Money
    debits: Money
    usage: Usage


def totals_of(session: Session, tiers: Sequence[str], now: datetime) -> dict[str, Totals | Unknown]:
    """Each tier's totals at its last complete tick at or before `now`."""
    edges: dict[str, TierEdge] = {}
    found: dict[str, Totals | Unknown] = {}
    for tier, known in complete_of(session, tiers, [now]).items():
        edge = known.get(now)
        if edge is not None:
            edges[tier] = edge
    found.update(never_complete(session, [tier for tier in tiers if tier not in edges], now))
    for at in {edge.at for edge in edges.values()}:
        alike = {tier: edge for tier, edge in edges.items() if edge.at == at}
        found.update(_at(session, at, alike))
    return {tier: found[tier] for tier in tiers}


def _at(session: Session, at: datetime, edges: Mapping[str, TierEdge]) -> dict[str, Totals]:
    """The totals of tiers whose last complete tick is the same."""
    bills = bill_rows(session, list(edges), [at])
    debits = debits_at(session, [at])
    (ledgers,) = usage_rows(session, list(edges), [at])
    opened = {ledger: first.totals for ledger, first in firsts(session, [{}, ledgers]).items()}
    return {
        tier: Totals(
            at,
            _sums([row for row in bills if row.tier == tier], at, less="opening_nusd"),
            _sums([row for row in debits if row.tier == tier], at),
            _rises(opened, tier, ledgers, Edges(at, at, since=False, running_ms=edge.running_ms)),
        )
        for tier, edge in edges.items()
    }


def _rises(opened: Mapping[int, Counts], tier: str, ledgers: AtEdge, edges: Edges) -> Usage:
    """What the ledgers of a tier are known to have risen by since our first look."""
    used = usage_of(opened, tier, {}, ledgers, edges)
    assert isinstance(used, Usage)  # `opened` knows what each of them began with
    return used


def _sums(rows: Sequence[Row[Any]], at: datetime, less: str | None = None) -> Money:
    """By currency, the sum of what the counters held at `at`, each less what it held before our time."""
    sums: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        values = row._mapping
        if values["edge0"] is None:
            continue
        if row.unsettled_at is not None and row.unsettled_at <= at:
            return unsettled(row.id, row.counter, row.unsettled_at)
        sums[row.currency] += values["edge0"] - (values[less] if less else 0)
    return dict(sums)
