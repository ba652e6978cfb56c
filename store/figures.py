"""The figures: spend and usage of a tier side by side, over the same edges."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from sqlmodel import Session

from store.counters import bills_at, counters_of, usage_at
from store.edges import last_complete, snap
from store.money import per_mtok_nusd
from store.spend import Spend, spend_between
from store.unknown import Unknown
from store.usage import Usage, usage_between
from store.window import Edges, Window

NO_TOKENS = Unknown("no tokens")


@dataclass(frozen=True, slots=True)
class Figures:
    """A tier's figures in a window. Ratios are made from the sums, never from other ratios."""

    window: Window
    edges: Edges | Unknown
    spend: Spend | Unknown
    usage: Usage | Unknown

    @property
    def output_nusd_per_mtok(self) -> int | Unknown:
        """Spend ÷ completion tokens × 10⁶, in nano-dollars."""
        if isinstance(self.usage, Unknown):
            return self.usage
        return self._per_mtok(self.usage.completion_tokens)

    @property
    def total_nusd_per_mtok(self) -> int | Unknown:
        """Spend ÷ (prompt + completion tokens) × 10⁶, in nano-dollars."""
        if isinstance(self.usage, Unknown):
            return self.usage
        return self._per_mtok(self.usage.prompt_tokens + self.usage.completion_tokens)

    @property
    def utilisation(self) -> Fraction | Unknown:
        """Busy time ÷ running time of the tier's instances."""
        if isinstance(self.usage, Unknown):
            return self.usage
        if not self.usage.running_ms:
            return Unknown("no instance ran")
        return min(Fraction(self.usage.busy_ms, self.usage.running_ms), Fraction(1))

    def _per_mtok(self, tokens: int) -> int | Unknown:
        if isinstance(self.spend, Unknown):
            return self.spend
        return per_mtok_nusd(self.spend.nusd, tokens) if tokens else NO_TOKENS


def figures(session: Session, tier: str, window: Window) -> Figures:
    """The figures of `tier` in `window`, both sides read at the same two ticks."""
    edges = snap(session, tier, window)
    if isinstance(edges, Unknown):
        return Figures(window, edges, edges, edges)
    return Figures(window, edges, spend_between(session, tier, edges), usage_between(session, tier, edges))


def trend(session: Session, tier: str, now: datetime, step: timedelta, count: int) -> tuple[int | Unknown, ...]:
    """$/Mtok output of the last `count` steps, oldest first: what a sparkline draws.

    Each edge is read once, as what has been spent and generated up to it.
    """
    counters = counters_of(session, tier)
    if len({counter.currency for counter in counters}) > 1:
        return (Unknown("several currencies"),) * count
    openings = {counter.id: counter.opening_nusd for counter in counters}
    edges = [last_complete(session, tier, now - step * left) for left in range(count, -1, -1)]
    known = {edge: _so_far(session, tier, edge, openings) for edge in edges if edge is not None}
    return tuple(_step(known, start, end) for start, end in pairwise(edges))


def _step(known: Mapping[datetime, tuple[int, int]], start: datetime | None, end: datetime | None) -> int | Unknown:
    if start is None or end is None or start == end:
        return Unknown("no two complete ticks")
    (spent_before, made_before), (spent, made) = known[start], known[end]
    return per_mtok_nusd(spent - spent_before, made - made_before) if made > made_before else NO_TOKENS


def _so_far(session: Session, tier: str, edge: datetime, openings: Mapping[int | None, int]) -> tuple[int, int]:
    """Nano-dollars and completion tokens from our first look up to a complete tick."""
    spent = sum(sample.total_nusd - openings[id_] for id_, sample in bills_at(session, edge, tier).items())
    return spent, sum(sample.completion_tokens for sample in usage_at(session, edge, tier).values())
