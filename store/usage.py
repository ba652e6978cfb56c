"""Usage: what the agents' ledgers rose by, between two complete ticks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from store.clock import rfc3339
from store.counters import (
    USAGE_FIELDS,
    LedgerAt,
    LedgerFirst,
    Totals,
    first_totals,
    first_usage,
    ledgers_of,
    usage_sample_at,
)
from store.figures import Usage
from store.tables import Ledger, UsageSample
from store.unknown import Unknown
from store.window import Edges

AtEdge = Mapping[int, LedgerAt]
Opened = Mapping[int, Totals | Unknown]
_NOTHING: Totals = (0,) * len(USAGE_FIELDS)


@dataclass(frozen=True, slots=True)
class UsageTerm:
    """One ledger's part: `end` less `start`; `start` is None for a ledger that began inside."""

    ledger: Ledger
    start: UsageSample | None
    end: UsageSample

    def rise(self, field: str) -> int:
        """By how much one of `USAGE_FIELDS` rose."""
        base = getattr(self.start, field) if self.start else 0
        return int(getattr(self.end, field) - base)


def openings(session: Session, edges: Sequence[AtEdge]) -> Opened:
    """What each ledger held when we first saw it that has no sample at the oldest of `edges`, oldest first.

    Of one that fell, whatever began before its first sample since then is not known. Those that were born under our
    eyes are left out: they held nothing.
    """
    return {ledger: _held(first) for ledger, first in firsts(session, edges).items()}


def firsts(session: Session, edges: Sequence[AtEdge]) -> Mapping[int, LedgerFirst]:
    """The oldest sample of each ledger that has `openings`."""
    older = {ledger for edge in edges for ledger, last in edge.items() if not last.is_newborn}
    missing = older - edges[0].keys() if edges else older
    return first_totals(session, missing) if missing else {}


def _held(first: LedgerFirst) -> Totals | Unknown:
    if first.since == first.at:
        return first.totals
    lost = f"from {rfc3339(first.since)} to {rfc3339(first.at)}"
    return Unknown(
        f"the ledger of agent {first.agent} fell: a snapshot was restored, and what it served {lost} is lost"
    )


def usage_of(opened: Opened, tier: str, start: AtEdge, end: AtEdge, edges: Edges) -> Usage | Unknown:
    """The sum over one tier's ledgers between two edges; see `usage_rows` and `openings`."""
    sums = [0] * len(USAGE_FIELDS)
    found = {ledger: last for ledger, last in end.items() if last.tier == tier}
    for ledger, last in found.items():
        known = start.get(ledger)
        before = known.totals if known else _NOTHING if last.is_newborn else opened[ledger]
        if isinstance(before, Unknown):
            return before
        for index, total in enumerate(last.totals):
            sums[index] += total - before[index]
    capacity = _capacity(last for last in found.values() if last.at > edges.start_at)
    return Usage(**dict(zip(USAGE_FIELDS, sums, strict=True)), edges=edges, capacity_per_ks=capacity)


def usage_terms(session: Session, tier: str, edges: Edges) -> Iterator[UsageTerm]:
    """Every ledger's part between two edges, with its samples."""
    for ledger in ledgers_of(session, tier):
        assert ledger.id is not None
        end = usage_sample_at(session, ledger.id, edges.end_at)
        if end is None:
            continue
        start = usage_sample_at(session, ledger.id, edges.start_at)
        if start is None and not ledger.is_newborn:
            start = first_usage(session, ledger.id)
        yield UsageTerm(ledger, start, end)


def _capacity(answered: Iterable[LedgerAt]) -> int | Unknown:
    """The sum over the agents, each by the newest of its ledgers."""
    newest: dict[str, LedgerAt] = {}
    for one in answered:
        if one.agent not in newest or newest[one.agent].at < one.at:
            newest[one.agent] = one
    if not newest:
        return Unknown("no agent answered in this window")
    total = 0
    for agent, one in sorted(newest.items()):
        if one.capacity_per_ks is None:
            return Unknown(f"the capacity of agent {agent} was not known; mtok agent bench measures it")
        total += one.capacity_per_ks
    return total
