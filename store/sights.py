"""How well bills are seen: complete billing ticks, of every provider together or of one alone, out of the store."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlmodel import Session, col, func, select

from store.clock import rfc3339
from store.gate import GateFacts, GatePolicy, ScopeFacts, Sight
from store.tables import ProviderTick, Tick
from store.unknown import Unknown
from store.window import day_start

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


def last_complete(session: Session, policy: GatePolicy, until: datetime) -> datetime | None:
    """The last complete tick up to `until`; where each provider has its own sight, of the one seen longest ago."""
    providers = set(policy.provider_of.values())
    if not providers:
        return session.exec(select(func.max(Tick.at)).where(col(Tick.complete), Tick.at <= until)).one()
    of_each = select(func.max(ProviderTick.at)).where(
        col(ProviderTick.complete), col(ProviderTick.provider).in_(providers), ProviderTick.at <= until
    )
    found = session.exec(of_each.group_by(col(ProviderTick.provider))).all()
    return min(found) if len(found) == len(providers) else None


def unseen_since(last_complete_at: datetime | None, start: datetime) -> Unknown | None:
    """Why nothing billed from `start` on is known: no tick since was complete. None where one was, or none ever."""
    if last_complete_at is None or last_complete_at > start:
        return None
    return Unknown(f"no complete tick since {rfc3339(last_complete_at)}")


def with_day_unseen(policy: GatePolicy, facts: GateFacts) -> GateFacts:
    """Of a day without a complete tick no debits are known; the gate goes on by those it has, which it assumes."""
    start, providers = day_start(facts.now, policy.zone), facts.providers
    seen_at = [one.last_complete_at for one in providers.values()] or [facts.last_complete_at]
    longest_ago = min((at for at in seen_at if at is not None), default=None)

    def seen(scope: ScopeFacts, tier: str = "") -> ScopeFacts:
        own = providers.get(policy.provider_of.get(tier, ""))
        unseen = unseen_since(own.last_complete_at if own else longest_ago, start)
        if unseen is None or isinstance(scope.debits_nusd, Unknown):
            return scope
        return replace(scope, debits_nusd=unseen, assumed_nusd=scope.debits_nusd)

    return replace(
        facts,
        fleet=seen(facts.fleet),
        tiers={tier: seen(scope, tier) for tier, scope in facts.tiers.items()},
        currencies={name: seen(scope) for name, scope in facts.currencies.items()},
    )


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
