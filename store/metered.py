"""The bill counters as the gate sees them: what bills now, how fast, and since when it has not moved.

Two statements for all counters together: their rows, then the samples between which each slope is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Integer, Row, Select, and_, bindparam, func, literal_column, select, union_all
from sqlalchemy.orm import aliased
from sqlmodel import Session, col
from sqlmodel import select as model_select
from sqlmodel.sql.sqltypes import UTCDateTime

from store.headroom import SLOPE_OVER, SLOPE_STEPS, Course, Metered
from store.steps import is_moving, step_of
from store.tables import BillCounter, BillSample, ResourceRow
from store.words import IGNORED, UNASSIGNED, ResourceKind, State

_AT_ONCE = 100  # SQLite takes 500 terms of a compound select
_HOUR_US = 3_600_000_000
_QUANTUM_SAMPLES = 10
_RUNS = frozenset({State.RUNNING, State.HALTED_BILLED})
_ASSUMED_STEP = timedelta(seconds=60)  # until a counter has shown its own


def metered_counters(session: Session, day_start: datetime, frozen_after: timedelta) -> tuple[Metered, ...]:
    """Every counter that may still move, of the whole account; contracts and what is ignored are left out."""
    rows = session.connection().execute(_rows()).all()
    spans = {row.id: span for row in rows if (span := _span(row)) is not None}
    marks = _marks(session, [(id_, edge) for id_, span in spans.items() for edge in span])
    return tuple(
        _metered(session, row, _slope(spans.get(row.id), row.id, marks), day_start, frozen_after) for row in rows
    )


@cache
def _rows() -> Select[Any]:
    older, last = aliased(BillSample), aliased(BillSample)
    newest = (
        select(func.max(older.at))
        .where(col(older.counter_id) == BillCounter.id)
        .correlate(BillCounter)
        .scalar_subquery()
    )
    first = (
        select(col(BillSample.origin))
        .where(col(BillSample.counter_id) == BillCounter.id)
        .order_by(col(BillSample.at))
        .limit(1)
        .correlate(BillCounter)
        .scalar_subquery()
    )
    names = ("id", "counter", "tier", "kind", "opening_nusd", "first_seen_at", "started_at", "moved_at", "steps")
    is_its_resource = and_(
        col(ResourceRow.provider) == BillCounter.provider,
        col(ResourceRow.kind) == BillCounter.kind,
        col(ResourceRow.resource_id) == BillCounter.resource_id,
    )
    return (
        select(
            *(getattr(BillCounter, name) for name in names),
            first.label("origin"),
            col(last.at).label("read_at"),
            *(getattr(last, name) for name in ("as_of_at", "rate_nusd_per_hour")),
            *(getattr(ResourceRow, name) for name in ("state", "state_since_at", "can_sleep")),
        )
        .select_from(BillCounter)
        .join(last, and_(col(last.counter_id) == BillCounter.id, col(last.at) == newest))
        .outerjoin(ResourceRow, is_its_resource)
        .where(
            col(BillCounter.final_at).is_(None),
            col(BillCounter.unsettled_at).is_(None),
            col(BillCounter.excluded).is_(False),
            col(BillCounter.tier) != IGNORED,
        )
        .order_by(col(BillCounter.id))
    )


def _span(row: Row[Any]) -> tuple[datetime, datetime] | None:
    """Between which instants the slope is measured: over 15 minutes or three steps, within the present state."""
    is_asleep = row.state == State.ASLEEP
    end = row.read_at if is_asleep else row.moved_at
    if end is None:
        return None
    step = step_of(row.steps) or _ASSUMED_STEP
    start = max(end - max(SLOPE_OVER, SLOPE_STEPS * step), row.first_seen_at)
    if row.state_since_at is not None and row.state in (State.ASLEEP, State.RUNNING):
        settled = row.state_since_at + (step + _trails(row) if is_asleep else timedelta(0))
        start = max(start, settled)
    return (start, end) if start < end else None


def _trails(row: Row[Any]) -> timedelta:
    behind: timedelta = row.read_at - row.as_of_at
    return max(behind, timedelta(0))


@dataclass(frozen=True, slots=True)
class _Mark:
    at: datetime
    as_of_at: datetime
    debits_nusd: int


def _slope(
    span: tuple[datetime, datetime] | None, id_: int, marks: Mapping[tuple[int, datetime], _Mark]
) -> int | None:
    """Nano-dollars an hour between two samples, rounded up; None while there are not two.

    By the provider's clock where more of its time has passed: two looks at once may see two of its seconds.
    """
    if span is None:
        return None
    start, end = marks.get((id_, span[0])), marks.get((id_, span[1]))
    if start is None or end is None or start.at >= end.at:
        return None
    elapsed = max(end.at - start.at, end.as_of_at - start.as_of_at)
    return -(-(end.debits_nusd - start.debits_nusd) * _HOUR_US // (elapsed // timedelta(microseconds=1)))


def _marks(session: Session, asked: Sequence[tuple[int, datetime]]) -> dict[tuple[int, datetime], _Mark]:
    """The last sample of each counter at or before an instant."""
    found: dict[tuple[int, datetime], _Mark] = {}
    for begin in range(0, len(asked), _AT_ONCE):
        part = asked[begin : begin + _AT_ONCE]
        values: dict[str, object] = {f"id{k}": id_ for k, (id_, _) in enumerate(part)}
        values |= {f"at{k}": at for k, (_, at) in enumerate(part)}
        for k, at, as_of_at, debits_nusd in session.connection().execute(_samples(len(part)), values):
            found[part[k]] = _Mark(at, as_of_at, debits_nusd)
    return found


@cache
def _samples(count: int) -> Select[Any]:
    rows: list[Any] = [
        select(
            literal_column(str(k)).label("k"),
            bindparam(f"id{k}", type_=Integer).label("id"),
            bindparam(f"at{k}", type_=UTCDateTime).label("at"),
        )
        for k in range(count)
    ]
    asked = union_all(*rows).subquery("asked") if count > 1 else rows[0].subquery("asked")
    older = aliased(BillSample)
    newest = (
        select(func.max(older.at))
        .where(col(older.counter_id) == asked.c.id, col(older.at) <= asked.c.at)
        .correlate(asked)
        .scalar_subquery()
    )
    is_it = and_(col(BillSample.counter_id) == asked.c.id, col(BillSample.at) == newest)
    wanted = (col(BillSample.at), col(BillSample.as_of_at), col(BillSample.debits_nusd))
    return select(asked.c.k, *wanted).join_from(asked, BillSample, is_it)


def _metered(
    session: Session, row: Row[Any], slope: int | None, day_start: datetime, frozen_after: timedelta
) -> Metered:
    moved_at = row.moved_at or row.first_seen_at
    runs = row.kind == ResourceKind.INSTANCE and row.state in _RUNS
    is_unplaced = row.first_seen_at >= day_start and row.opening_nusd > 0 and row.origin is None
    may_be_frozen = runs and row.read_at - moved_at >= frozen_after
    return Metered(
        counter=row.counter,
        tier=row.tier,
        course=_course(row, moved_at),
        moved_at=moved_at,
        step=step_of(row.steps),
        trails=_trails(row),
        rate_nusd_per_hour=row.rate_nusd_per_hour,
        slope_nusd_per_hour=slope,
        is_asleep=row.state == State.ASLEEP,
        runs_since=(row.state_since_at or row.first_seen_at) if runs else None,
        unplaced_nusd=row.opening_nusd if is_unplaced else 0,
        unplaced_since_at=_unplaced_since(row, day_start) if is_unplaced else None,
        quantum_nusd=_quantum(session, row.id, moved_at) if may_be_frozen else 0,
    )


def _unplaced_since(row: Row[Any], day_start: datetime) -> datetime:
    first_seen_at: datetime = row.first_seen_at
    return min(max(day_start, row.started_at or day_start), first_seen_at)


def _course(row: Row[Any], moved_at: datetime) -> Course:
    """What the inventory says; a resource that it does not know cannot be stopped by us."""
    if row.state == State.GONE:
        step = step_of(row.steps) or _ASSUMED_STEP
        return Course.ENDED if not is_moving(step, moved_at, row.read_at) else Course.STOPPABLE
    if row.kind != ResourceKind.INSTANCE or row.tier == UNASSIGNED or row.state is None:
        return Course.UNSTOPPABLE
    if row.state in (State.ASLEEP, State.HALTED_BILLED, State.ERROR, State.UNKNOWN):
        return Course.UNSTOPPABLE
    if row.state == State.RUNNING and not row.can_sleep:
        return Course.UNSTOPPABLE
    return Course.STOPPABLE


def _quantum(session: Session, counter_id: int, moved_at: datetime) -> int:
    """The smallest step that the bill's own text could show lately: its finest decimals."""
    query = model_select(BillSample.raw).where(BillSample.counter_id == counter_id, BillSample.at <= moved_at)
    texts = session.exec(query.order_by(col(BillSample.at).desc()).limit(_QUANTUM_SAMPLES))
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return int(10 ** max(9 - decimals, 0))
