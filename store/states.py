"""A tier's state in one word: from what is known of its instances and agents, and as each tick keeps it."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from store.gate import Reason
from store.operations import instances
from store.tables import AgentRow, ResourceRow, TierTick
from store.words import SERVING, ResourceKind, State

_LOUDEST_FIRST = (
    State.RUNNING,
    State.WAKING,
    State.SLEEPING,
    State.STARTING,
    State.HALTED_BILLED,
    State.ERROR,
)


def tier_state(instances: Sequence[ResourceRow], agents: Sequence[AgentRow]) -> str:
    """One word for a tier: `serving` when an agent with an open lease answers on an instance that may run."""
    states = {row.state for row in instances}
    if not states:
        return State.UNKNOWN
    may_run = State.RUNNING in states or State.UNKNOWN in states  # a bill in files tells no state; an agent does
    if may_run and any(agent.lease_open and agent.problem is None for agent in agents):
        return SERVING
    for state in _LOUDEST_FIRST:
        if state in states:
            return state
    return State.ASLEEP if State.ASLEEP in states else State.UNKNOWN


def state_by_gate(state: str, reasons: Collection[Reason]) -> str:
    """A tier's state where the gate has `reasons` to be closed: no lease holds, whatever an agent said last."""
    return State.RUNNING if state == SERVING and reasons else state


def keep_states(session: Session, at: datetime) -> None:
    """Note beside each tier's tick of `at` what its state was, by what this tick has shown of its resources."""
    instances: dict[str, list[ResourceRow]] = {}
    for row in session.exec(select(ResourceRow).where(ResourceRow.kind == ResourceKind.INSTANCE)).all():
        instances.setdefault(row.tier, []).append(row)
    agents: dict[str, list[AgentRow]] = {}
    for agent in session.exec(select(AgentRow)).all():
        agents.setdefault(agent.tier, []).append(agent)
    for tick in session.exec(select(TierTick).where(TierTick.at == at)).all():
        tick.state = tier_state(instances.get(tick.tier, ()), agents.get(tick.tier, ()))


def state_at(session: Session, tier: str, at: datetime) -> str | None:
    """A tier's state at the last tick up to `at`; None where none has told it."""
    told = select(TierTick.state).where(TierTick.tier == tier, TierTick.at <= at)
    return session.exec(told.order_by(col(TierTick.at).desc()).limit(1)).first()


def is_up_since(session: Session, tier: str, since: datetime) -> bool:
    """Whether something of a tier is up, and has been since then or came up without the tier being asleep after it.

    What sleeps in between and is up again was started by somebody, for a reason of their own.
    """
    rows = [row for row in instances(session, tier) if row.state not in (State.ASLEEP, State.GONE)]
    if not rows:
        return False
    up_at = min(row.state_since_at or since for row in rows)
    ticks = (col(TierTick.complete), TierTick.at > since, TierTick.at <= up_at)  # else nobody saw what it did
    slept = select(TierTick.at).where(TierTick.tier == tier, TierTick.state == State.ASLEEP, *ticks)
    return up_at <= since or session.exec(slept.limit(1)).first() is None
