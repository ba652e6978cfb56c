"""Snapping edges back to complete ticks, so that windows add up whatever was missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col
from sqlmodel import select as model_select

from store.clock import rfc3339
from store.counters import edges_table, instants
from store.tables import TierTick
from store.unknown import Unknown
from store.window import Edges, Window


@dataclass(frozen=True, slots=True)
class TierEdge:
    """A complete tick of a tier. `running_ms` is cumulative over its instances."""

    at: datetime
    running_ms: int


def snap(session: Session, tier: str, window: Window) -> Edges | Unknown:
    """The complete ticks at or before both edges of `window`; only a start before our first moves forward."""
    return snap_all(session, tier, [window])[0]


def snap_all(session: Session, tier: str, windows: Sequence[Window]) -> list[Edges | Unknown]:
    """The edges of each of `windows`."""
    asked = list(dict.fromkeys(edge for window in windows for edge in (window.start, window.end)))
    known = complete_at(session, tier, asked)
    first = None
    if any(window.start not in known for window in windows):
        first = first_complete(session, tier)
    return [_edges(session, tier, window, known, first) for window in windows]


def complete_at(session: Session, tier: str, asked: Sequence[datetime]) -> dict[datetime, TierEdge]:
    """By instant, the tier's last complete tick at or before it; instants before the first are left out."""
    found = session.connection().execute(_complete(len(asked)), {"tier": tier, **instants(asked)})
    return {asked[k]: TierEdge(at, running_ms) for k, at, running_ms in found}


def first_complete(session: Session, tier: str) -> TierEdge | None:
    """The tier's first complete tick."""
    query = model_select(TierTick.at, TierTick.running_ms).where(TierTick.tier == tier, col(TierTick.complete))
    found = session.exec(query.order_by(col(TierTick.at)).limit(1)).first()
    return None if found is None else TierEdge(*found)


def problem_of(session: Session, tier: str) -> str:
    """What keeps the tier's newest tick from being complete."""
    query = model_select(TierTick).where(TierTick.tier == tier).order_by(col(TierTick.at).desc()).limit(1)
    newest = session.exec(query).first()
    if newest is None:
        return "no tick yet"
    return newest.problem or "the collector has not ticked since"


def _edges(
    session: Session, tier: str, window: Window, known: Mapping[datetime, TierEdge], first: TierEdge | None
) -> Edges | Unknown:
    end, start = known.get(window.end), known.get(window.start)
    if end is None:
        return Unknown(f"no complete tick yet: {problem_of(session, tier)}")
    since = start is None
    start = start or first
    assert start is not None
    if end.at <= window.start or end.at == start.at:
        if since:
            return Unknown("waiting for a second complete tick")
        return Unknown(f"no complete tick since {rfc3339(end.at)}: {problem_of(session, tier)}")
    return Edges(start.at, end.at, since, end.running_ms - start.running_ms)


@cache
def _complete(count: int) -> Select[Any]:
    asked, older = edges_table(count), aliased(TierTick)
    tier: BindParameter[str] = bindparam("tier")
    newest = (
        select(func.max(older.at))
        .where(col(older.tier) == tier, col(older.complete), col(older.at) <= asked.c.at)
        .correlate(asked)
        .scalar_subquery()
    )
    return (
        select(asked.c.k, col(TierTick.at), col(TierTick.running_ms))
        .select_from(asked)
        .join(TierTick, (col(TierTick.tier) == tier) & (col(TierTick.at) == newest))
    )
