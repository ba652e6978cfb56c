"""The figures: spend and usage of a tier side by side, over the same edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

from sqlalchemy import Row
from sqlmodel import Session

from store.counters import bill_rows, usage_rows
from store.edges import TierEdge, complete_at, snap_all
from store.money import per_mtok_nusd
from store.spend import Spend, slowest_step, spend_of, told, too_short
from store.unknown import Unknown
from store.usage import AtEdge, Usage, usage_of
from store.window import Edges, Window

NO_TOKENS = Unknown("no tokens")
_NO_TICKS = Unknown("no two complete ticks")


@dataclass(frozen=True, slots=True)
class Figures:
    """A tier's figures in a window. Ratios are made from the sums, never from other ratios."""

    window: Window
    edges: Edges | Unknown
    spend: Spend | Unknown
    usage: Usage | Unknown

    @property
    def currency(self) -> str | None:
        """What the spend is in, where it is known."""
        return None if isinstance(self.spend, Unknown) else self.spend.currency

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
    return figures_of(session, [tier], [window])[tier][0]


def figures_of(session: Session, tiers: Sequence[str], windows: Sequence[Window]) -> dict[str, tuple[Figures, ...]]:
    """The figures of each tier in each window. Tiers with the same edges are read together."""
    snapped = {tier: snap_all(session, tier, windows) for tier in tiers}
    together: dict[tuple[datetime, ...], list[str]] = {}
    for tier, edges in snapped.items():
        known = {at for edge in edges if isinstance(edge, Edges) for at in (edge.start_at, edge.end_at)}
        together.setdefault(tuple(sorted(known)), []).append(tier)
    found = {}
    for instants, alike in together.items():
        bills = bill_rows(session, alike, instants) if instants else ()
        ledgers = usage_rows(session, alike, instants) if instants else ()
        for tier in alike:
            reading = _Reading(session, tier, [row for row in bills if row.tier == tier], ledgers, instants)
            found[tier] = tuple(map(reading.figures, windows, snapped[tier]))
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read of one tier at the edges `instants`."""

    session: Session
    tier: str
    bills: Sequence[Row[Any]]
    ledgers: Sequence[AtEdge]
    instants: Sequence[datetime]

    def figures(self, window: Window, edges: Edges | Unknown) -> Figures:
        """The figures between two of the edges."""
        if isinstance(edges, Unknown):
            return Figures(window, edges, edges, edges)
        start, end = self.instants.index(edges.start_at), self.instants.index(edges.end_at)
        coarse = too_short(self.bills, window)
        spend = spend_of(self.bills, f"edge{start}", f"edge{end}", edges) if coarse is None else coarse
        usage = usage_of(self.session, self.tier, self.ledgers[start], self.ledgers[end], edges)
        return Figures(window, edges, spend, usage)


def trend(session: Session, tier: str, now: datetime, step: timedelta, count: int) -> tuple[int | Unknown, ...]:
    """$/Mtok output of the last `count` steps, oldest first: what a sparkline draws."""
    asked = [now - step * left for left in range(count, -1, -1)]
    complete = complete_at(session, tier, asked)
    instants = sorted({edge.at for edge in complete.values()})
    if not instants:
        return (_NO_TICKS,) * count
    bills, ledgers = bill_rows(session, [tier], instants), usage_rows(session, [tier], instants)
    slowest = slowest_step(bills, now)
    if slowest > step:  # a bar would be a whole step's money, or none
        return (Unknown(f"bills every {told(slowest)}"),) * count
    reading = _Reading(session, tier, bills, ledgers, instants)
    return tuple(_point(reading, complete.get(start), complete.get(end)) for start, end in pairwise(asked))


def _point(reading: _Reading, start: TierEdge | None, end: TierEdge | None) -> int | Unknown:
    if start is None or end is None or start.at == end.at:
        return _NO_TICKS
    first, last = reading.instants.index(start.at), reading.instants.index(end.at)
    edges = Edges(start.at, end.at, since=False)
    spend = spend_of(reading.bills, f"edge{first}", f"edge{last}", edges)
    usage = usage_of(reading.session, reading.tier, reading.ledgers[first], reading.ledgers[last], edges)
    return Figures(Window(start.at, end.at), edges, spend, usage).output_nusd_per_mtok
