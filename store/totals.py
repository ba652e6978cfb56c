"""Running totals of a tier up to its last complete tick: what a monitoring system subtracts from one another.

The difference of two totals is the figure between the two ticks, to the nano-dollar. What was billed before our
first look is in neither, nor what a ledger lost when its snapshot was restored: the figure between two such totals
is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from store.counters import Totals as Counts
from store.counters import sums_at, unsettled_at, usage_rows
from store.edges import TierEdge, complete_of, never_complete
from store.figures import Usage
from store.spend import unsettled
from store.unknown import Unknown
from store.usage import AtEdge, firsts, usage_of
from store.window import Edges
from store.words import IGNORED

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
    sums, lost = sums_at(session, list(edges), at), unsettled_at(session, list(edges), at)
    (ledgers,) = usage_rows(session, list(edges), [at])
    opened = {ledger: first.totals for ledger, first in firsts(session, [{}, ledgers]).items()}
    found = {}
    for tier, edge in edges.items():
        of_tier = [one for one in sums if one.tier == tier]
        spent: Money = {one.currency: one.total_nusd for one in of_tier}
        debits: Money = {one.currency: one.debits_nusd for one in of_tier if tier != IGNORED}
        if tier in lost:
            spent = unsettled(*lost[tier])
            debits = spent if tier != IGNORED else debits
        used = _rises(opened, tier, ledgers, Edges(at, at, since=False, running_ms=edge.running_ms))
        found[tier] = Totals(at, spent, debits, used)
    return found


def _rises(opened: Mapping[int, Counts], tier: str, ledgers: AtEdge, edges: Edges) -> Usage:
    """What the ledgers of a tier are known to have risen by since our first look."""
    used = usage_of(opened, tier, {}, ledgers, edges)
    assert isinstance(used, Usage)  # `opened` knows what each of them began with
    return used
