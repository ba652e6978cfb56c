"""Usage: what the agents' ledgers rose by, between two complete ticks."""

from dataclasses import dataclass

from sqlmodel import Session, col, select

from store.counters import first_usage, ledgers_of, usage_at
from store.edges import snap
from store.tables import Ledger, TierTick, UsageSample
from store.unknown import Unknown
from store.window import Edges, Window

FIELDS = (
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "delivered_tokens",
    "requests",
    "busy_ms",
    "reserved_prompt_tokens",
    "reserved_completion_tokens",
)


@dataclass(frozen=True, slots=True)
class UsageTerm:
    """One ledger's part: `end` less `start`; `start` is None for a ledger that began inside."""

    ledger: Ledger
    start: UsageSample | None
    end: UsageSample

    def rise(self, field: str) -> int:
        """By how much one of `FIELDS` rose."""
        base = getattr(self.start, field) if self.start else 0
        return int(getattr(self.end, field) - base)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, requests and busy milliseconds between `edges`.

    `running_ms`: how long the tier's instances ran, added up over them.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    delivered_tokens: int
    requests: int
    busy_ms: int
    reserved_prompt_tokens: int
    reserved_completion_tokens: int
    running_ms: int
    edges: Edges
    terms: tuple[UsageTerm, ...]


def usage(session: Session, tier: str, window: Window) -> Usage | Unknown:
    """What `tier` served inside `window`, read off its agents' ledgers."""
    edges = snap(session, tier, window)
    return edges if isinstance(edges, Unknown) else usage_between(session, tier, edges)


def usage_between(session: Session, tier: str, edges: Edges) -> Usage:
    """The same, between edges that are complete ticks already."""
    starts, ends = usage_at(session, edges.start_at, tier), usage_at(session, edges.end_at, tier)
    terms = tuple(
        UsageTerm(ledger, starts.get(ledger.id) or _opening(session, ledger), ends[ledger.id])
        for ledger in ledgers_of(session, tier)
        if ledger.id is not None and ledger.id in ends
    )
    totals = {field: sum(term.rise(field) for term in terms) for field in FIELDS}
    running_ms = _running_ms(session, tier, edges)
    return Usage(**totals, running_ms=running_ms, edges=edges, terms=terms)


def _opening(session: Session, ledger: Ledger) -> UsageSample | None:
    if ledger.is_newborn:
        return None
    assert ledger.id is not None
    return first_usage(session, ledger.id)


def _running_ms(session: Session, tier: str, edges: Edges) -> int:
    query = select(TierTick.running_ms).where(
        TierTick.tier == tier, col(TierTick.at).in_([edges.start_at, edges.end_at])
    )
    first, last = sorted(session.exec(query).all())
    return last - first
