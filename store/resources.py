"""What a tier consists of: its instances and volumes, each with the bill counters that it has."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement
from sqlalchemy import select as core_select
from sqlmodel import Session, col, func, select

from store.counters import not_ended, samples_of
from store.pace import Pace, paces_at
from store.spend import unsettled
from store.steps import step_of
from store.tables import BillCounter, BillSample, ResourceRow
from store.unknown import NOT_RECORDED, Unknown
from store.words import ResourceKind

_LATEST = datetime.max.replace(tzinfo=UTC)
_ENDED_SHOWN = 24  # a bill by the hour is a new counter each hour: a day of those that have ended
_NOT_LISTED = Unknown("no inventory shows it")
_NO_RATE = Unknown("the provider quotes no rate")
_KINDS = list(ResourceKind)


@dataclass(frozen=True, slots=True)
class BillView:
    """A bill counter. `raw` is its total in the provider's own text, empty where it was never read.

    `spent_nusd`: since it was first seen. `moved_at` is None where it has not moved since then.
    """

    counter_id: int
    counter: str
    currency: str
    total_nusd: int | Unknown
    raw: str
    opening_nusd: int
    spent_nusd: int | Unknown
    read_at: datetime | None
    as_of_at: datetime | None
    first_seen_at: datetime
    started_at: datetime | None
    moved_at: datetime | Unknown | None
    step: timedelta | Unknown
    is_excluded: bool
    unsettled_at: datetime | None
    final_at: datetime | None


@dataclass(frozen=True, slots=True)
class ResourceView:
    """An instance or a volume. `bills`: those that may still move, and the newest of those that have ended."""

    kind: str
    resource_id: str
    name: str
    state: str | Unknown
    raw_state: str | Unknown
    address: str | Unknown | None
    rate_nusd_per_hour: int | Unknown
    state_since_at: datetime | None
    seen_at: datetime | None
    attached_to: str | Unknown | None
    bills: tuple[BillView, ...]


def resources(session: Session, tier: str, at: datetime | None = None) -> tuple[ResourceView, ...]:
    """The tier's resources, instances first: now, or as they were known at a past instant.

    A bill whose resource no inventory shows has a view of its own. Of a past instant the state is known where it
    has not changed since, the bills always.
    """
    until = at or _LATEST
    bills: dict[tuple[str, str, str], list[BillView]] = {}
    views: dict[tuple[str, str, str], ResourceView] = {}
    known = samples_of(session, _is_shown(tier, until), until)
    paces = paces_at(session, [counter for counter, _ in known], until)
    for (counter, sample), pace in zip(known, paces, strict=True):
        key = (counter.provider, counter.kind, counter.resource_id)
        bills.setdefault(key, []).append(_bill(counter, sample, pace, until))
        views[key] = _unlisted(counter, sample)
    for row in session.exec(select(ResourceRow).where(ResourceRow.tier == tier)).all():
        key = (row.provider, row.kind, row.resource_id)
        if at is None:
            views[key] = _listed(row)
        elif key in views or _has_been_so(row, at):
            views[key] = _listed_then(row, at, views.get(key))
    ordered = sorted(views, key=lambda key: (_KINDS.index(ResourceKind(key[1])), key))
    return tuple(replace(views[key], bills=tuple(bills.get(key, ()))) for key in ordered)


def _is_shown(tier: str, until: datetime) -> ColumnElement[bool]:
    """Whether a bill counter of `tier` had not ended by then, or is among the newest of its resource that had."""
    resource = [getattr(BillCounter, name) for name in ("provider", "kind", "resource_id")]
    place = func.row_number().over(partition_by=resource, order_by=col(BillCounter.id).desc()).label("place")
    of_tier, ended = col(BillCounter.tier) == tier, col(BillCounter.final_at) <= until
    placed = core_select(col(BillCounter.id).label("id"), place).where(of_tier, ended).subquery()
    return not_ended(until, of_tier, core_select(placed.c.id).where(placed.c.place <= _ENDED_SHOWN))


def _bill(counter: BillCounter, sample: BillSample | None, pace: Pace, until: datetime) -> BillView:
    assert counter.id is not None
    unsettled_at = counter.unsettled_at
    if unsettled_at is not None and unsettled_at > until:
        unsettled_at = None
    total: int | Unknown = Unknown("never read") if sample is None else sample.total_nusd
    spent: int | Unknown = total if isinstance(total, Unknown) else total - counter.opening_nusd
    forgotten = pace.moved_at is None and counter.moved_at is not None
    return BillView(
        counter_id=counter.id,
        counter=counter.counter,
        currency=counter.currency,
        total_nusd=total,
        raw=sample.raw if sample else "",
        opening_nusd=counter.opening_nusd,
        spent_nusd=spent if unsettled_at is None else unsettled(counter.id, counter.counter, unsettled_at),
        read_at=sample.at if sample else None,
        as_of_at=sample.as_of_at if sample else None,
        first_seen_at=counter.first_seen_at,
        started_at=counter.started_at,
        moved_at=Unknown("not within the day before") if forgotten else pace.moved_at,
        step=step_of(pace.steps) or Unknown("fewer than three steps seen"),
        is_excluded=counter.excluded,
        unsettled_at=unsettled_at,
        final_at=pace.final_at,
    )


def _unlisted(counter: BillCounter, sample: BillSample | None) -> ResourceView:
    rate = sample.rate_nusd_per_hour if sample else None
    return ResourceView(
        kind=counter.kind,
        resource_id=counter.resource_id,
        name=counter.name,
        state=_NOT_LISTED,
        raw_state=_NOT_LISTED,
        address=_NOT_LISTED,
        rate_nusd_per_hour=_NO_RATE if rate is None else rate,
        state_since_at=None,
        seen_at=None,
        attached_to=_NOT_LISTED,
        bills=(),
    )


def _listed(row: ResourceRow) -> ResourceView:
    return ResourceView(
        kind=row.kind,
        resource_id=row.resource_id,
        name=row.name,
        state=row.state,
        raw_state=row.raw_state,
        address=row.address,
        rate_nusd_per_hour=_NO_RATE if row.rate_nusd_per_hour is None else row.rate_nusd_per_hour,
        state_since_at=row.state_since_at,
        seen_at=row.seen_at,
        attached_to=row.attached_to,
        bills=(),
    )


def _listed_then(row: ResourceRow, at: datetime, billed: ResourceView | None) -> ResourceView:
    is_same = _has_been_so(row, at)
    return replace(
        _listed(row),
        state=row.state if is_same else NOT_RECORDED,
        raw_state=NOT_RECORDED,
        address=NOT_RECORDED,
        rate_nusd_per_hour=NOT_RECORDED if billed is None else billed.rate_nusd_per_hour,
        state_since_at=row.state_since_at if is_same else None,
        seen_at=None,
        attached_to=NOT_RECORDED,
    )


def _has_been_so(row: ResourceRow, at: datetime) -> bool:
    return row.state_since_at is not None and row.state_since_at <= at
