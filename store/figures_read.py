"""Reads the figures: spend and usage of each tier, over the same edges."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, TypeVar

from sqlalchemy import Row
from sqlmodel import Session

from store.counters import bill_rows, usage_rows
from store.edges import TierEdge, complete_of, ends_of, snap_known
from store.figures import Figures, Trend
from store.pace import Pace, paces_at
from store.spend import slowest_step, spend_of, too_short
from store.steps import told
from store.unknown import Unknown
from store.usage import AtEdge, Opened, openings, usage_of
from store.window import Edges, Window

T = TypeVar("T")
_NO_TICKS = Unknown("no two complete ticks")


def figures(session: Session, tier: str, window: Window) -> Figures:
    """The figures of `tier` in `window`, both sides read at the same two ticks."""
    return figures_of(session, [tier], [window])[tier][0]


def figures_of(
    session: Session, tiers: Sequence[str], windows: Sequence[Window], then: datetime | None = None
) -> dict[str, tuple[Figures, ...]]:
    """The figures of each tier in each window. Tiers with the same edges are read together.

    `then`: as somebody read them at that past instant, who knew of no bill's later movements, and of no later bill.
    """
    found = figures_and_trends(session, tiers, windows, (), then)
    return {tier: figures for tier, (figures, _) in found.items()}


def figures_and_trends(
    session: Session,
    tiers: Sequence[str],
    windows: Sequence[Window],
    steps: Sequence[datetime],
    then: datetime | None = None,
) -> dict[str, tuple[tuple[Figures, ...], Trend]]:
    """By tier, `figures_of` and its trend: $/Mtok output between each two of `steps`, oldest first.

    All of it is read together.
    """
    known = complete_of(session, tiers, list(dict.fromkeys([*ends_of(windows), *steps])))
    snapped = snap_known(session, tiers, windows, known)
    used = {
        tier: {at for edge in edges if isinstance(edge, Edges) for at in (edge.start_at, edge.end_at)}
        | {known[tier][step].at for step in steps if step in known[tier]}
        for tier, edges in snapped.items()
    }
    read = _readings(session, used, then)
    return {
        tier: (tuple(map(read[tier].figures, windows, edges)), _trend(read[tier], known[tier], steps))
        for tier, edges in snapped.items()
    }


def _readings(
    session: Session, used: Mapping[str, Collection[datetime]], then: datetime | None = None
) -> dict[str, "_Reading"]:
    """What was read of each tier at the instants that it uses; tiers that use the same are read together."""
    together: dict[tuple[datetime, ...], list[str]] = {}
    for tier, known in used.items():
        together.setdefault(tuple(sorted(known)), []).append(tier)
    found = {}
    for instants, alike in together.items():
        rows = bill_rows(session, alike, instants) if instants else ()
        if then is not None:  # a bucket that was stated later lies in its period all the same
            rows = [row for row in rows if row.first_seen_at <= then]
        courses: Sequence[Row[Any] | Pace] = rows if then is None else paces_at(session, rows, then)
        bills, paces = _by_tier(rows, rows), _by_tier(rows, courses)
        at_edges = usage_rows(session, alike, instants) if instants else ()
        opened = openings(session, at_edges)
        ledgers: dict[str, list[dict[int, Any]]] = {tier: [{} for _ in instants] for tier in alike}
        for k, at_edge in enumerate(at_edges):
            for ledger, said in at_edge.items():
                ledgers[said[0]][k][ledger] = said
        for tier in alike:
            found[tier] = _Reading(tier, bills.get(tier, ()), paces.get(tier, ()), ledgers[tier], opened, instants)
    return found


def _by_tier(rows: Sequence[Row[Any]], values: Sequence[T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for row, value in zip(rows, values, strict=True):
        found.setdefault(row.tier, []).append(value)
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read of one tier at the edges `instants`."""

    tier: str
    bills: Sequence[Row[Any]]
    paces: Sequence[Row[Any] | Pace]
    ledgers: Sequence[AtEdge]
    opened: Opened
    instants: Sequence[datetime]

    def figures(self, window: Window, edges: Edges | Unknown) -> Figures:
        """The figures between two of the edges."""
        if isinstance(edges, Unknown):
            return Figures(window, edges, edges, edges)
        start, end = self.instants.index(edges.start_at), self.instants.index(edges.end_at)
        coarse = too_short(self.paces, window)
        spend = spend_of(self.bills, f"edge{start}", f"edge{end}", edges) if coarse is None else coarse
        usage = usage_of(self.opened, self.tier, self.ledgers[start], self.ledgers[end], edges)
        return Figures(window, edges, spend, usage)


def steps_until(now: datetime, step: timedelta, count: int) -> list[datetime]:
    """The ends of the last `count` steps, and where the first one begins."""
    return [now - step * left for left in range(count, -1, -1)]


def _trend(reading: "_Reading", known: Mapping[datetime, TierEdge], steps: Sequence[datetime]) -> Trend:
    if not steps:
        return ()
    slowest = slowest_step(reading.paces, steps[-1])
    if slowest > steps[-1] - steps[-2]:  # a bar would be a whole step's money, or none
        return (Unknown(f"bills every {told(slowest)}"),) * (len(steps) - 1)
    return tuple(_point(reading, known.get(start), known.get(end)) for start, end in pairwise(steps))


def _point(reading: _Reading, start: TierEdge | None, end: TierEdge | None) -> int | Unknown:
    if start is None or end is None or start.at == end.at:
        return _NO_TICKS
    first, last = reading.instants.index(start.at), reading.instants.index(end.at)
    edges = Edges(start.at, end.at, since=False)
    spend = spend_of(reading.bills, f"edge{first}", f"edge{last}", edges)
    usage = usage_of(reading.opened, reading.tier, reading.ledgers[first], reading.ledgers[last], edges)
    return Figures(Window(start.at, end.at), edges, spend, usage).output_nusd_per_mtok
