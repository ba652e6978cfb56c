"""Operations: a hibernate or a wake that someone asked for, from the request to its outcome.

A screen writes the request; the leading collector carries it out, phase by phase. One at a time per tier.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlmodel import Session, col, select

from store.errors import MtokError
from store.journal import note
from store.tables import OperationPhase, OperationRow, ResourceRow
from store.words import ResourceKind, State


class OperationKind(StrEnum):
    """What may be asked of a tier."""

    HIBERNATE = "hibernate"
    WAKE = "wake"


class Phase(StrEnum):
    """The phases, in the order in which an operation goes through those of its kind."""

    REQUESTED = "requested"
    DRAINING = "draining"  # hibernate: no new requests, those in flight finish
    PROVIDER = "provider"  # the provider has been asked
    RUNNING = "running"  # wake: the instance runs, its agent does not answer yet
    LEASED = "leased"  # wake: the agent answers and has been given its lease
    DONE = "done"


class OperationOutcome(StrEnum):
    """How an operation ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


class OperationRefused(MtokError):
    """What was asked cannot be done now; nothing was done."""

    def __init__(self, kind: str, tier: str, why: str) -> None:
        super().__init__(f"{kind} {tier}: {why}; nothing was done")
        self.kind, self.tier, self.why = kind, tier, why


def request(
    session: Session, now: datetime, kind: OperationKind, tier: str, *, actor: str, reason: str, seen: str
) -> OperationRow:
    """Ask for an operation, journaled. `seen` is the tier's state that the engineer decided on.

    Raises:
        OperationRefused: another one is under way, the state has changed, or it makes no sense.
    """
    running = current(session, tier)
    if running is not None:
        raise OperationRefused(kind, tier, f"a {running.kind} is under way (phase {running.phase})")
    state = seen_state(session, tier)
    if state != seen:
        raise OperationRefused(kind, tier, f"its state is now {state!r}, no longer {seen!r}")
    why = why_not(session, kind, tier)
    if why is not None:
        raise OperationRefused(kind, tier, why)
    row = OperationRow(
        tier=tier,
        kind=kind,
        actor=actor,
        reason=reason,
        seen=seen,
        requested_at=now,
        phase=Phase.REQUESTED,
        phase_at=now,
    )
    session.add(row)
    session.flush()
    assert row.id is not None
    session.add(OperationPhase(operation_id=row.id, phase=Phase.REQUESTED, at=now))
    note(session, now, actor, f"{kind} asked", tier, reason)
    return row


def enter(session: Session, row: OperationRow, phase: Phase, now: datetime, detail: str = "") -> None:
    """Move an operation on to its next phase, time-stamped."""
    assert row.id is not None
    row.phase, row.phase_at, row.detail = phase, now, detail
    session.add(row)
    session.merge(OperationPhase(operation_id=row.id, phase=phase, at=now, detail=detail))


def finish(session: Session, row: OperationRow, outcome: OperationOutcome, now: datetime, detail: str = "") -> None:
    """End an operation with its outcome, journaled."""
    if outcome is OperationOutcome.DONE:
        enter(session, row, Phase.DONE, now, detail)
    row.outcome, row.finished_at, row.detail = outcome, now, detail
    session.add(row)
    note(session, now, row.actor, f"{row.kind} {outcome}", row.tier, detail)


def current(session: Session, tier: str) -> OperationRow | None:
    """The tier's operation under way, if any."""
    query = select(OperationRow).where(col(OperationRow.finished_at).is_(None), OperationRow.tier == tier)
    return session.exec(query).first()


def under_way(session: Session) -> Sequence[OperationRow]:
    """Every operation that has not ended, oldest first."""
    query = select(OperationRow).where(col(OperationRow.finished_at).is_(None))
    return session.exec(query.order_by(col(OperationRow.id))).all()


def instances(session: Session, tier: str) -> Sequence[ResourceRow]:
    """The tier's instances as last seen."""
    query = select(ResourceRow).where(ResourceRow.tier == tier, ResourceRow.kind == ResourceKind.INSTANCE)
    return session.exec(query.order_by(col(ResourceRow.resource_id))).all()


def seen_state(session: Session, tier: str) -> str:
    """The provider's own words for the tier's instances: what an engineer sees and decides on."""
    return ", ".join(f"{row.resource_id}={row.raw_state}" for row in instances(session, tier))


def why_not(session: Session, kind: OperationKind, tier: str) -> str | None:
    """Why this operation makes no sense in the tier's present state, or None."""
    rows = instances(session, tier)
    if not rows:
        return "the provider's inventory shows no instance of it"
    able = [row for row in rows if (row.can_sleep if kind is OperationKind.HIBERNATE else row.can_wake)]
    if able:
        return None
    if kind is OperationKind.HIBERNATE and all(row.state == State.ASLEEP for row in rows):
        return "it is asleep already"
    if kind is OperationKind.WAKE and all(row.state == State.RUNNING for row in rows):
        return "it is running already"
    return f"the provider does not allow it in state {seen_state(session, tier)}"
