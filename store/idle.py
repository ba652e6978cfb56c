"""Whether a tier is idle, said by its agents' own ledgers: a counter that has not moved, never a silence."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from store.counters import USAGE_FIELDS
from store.operations import instances
from store.tables import AgentRow, Ledger, UsageSample
from store.words import State

_COUNTED = [name for name in USAGE_FIELDS if name != "busy_ms"]


def is_idle(
    session: Session, tier: str, now: datetime, idle_after: timedelta, min_awake: timedelta, fresh: timedelta
) -> bool:
    """Whether nothing is in flight and no token was counted for `idle_after`, by every agent of the tier.

    An agent that has not answered within `fresh`, or whose ledger was not read before the time in question, is
    not idle; nor is a tier that has run for less than `min_awake`.
    """
    agents = session.exec(select(AgentRow).where(AgentRow.tier == tier)).all()
    rows = [row for row in instances(session, tier) if row.state != State.GONE]
    if not agents or not rows or any(row.state != State.RUNNING for row in rows):
        return False
    longest = max(idle_after, min_awake)
    if any(row.state_since_at is None or now - row.state_since_at < longest for row in rows):
        return False
    return all(_rests(session, agent, now, idle_after, fresh) for agent in agents)


def _rests(session: Session, agent: AgentRow, now: datetime, idle_after: timedelta, fresh: timedelta) -> bool:
    if agent.problem is not None or agent.in_flight or agent.seen_at is None or now - agent.seen_at > fresh:
        return False
    newest = _newest_ledger(session, agent.agent)
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
