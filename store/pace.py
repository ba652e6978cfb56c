"""How a bill moved as of a past instant: what its counter's row has forgotten since, read off its samples again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import func, select
from sqlmodel import Session, col

from store.steps import KEPT, moved
from store.tables import BillSample

_LOOK_BACK = (
    timedelta(hours=1),
    timedelta(hours=24),
)  # most bills move each few minutes; the few others take longer


@dataclass(frozen=True, slots=True)
class Pace:
    """A counter's movements up to an instant, as its row had them then."""

    steps: str | None
    moved_at: datetime | None
    final_at: datetime | None


def paces_at(session: Session, rows: Sequence[Any], at: datetime) -> list[Pace]:
    """Of each of `rows`, which name a counter by `id`, its pace at `at`; by as much of its history as a day has."""
    later = [row.id for row in rows if row.moved_at is not None and row.moved_at > at]
    found = _movements(session, later, at)
    return [_pace(row, found.get(row.id), at) for row in rows]


def _pace(row: Any, movements: Sequence[datetime] | None, at: datetime) -> Pace:
    final_at = row.final_at if row.final_at is not None and row.final_at <= at else None
    if row.moved_at is None or row.moved_at <= at:
        return Pace(row.steps, row.moved_at, final_at)
    if not movements:
        return Pace(None, None, final_at)
    steps: str | None = moved(None, None, movements[0])
    for before, after in pairwise(movements):
        steps = moved(steps, before, after)
    return Pace(steps, movements[-1], final_at)


def _movements(session: Session, ids: Sequence[int], at: datetime) -> dict[int, list[datetime]]:
    """By counter, the ticks up to `at` at which it moved, oldest first: as many as its row keeps intervals of."""
    found: dict[int, list[datetime]] = {}
    for span in _LOOK_BACK:
        wanted = [id_ for id_ in ids if len(found.get(id_, ())) <= KEPT]
        if not wanted:
            break
        found.update(_moves_within(session, wanted, at - span, at))
    return {id_: movements[-KEPT - 1 :] for id_, movements in found.items()}


def _moves_within(
    session: Session, ids: Sequence[int], start: datetime, end: datetime
) -> dict[int, list[datetime]]:
    of_counter, total = col(BillSample.counter_id), col(BillSample.total_nusd)
    before = func.lag(total).over(partition_by=of_counter, order_by=col(BillSample.at))
    samples = (
        select(of_counter.label("id"), col(BillSample.at).label("at"), (total - before).label("rise"))
        .where(of_counter.in_(ids), col(BillSample.at) >= start, col(BillSample.at) <= end)
        .where(func.coalesce(BillSample.origin, "moved") == "moved")
        .subquery("samples")
    )
    query = select(samples.c.id, samples.c.at).where(samples.c.rise != 0).order_by(samples.c.id, samples.c.at)
    found: dict[int, list[datetime]] = {}
    for id_, at in session.connection().execute(query):
        found.setdefault(id_, []).append(at)
    return found
