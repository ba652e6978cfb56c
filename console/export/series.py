"""Figures step by step: each tier's hours (or days, or minutes) in a window. The steps add up to it exactly.

Every step runs between two complete ticks, and the next begins where it ended. A step in which no tick was complete
holds nothing and says so; its money is in the step that follows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from sqlmodel import Session

from store.counters import bill_rows, usage_rows
from store.edges import TierEdge, complete_at, first_complete
from store.figures import Figures
from store.spend import spend_of
from store.unknown import Unknown
from store.usage import openings, usage_of
from store.window import Edges, Window, day_start

_AT_ONCE = 48
STEPS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One tier in one step."""

    tier: str
    figures: Figures


def cuts(window: Window, every: timedelta, zone: ZoneInfo) -> Iterator[datetime]:
    """The edges of the steps: on whole hours (days of `zone`), and the window's own two."""
    yield window.start
    at = _next(window.start, every, zone)
    while at < window.end:
        yield at
        at = _next(at, every, zone)
    yield window.end


def steps(session: Session, tier: str, window: Window, every: timedelta, zone: ZoneInfo) -> Iterator[Step]:
    """The steps of one tier, oldest first; constant memory however long the window."""
    first = first_complete(session, tier)
    batch: list[datetime] = []
    for cut in cuts(window, every, zone):
        batch.append(cut)
        if len(batch) > _AT_ONCE:
            yield from _some(session, tier, batch, first)
            batch = batch[-1:]
    if len(batch) > 1:
        yield from _some(session, tier, batch, first)


def _some(session: Session, tier: str, batch: Sequence[datetime], first: TierEdge | None) -> Iterator[Step]:
    complete = complete_at(session, tier, batch)
    for start, end in pairwise(batch):
        window, edges = Window(start, end), _edges(complete.get(start) or first, complete.get(end), start, complete)
        if isinstance(edges, Unknown):
            yield Step(tier, Figures(window, edges, edges, edges))
            continue
        yield _step(session, tier, window, edges)


def _step(session: Session, tier: str, window: Window, edges: Edges) -> Step:
    spent = spend_of(bill_rows(session, [tier], [edges.start_at, edges.end_at]), "edge0", "edge1", edges)
    before, after = usage_rows(session, [tier], [edges.start_at, edges.end_at])
    used = usage_of(openings(session, [before, after]), tier, before, after, edges)
    return Step(tier, Figures(window, edges, spent, used))


def _edges(
    start: TierEdge | None, end: TierEdge | None, asked: datetime, complete: dict[datetime, TierEdge]
) -> Edges | Unknown:
    if start is None or end is None or end.at <= start.at:
        return Unknown("no complete tick in this step")
    return Edges(start.at, end.at, asked not in complete, end.running_ms - start.running_ms)


def _next(at: datetime, every: timedelta, zone: ZoneInfo) -> datetime:
    if every >= timedelta(days=1):
        return day_start(day_start(at, zone) + timedelta(hours=36), zone)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + ((at - epoch) // every + 1) * every
