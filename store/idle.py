"""Whether a tier is idle, said by its agents' own ledgers: a counter that has not moved, never a silence."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from store.counters import USAGE_FIELDS
from store.operations import instances
from store.tables import AgentRow, Ledger, UsageSample
from store.words import State

_ABSENT = (State.ASLEEP, State.GONE)
_COUNTED = [name for name in USAGE_FIELDS if name != "busy_ms"]


def is_idle(
    session: Session,
    tier: str,
    agents: Mapping[str, str],
    now: datetime,
    idle_after: timedelta,
    min_awake: timedelta,
    fresh: timedelta,
) -> bool:
    """Whether nothing is in flight and no token was counted for `idle_after`, by every agent of the tier.

    `agents` names the instance of each. Those whose instance sleeps or has gone have nothing to say. An agent that
    has not answered within `fresh`, or whose ledger was not read before the time in question, is not idle; nor is
    a tier that has run for less than `min_awake`.
    """
    rows = {row.resource_id: row for row in instances(session, tier) if row.state not in _ABSENT}
    asked = [agent for agent, instance in agents.items() if instance in rows]
    if not asked or any(row.state != State.RUNNING for row in rows.values()):
        return False
    longest = max(idle_after, min_awake)
    if any(row.state_since_at is None or now - row.state_since_at < longest for row in rows.values()):
        return False
    return all(_rests(session, agent, now, idle_after, fresh) for agent in asked)


def _rests(session: Session, name: str, now: datetime, idle_after: timedelta, fresh: timedelta) -> bool:
    agent = session.get(AgentRow, name)
    if agent is None or agent.problem is not None or agent.in_flight:
        return False
    if agent.seen_at is None or now - agent.seen_at > fresh:
        return False
    newest = _newest_ledger(session, name)
    last = None if newest is None else _sample(session, newest, now)
    first = None if newest is None else _sample(session, newest, now - idle_after)
    if last is None or first is None or now - last.at > fresh:
        return False
    return all(getattr(last, name) == getattr(first, name) for name in _COUNTED)


def _newest_ledger(session: Session, agent: str) -> Ledger | None:
    query = select(Ledger).where(Ledger.agent == agent).order_by(col(Ledger.id).desc()).limit(1)
    return session.exec(query).first()


def _sample(session: Session, ledger: Ledger, at: datetime) -> UsageSample | None:
    query = select(UsageSample).where(UsageSample.ledger_id == ledger.id, UsageSample.at <= at)
    return session.exec(query.order_by(col(UsageSample.at).desc()).limit(1)).first()
