"""Snapping a window's edges back to complete ticks, so that windows add up whatever was missed."""

from datetime import datetime

from sqlmodel import Session, col, select

from store.clock import rfc3339
from store.tables import TierTick
from store.unknown import Unknown
from store.window import Edges, Window


def snap(session: Session, tier: str, window: Window) -> Edges | Unknown:
    """The complete ticks at or before both edges of `window`; only a start before our first moves forward."""
    end_at = last_complete(session, tier, window.end)
    if end_at is None:
        return Unknown(_never(session, tier))
    start_at = last_complete(session, tier, window.start)
    since = start_at is None
    if start_at is None:
        start_at = _first_complete(session, tier)
    assert start_at is not None
    if end_at <= window.start or end_at == start_at:
        if since:
            return Unknown("waiting for a second complete tick")
        return Unknown(f"no complete tick since {rfc3339(end_at)}: {problem_of(session, tier)}")
    return Edges(start_at, end_at, since)


def last_complete(session: Session, tier: str, at: datetime) -> datetime | None:
    """The tier's last complete tick at or before `at`."""
    query = select(TierTick.at).where(TierTick.tier == tier, col(TierTick.complete), TierTick.at <= at)
    return session.exec(query.order_by(col(TierTick.at).desc()).limit(1)).first()


def problem_of(session: Session, tier: str) -> str:
    """What keeps the tier's newest tick from being complete."""
    query = select(TierTick).where(TierTick.tier == tier).order_by(col(TierTick.at).desc()).limit(1)
    newest = session.exec(query).first()
    if newest is None:
        return "no tick yet"
    return newest.problem or "the collector has not ticked since"


def _first_complete(session: Session, tier: str) -> datetime | None:
    query = select(TierTick.at).where(TierTick.tier == tier, col(TierTick.complete))
    return session.exec(query.order_by(col(TierTick.at)).limit(1)).first()


def _never(session: Session, tier: str) -> str:
    return f"no complete tick yet: {problem_of(session, tier)}"
