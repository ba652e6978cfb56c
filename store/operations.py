"""Operations: a hibernate or a wake that someone asked for, from the request to its outcome.

A screen writes the request; the leading collector carries it out, phase by phase. One at a time per tier.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from store.errors import MtokError
from store.journal import note
from store.phases import OperationKind, OperationOutcome, Phase
from store.tables import OperationCall, OperationPhase, OperationRow, ResourceRow
from store.words import ResourceKind, State


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
    if running is not None and _may_end_for(running, kind):
        finish(session, running, OperationOutcome.DONE, now, "woken before its bill had come to rest")
        session.flush()
    elif running is not None:
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
    try:
        session.flush()
    except IntegrityError:  # PostgreSQL: somebody else's request was written since we looked
        raise OperationRefused(kind, tier, "another operation was asked for at this moment") from None
    assert row.id is not None
    session.add(OperationPhase(operation_id=row.id, phase=Phase.REQUESTED, at=now))
    if kind is OperationKind.HIBERNATE:
        _asked_for(session, row)
    note(session, now, actor, f"{kind} asked", tier, reason)
    return row


def _may_end_for(running: OperationRow, kind: OperationKind) -> bool:
    """A tier that sleeps, whose bill alone has yet to come to rest, may be woken."""
    return kind is OperationKind.WAKE and running.kind == OperationKind.HIBERNATE and running.phase == Phase.ASLEEP


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
        _asked_for(session, row)
    row.outcome, row.finished_at, row.detail = outcome, now, detail
    session.add(row)
    note(session, now, row.actor, f"{row.kind} {outcome}", row.tier, detail)


def _asked_for(session: Session, row: OperationRow) -> None:
    """What an engineer or a rule has put to sleep has not stopped unasked."""
    for instance in instances(session, row.tier):
        instance.unasked_at = None


def calls_of(session: Session, operation_id: int) -> Sequence[OperationCall]:
    """The provider calls of an operation, in the order in which they were sent."""
    query = select(OperationCall).where(OperationCall.operation_id == operation_id)
    return session.exec(query.order_by(col(OperationCall.n))).all()


def record_call(
    session: Session, row: OperationRow, resource_id: str, action: str, seen: str, now: datetime
) -> OperationCall:
    """Store and journal a call that is about to be sent: one attempt."""
    assert row.id is not None
    row.calls += 1
    session.add(row)
    call = OperationCall(
        operation_id=row.id, n=row.calls, resource_id=resource_id, action=action, seen=seen, sent_at=now
    )
    session.add(call)
    note(session, now, row.actor, f"{action} sent", f"{row.tier}/{resource_id}", f"attempt {row.calls}, in {seen}")
    return call


def answer_call(
    session: Session, row: OperationRow, call: OperationCall, answer: str, detail: str, now: datetime
) -> None:
    """Store and journal what the provider answered."""
    call.answer, call.detail, call.answered_at = answer, detail, now
    session.add(call)
    note(session, now, row.actor, f"{call.action} {answer}", f"{row.tier}/{call.resource_id}", detail)


def end_call(session: Session, row: OperationRow, call: OperationCall, ended: str, now: datetime) -> None:
    """Store and journal how an attempt came out, by the state that was read."""
    call.ended, call.ended_at = ended, now
    session.add(call)
    detail = f"attempt {call.n}, answer: {call.answer or 'none'}"
    note(session, now, row.actor, f"{call.action} {ended}", f"{row.tier}/{call.resource_id}", detail)


def last_of(session: Session, tier: str) -> OperationRow | None:
    """The tier's newest operation, if it ever had one."""
    query = select(OperationRow).where(OperationRow.tier == tier).order_by(col(OperationRow.id).desc())
    return session.exec(query.limit(1)).first()


def was_asked_to_sleep(session: Session, tier: str, since: datetime | None) -> bool:
    """Whether a hibernate of the tier is under way, or was asked for after `since`."""
    query = select(OperationRow).where(OperationRow.tier == tier, OperationRow.kind == OperationKind.HIBERNATE)
    row = session.exec(query.order_by(col(OperationRow.id).desc()).limit(1)).first()
    return row is not None and (row.finished_at is None or since is None or row.requested_at >= since)


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
    return seen_in(instances(session, tier))


def seen_in(rows: Sequence[ResourceRow]) -> str:
    """`seen_state` of a tier whose instances are read already."""
    return ", ".join(f"{row.resource_id}={row.raw_state}" for row in rows)


def states_in(seen: str) -> dict[str, str]:
    """The raw state of each instance, as `seen_state` wrote them."""
    return dict(part.split("=", 1) for part in seen.split(", ") if "=" in part)


def why_not(session: Session, kind: OperationKind, tier: str) -> str | None:
    """Why this operation makes no sense in the tier's present state, or None."""
    return why_not_in(instances(session, tier), kind)


def why_not_in(rows: Sequence[ResourceRow], kind: OperationKind) -> str | None:
    """`why_not` for a tier whose instances are read already."""
    if not rows:
        return "the provider's inventory shows no instance of it"
    able = [row for row in rows if (row.can_sleep if kind is OperationKind.HIBERNATE else row.can_wake)]
    if able:
        return None
    if kind is OperationKind.HIBERNATE and all(row.state == State.ASLEEP for row in rows):
        return "it is asleep already"
    if kind is OperationKind.WAKE and all(row.state == State.RUNNING for row in rows):
        return "it is running already"
    return f"the provider does not allow it in state {seen_in(rows)}"
