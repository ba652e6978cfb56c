"""The bill counters as the gate sees them: what bills now, how fast, and since when it has not moved.

The counters of one resource are one meter: an hour's bucket goes on where the one before it has ended. Two
statements for all of them together: their rows, then the samples between which each slope is measured.
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

from store.falls import rises_since
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
    """Every resource whose bill may still move, of the whole account; without contracts and what is ignored."""
    meters = _meters(session.connection().execute(_rows()).all())
    spans = [_span(meter) for meter in meters]
    asked = [
        (row.id, edge)
        for meter, span in zip(meters, spans, strict=True)
        if span is not None
        for row in meter.rows
        for edge in span
    ]
    marks = _marks(session, asked)
    return tuple(
        _metered(session, meter, _slope(session, meter, span, marks), day_start, frozen_after)
        for meter, span in zip(meters, spans, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Meter:
    """A resource's counters that may still move.

    `newest`: the one whose period, or whose life, began last, of those that have moved if any has: a new hour's
    bucket says nothing while it is empty, and the bill speaks up to where the hour before it has come.
    """

    rows: Sequence[Row[Any]]

    @property
    def newest(self) -> Row[Any]:
        moved = [row for row in self.rows if row.moved_at is not None]
        return max(moved or self.rows, key=lambda row: (row.started_at or row.first_seen_at, row.id))

    @property
    def step(self) -> timedelta | None:
        """The newest counter's, or until it has shown one, that of the counter before it."""
        known = [(row.id == self.newest.id, row.id, step) for row in self.rows if (step := step_of(row.steps))]
        return max(known)[2] if known else None

    @property
    def rate_nusd_per_hour(self) -> int | None:
        rates = [row.rate_nusd_per_hour for row in self.rows if row.rate_nusd_per_hour is not None]
        return sum(rates) if rates else None


def _meters(rows: Sequence[Row[Any]]) -> list[_Meter]:
    found: dict[tuple[str, str, str], list[Row[Any]]] = {}
    for row in rows:
        found.setdefault((row.provider, row.kind, row.resource_id), []).append(row)
    return [_Meter(of_one) for of_one in found.values()]


_COUNTER = (
    *("id", "provider", "counter", "tier", "kind", "resource_id", "currency"),
    *("opening_nusd", "first_seen_at", "started_at", "moved_at", "steps"),
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
    is_its_resource = and_(
        col(ResourceRow.provider) == BillCounter.provider,
        col(ResourceRow.kind) == BillCounter.kind,
        col(ResourceRow.resource_id) == BillCounter.resource_id,
    )
    return (
        select(
            *(getattr(BillCounter, name) for name in _COUNTER),
            first.label("origin"),
            col(last.at).label("read_at"),
            *(getattr(last, name) for name in ("as_of_at", "rate_nusd_per_hour", "fell_at")),
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


def _span(meter: _Meter) -> tuple[datetime, datetime] | None:
    """Between which instants the slope is measured: over 15 minutes or three steps, within the present state."""
    row = meter.newest
    is_asleep = row.state == State.ASLEEP
    end = row.read_at if is_asleep else row.moved_at
    if end is None:
        return None
    step = meter.step or _ASSUMED_STEP
    first_seen_at = min(one.first_seen_at for one in meter.rows)
    start = max(end - max(SLOPE_OVER, SLOPE_STEPS * step), first_seen_at)
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
    fell_at: datetime | None


def _slope(
    session: Session,
    meter: _Meter,
    span: tuple[datetime, datetime] | None,
    marks: Mapping[tuple[int, datetime], _Mark],
) -> int | None:
    """Nano-dollars an hour between two samples, rounded up; None while there are not two.

    By the provider's clock where more of its time has passed: two looks at once may see two of its seconds. A
    counter that began in between had nothing before.
    """
    if span is None:
        return None
    starts = {row.id: mark for row in meter.rows if (mark := marks.get((row.id, span[0]))) is not None}
    ends = {row.id: mark for row in meter.rows if (mark := marks.get((row.id, span[1]))) is not None}
    if not starts or not ends:
        return None
    start, end = max(starts.values(), key=lambda mark: mark.at), max(ends.values(), key=lambda mark: mark.at)
    if start.at >= end.at:
        return None
    elapsed = max(end.at - start.at, end.as_of_at - start.as_of_at)
    risen_nusd = sum(_risen(session, id_, starts.get(id_), mark) for id_, mark in ends.items())
    return -(-risen_nusd * _HOUR_US // (elapsed // timedelta(microseconds=1)))


def _risen(session: Session, counter_id: int, start: _Mark | None, end: _Mark) -> int:
    """A bill that has fallen rises as fast as before, though its debits stand until the fall is decided."""
    debited = end.debits_nusd - (0 if start is None else start.debits_nusd)
    if end.fell_at is None:
        return debited
    since = end.fell_at if start is None else max(end.fell_at, start.at)
    return debited + rises_since(session, counter_id, since, end.at)


def _marks(session: Session, asked: Sequence[tuple[int, datetime]]) -> dict[tuple[int, datetime], _Mark]:
    """The last sample of each counter at or before an instant."""
    found: dict[tuple[int, datetime], _Mark] = {}
    for begin in range(0, len(asked), _AT_ONCE):
        part = asked[begin : begin + _AT_ONCE]
        values: dict[str, object] = {f"id{k}": id_ for k, (id_, _) in enumerate(part)}
        values |= {f"at{k}": at for k, (_, at) in enumerate(part)}
        for k, at, as_of_at, debits_nusd, fell_at in session.connection().execute(_samples(len(part)), values):
            found[part[k]] = _Mark(at, as_of_at, debits_nusd, fell_at)
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
    wanted = [getattr(BillSample, name) for name in ("at", "as_of_at", "debits_nusd", "fell_at")]
    return select(asked.c.k, *wanted).join_from(asked, BillSample, is_it)


def _metered(
    session: Session, meter: _Meter, slope: int | None, day_start: datetime, frozen_after: timedelta
) -> Metered:
    row = meter.newest
    moved_at = _moved_at(meter, day_start)
    runs = row.kind == ResourceKind.INSTANCE and row.state in _RUNS
    unplaced = [
        one
        for one in meter.rows
        if one.first_seen_at >= day_start
        and one.opening_nusd > 0
        and one.origin is None
        and _may_be_of(one, day_start)
    ]
    may_be_frozen = runs and row.read_at - moved_at >= frozen_after
    return Metered(
        counter=row.counter,
        tier=row.tier,
        course=_course(row, moved_at),
        moved_at=moved_at,
        step=meter.step,
        trails=_trails(row),
        rate_nusd_per_hour=meter.rate_nusd_per_hour,
        slope_nusd_per_hour=slope,
        is_asleep=row.state == State.ASLEEP,
        runs_since=(row.state_since_at or row.first_seen_at) if runs else None,
        unplaced_nusd=sum(one.opening_nusd for one in unplaced),
        unplaced_since_at=min((_unplaced_since(one, day_start) for one in unplaced), default=None),
        quantum_nusd=_quantum(session, row.id, moved_at) if may_be_frozen else 0,
        undecided_nusd=sum(
            rises_since(session, one.id, one.fell_at) for one in meter.rows if one.fell_at is not None
        ),
        provider=row.provider,
        currency=row.currency,
    )


def _moved_at(meter: _Meter, day_start: datetime) -> datetime:
    """Up to when the bill speaks, as far as today is concerned.

    A bucket that is first stated when it is over is placed in its own period: what is not stated yet of the periods
    that ended before today will be yesterday's money.
    """
    row = meter.newest
    moved_at: datetime = row.moved_at or row.first_seen_at
    step = meter.step
    is_stated_late = moved_at < row.first_seen_at and row.origin != "moved"
    if not is_stated_late or step is None or moved_at >= day_start:
        return moved_at
    return moved_at + (day_start - moved_at) // step * step


def _may_be_of(row: Row[Any], day_start: datetime) -> bool:
    """Whether an opening balance may have been billed today: a bucket that was over by then was not."""
    return row.moved_at is None or bool(row.moved_at > day_start)


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
