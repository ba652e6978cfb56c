"""Wake anatomy: when each phase of an operation was reached, and what past ones of a tier took and cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from sqlmodel import Session, col, select

from store.figures import Spend
from store.figures_read import figures
from store.phases import PHASES, OperationKind, OperationOutcome, Phase, Reached
from store.tables import OperationPhase, OperationRow, TierTick
from store.unknown import Unknown
from store.window import Window


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One operation, phase by phase. `cost`: billed to its tier meanwhile, by the counters, tick to tick."""

    id: int
    kind: OperationKind
    tier: str
    actor: str
    reason: str
    requested_at: datetime
    finished_at: datetime | None
    phase: str
    outcome: str | None
    detail: str
    calls: int
    reached: tuple[Reached, ...]
    cost: Spend | Unknown

    @property
    def took(self) -> timedelta | None:
        """From the request to the outcome; None while it is under way."""
        return None if self.finished_at is None else self.finished_at - self.requested_at


def anatomy(session: Session, row: OperationRow) -> Anatomy:
    """One operation as it stands."""
    assert row.id is not None
    kind = OperationKind(row.kind)
    return Anatomy(
        id=row.id,
        kind=kind,
        tier=row.tier,
        actor=row.actor,
        reason=row.reason,
        requested_at=row.requested_at,
        finished_at=row.finished_at,
        phase=row.phase,
        outcome=row.outcome,
        detail=row.detail,
        calls=row.calls,
        reached=reached_phases(session, row.id, kind),
        cost=_cost(session, row),
    )


def past(session: Session, tier: str, kind: OperationKind, count: int) -> Sequence[Anatomy]:
    """The last `count` operations of one kind, newest first, the one under way included."""
    query = select(OperationRow).where(OperationRow.tier == tier, OperationRow.kind == kind)
    rows = session.exec(query.order_by(col(OperationRow.id).desc()).limit(count)).all()
    return [anatomy(session, row) for row in rows]


def spread(done: Sequence[Anatomy]) -> Mapping[Phase, tuple[timedelta, timedelta]]:
    """Median and worst time of each phase, over those that were done."""
    times: dict[Phase, list[timedelta]] = {}
    for one in done:
        if one.outcome == OperationOutcome.DONE:
            for reached in one.reached:
                times.setdefault(reached.phase, []).append(reached.took)
    return {phase: (_median(found), max(found)) for phase, found in times.items()}


def whole(done: Sequence[Anatomy]) -> tuple[timedelta, timedelta] | None:
    """Median and worst time from the request to the outcome, over those that were done."""
    times = [one.took for one in done if one.took is not None and one.outcome == OperationOutcome.DONE]
    return (_median(times), max(times)) if times else None


def _median(times: Sequence[timedelta]) -> timedelta:
    return timedelta(seconds=median(time.total_seconds() for time in times))


def reached_phases(session: Session, operation_id: int, kind: OperationKind) -> tuple[Reached, ...]:
    """The phases that an operation has reached so far, in their order."""
    query = select(OperationPhase).where(OperationPhase.operation_id == operation_id)
    return phases_in(session.exec(query).all(), kind)


def phases_in(rows: Iterable[OperationPhase], kind: OperationKind) -> tuple[Reached, ...]:
    """The phases of one operation, which are read already, in their order."""
    stored = {row.phase: row for row in rows}
    found: list[Reached] = []
    for phase in PHASES[kind]:
        row = stored.get(phase)
        if row is not None:
            before = found[-1].at if found else row.at
            found.append(Reached(phase, row.at, max(row.at - before, timedelta(0)), row.detail))
    return tuple(found)


def _cost(session: Session, row: OperationRow) -> Spend | Unknown:
    """Up to the first complete tick after its end: while a tier changes its state its ticks are incomplete."""
    if row.finished_at is None:
        return Unknown("it is under way")
    query = select(TierTick.at).where(TierTick.tier == row.tier, col(TierTick.complete))
    end = session.exec(query.where(TierTick.at >= row.finished_at).order_by(col(TierTick.at)).limit(1)).first()
    if end is None:
        return Unknown("no complete tick since it ended")
    return figures(session, row.tier, Window(row.requested_at, end)).spend
