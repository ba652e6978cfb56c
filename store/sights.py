"""How well bills are seen: complete billing ticks, of every provider together or of one alone, out of the store."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, col, func, select

from store.gate import Sight
from store.tables import ProviderTick, Tick

_NEWEST = 3


def sight_of_all(session: Session, longest_pause: timedelta) -> Sight:
    """Ticks that were complete for every provider."""
    complete = select(Tick.at).where(col(Tick.complete)).order_by(col(Tick.at).desc()).limit(2)
    newest = session.exec(select(Tick.at, Tick.complete).order_by(col(Tick.at).desc()).limit(_NEWEST)).all()
    return _sight(session.exec(complete).all(), newest, longest_pause)


def sight_of(session: Session, provider: str, longest_pause: timedelta, frozen: tuple[str, ...] = ()) -> Sight:
    """Ticks at which one provider was read whole."""
    of_it = select(ProviderTick.at, ProviderTick.complete).where(ProviderTick.provider == provider)
    of_it = of_it.order_by(col(ProviderTick.at).desc())
    complete = session.exec(of_it.where(col(ProviderTick.complete)).limit(2)).all()
    newest = session.exec(of_it.limit(_NEWEST)).all()
    return _sight([at for at, _ in complete], newest, longest_pause, frozen)


def best_sight(session: Session, sights: Collection[Sight], longest_pause: timedelta) -> Sight:
    """Ticks at which some provider was read whole; none while one has never been: what it bills has no bound."""
    if any(sight.last_complete_at is None for sight in sights):
        return Sight(None, None, 0)
    seen = {at for sight in sights for at in (sight.last_complete_at, sight.previous_complete_at) if at is not None}
    newest = session.exec(select(Tick.at).order_by(col(Tick.at).desc()).limit(_NEWEST)).all()
    some = select(ProviderTick.at).where(col(ProviderTick.at).in_(newest), col(ProviderTick.complete))
    complete = set(session.exec(some).all())
    return _sight(sorted(seen, reverse=True), [(at, at in complete) for at in newest], longest_pause)


def complete_ticks_since(session: Session, since: datetime, *, of_any: bool) -> int:
    """How many ticks from `since` on were complete: for every provider, or for `of_any`."""
    if of_any:
        some = select(func.count(func.distinct(ProviderTick.at)))
        return session.exec(some.where(col(ProviderTick.complete), col(ProviderTick.at) >= since)).one()
    every = select(func.count()).select_from(Tick)
    return session.exec(every.where(col(Tick.complete), col(Tick.at) >= since)).one()


def _sight(
    complete: Sequence[datetime],
    newest: Iterable[tuple[datetime, bool]],
    longest_pause: timedelta,
    frozen: tuple[str, ...] = (),
) -> Sight:
    """`complete`: the last complete ticks, newest first; `newest`: the last ticks of all, newest first."""
    count, later = 0, None
    for at, is_complete in newest:
        if not is_complete or (later is not None and later - at > longest_pause):
            break
        count, later = count + 1, at
    last, previous = (*complete[:2], None, None)[:2]
    return Sight(last, previous, count, frozen)
