"""What is known now of resources and agents: for screens and operations, never for a figure."""

from collections.abc import Callable, Collection
from datetime import datetime

from sqlmodel import Session, col, select

from store.journal import note
from store.operations import was_asked_to_sleep
from store.tables import AgentRow, ResourceRow
from store.words import IGNORED, UNASSIGNED, ResourceKind, State

_RUNS = (State.RUNNING, State.HALTED_BILLED)
_STOPPED = (State.SLEEPING, State.ASLEEP, State.GONE)


def keep_resources(
    session: Session,
    provider: str,
    rows: Collection[ResourceRow],
    at: datetime,
    *,
    complete: bool,
    with_rates: bool = True,
) -> None:
    """Replace what is known of a provider's resources; one absent from a complete list is gone.

    Rows read `with_rates` replace the rates too: an inventory alone quotes none. What was read before `at` but
    kept since is left: a slow tick must not undo what an operation has just seen.
    """
    stored = session.exec(select(ResourceRow).where(ResourceRow.provider == provider)).all()
    by_ref = {(row.kind, row.resource_id): row for row in stored}
    for row in rows:
        before = by_ref.get((row.kind, row.resource_id))
        if before is not None and before.seen_at > at:
            continue
        same = before is not None and before.state == row.state
        row.unasked_at = _unasked(session, before, row.state, at)
        if before is not None and not with_rates:
            row.rate_nusd_per_hour = before.rate_nusd_per_hour
        row.state_since_at = before.state_since_at if before is not None and same else at
        session.merge(row)
    if not complete:
        return
    listed = {(row.kind, row.resource_id) for row in rows}
    for known in stored:
        if (known.kind, known.resource_id) not in listed and known.seen_at <= at:
            known.unasked_at = _unasked(session, known, State.GONE, at)
            known.state_since_at = known.state_since_at if known.state == State.GONE else at
            known.state, known.raw_state, known.seen_at = State.GONE, "not listed", at
            known.can_sleep = known.can_wake = False


def _unasked(session: Session, before: ResourceRow | None, state: str, at: datetime) -> datetime | None:
    """When an instance of a tier was first seen to have stopped though nobody had asked; None while it runs."""
    if before is None or before.kind != ResourceKind.INSTANCE or before.tier in (UNASSIGNED, IGNORED):
        return None
    if state not in _STOPPED:
        return None if state in _RUNS else before.unasked_at
    if before.state not in _RUNS or was_asked_to_sleep(session, before.tier, before.state_since_at):
        return before.unasked_at
    detail = f"{before.raw_state} → {state}, and nobody here had asked"
    note(session, at, "provider", "stopped unasked", f"{before.tier}/{before.resource_id}", detail)
    return at


def keep_agent(session: Session, row: AgentRow) -> None:
    """Replace what is known of an agent."""
    session.merge(row)


def mark_lease(session: Session, agents: Collection[str], *, is_open: bool) -> None:
    """Note which lease these agents have confirmed."""
    for row in session.exec(select(AgentRow).where(col(AgentRow.agent).in_(agents))).all():
        row.lease_open = is_open


def forget_agents(session: Session, present: Collection[str]) -> None:
    """Forget agents that the settings no longer name; their ledgers stay."""
    for row in session.exec(select(AgentRow).where(col(AgentRow.agent).not_in(present))).all():
        session.delete(row)


def forget_resources(session: Session, named: Collection[str]) -> None:
    """Forget resources of providers that the settings no longer name; their bills stay."""
    for row in session.exec(select(ResourceRow).where(col(ResourceRow.provider).not_in(named))).all():
        session.delete(row)


def follow_names(session: Session, tier_of: Callable[[str, ResourceKind, str], str]) -> None:
    """Give what has gone to the tier that names it today: nobody reads it any more, and its tier may have gone too.

    One that no tier names is nobody's pre-emption.
    """
    for row in session.exec(select(ResourceRow).where(ResourceRow.state == State.GONE)).all():
        tier = tier_of(row.provider, ResourceKind(row.kind), row.resource_id)
        if tier in (UNASSIGNED, IGNORED):
            row.unasked_at = None
        else:
            row.tier = tier


def mark_unreachable(session: Session, agent: str, tier: str, problem: str) -> None:
    """Note that an agent did not answer; what it said before stays, its lease too: that may still run."""
    row = session.get(AgentRow, agent) or AgentRow(agent=agent, tier=tier)
    row.problem, row.in_flight = problem, 0
    session.add(row)
