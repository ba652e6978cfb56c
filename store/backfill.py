"""What an outage of ours left open: the edges of days at which nobody read a counter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam
from sqlmodel import Session, col, select
from sqlmodel.sql.sqltypes import UTCDateTime

from store.counters import bill_after, bill_at, first_bill, last_bill, not_ended
from store.reconcile import Resource
from store.tables import BillCounter, ProviderTick, ResourceRow
from store.window import day_start
from store.words import State

_DAYS_BACK = 7
_EDGE = bindparam("edge", type_=UTCDateTime)
_COMPLETE = select(ProviderTick.at).where(
    ProviderTick.provider == bindparam("provider"), col(ProviderTick.complete)
)
_BEFORE = _COMPLETE.where(col(ProviderTick.at) <= _EDGE).order_by(col(ProviderTick.at).desc()).limit(1)
_AFTER = _COMPLETE.where(col(ProviderTick.at) > _EDGE).order_by(col(ProviderTick.at)).limit(1)


@dataclass(frozen=True, slots=True)
class Missing:
    """What `counter_id` held at `at`: `base_nusd` plus (or less, by `sign`) the bill of the window `ask`.

    Without a window to ask about it was created at `at`, and held nothing. `settles`: it has vanished since.
    """

    counter_id: int
    resource: Resource
    at: datetime
    base_nusd: int
    ask: tuple[datetime, datetime] | None
    sign: int = 1
    settles: bool = False


def missing_samples(
    session: Session, provider: str, now: datetime, zone: ZoneInfo, longest_pause: timedelta
) -> Iterator[Missing]:
    """Everything that the provider's windowed bill could place, of one provider."""
    today = day_start(now, zone)
    mine = not_ended(today, col(BillCounter.provider) == provider)
    counters = session.exec(select(BillCounter).where(mine).order_by(col(BillCounter.id))).all()
    edges = [edge for edge in _day_edges(now, zone) if _is_in_pause(session, provider, edge, longest_pause)]
    newcomers = [one for one in counters if one.first_seen_at >= today and one.opening_nusd > 0]
    for counter in newcomers:
        yield from _at_birth(session, counter, today)
    for counter in _alone(counters):
        for edge in edges:
            yield from _at_edge(session, counter, edge)
        if counter in newcomers:
            yield from _before_first(session, counter, today)
        if counter.unsettled_at is not None and not _is_listed(session, counter):
            yield from _last_cents(session, counter)


def _is_listed(session: Session, counter: BillCounter) -> bool:
    """Whether the inventory still has the resource: then its bill is missing, and a window does not settle it."""
    key = (counter.provider, counter.kind, counter.resource_id)
    row = session.get(ResourceRow, key)
    return row is not None and row.state != State.GONE


def _alone(counters: Sequence[BillCounter]) -> list[BillCounter]:
    """Counters that share a resource share its windowed bill, which then places neither."""
    open_rows = [row for row in counters if row.final_at is None]
    owners = [(row.kind, row.resource_id) for row in open_rows]
    return [row for row in open_rows if owners.count((row.kind, row.resource_id)) == 1]


def _day_edges(now: datetime, zone: ZoneInfo) -> list[datetime]:
    edges = [day_start(now, zone)]
    for _ in range(_DAYS_BACK):
        edges.append(day_start(edges[-1] - timedelta(hours=12), zone))
    return edges


def _is_in_pause(session: Session, provider: str, edge: datetime, longest: timedelta) -> bool:
    """Whether the complete ticks around an edge lie further apart than any pause of a healthy collector."""
    around = {"provider": provider, "edge": edge}
    first, second = (session.exec(one, params=around).first() for one in (_BEFORE, _AFTER))
    return first is not None and second is not None and second - first > longest


def _at_edge(session: Session, counter: BillCounter, edge: datetime) -> Iterator[Missing]:
    assert counter.id is not None
    resource, began_at = (counter.kind, counter.resource_id), counter.started_at
    before, after = bill_at(session, counter.id, edge), bill_after(session, counter.id, edge)
    if after is None:
        return
    if before is None:
        if counter.opening_nusd == 0 and began_at is not None and began_at < edge:
            yield Missing(counter.id, resource, edge, 0, (began_at, edge))  # born in our time, while nobody looked
    elif before.at < edge and before.as_of_at < edge:
        yield Missing(counter.id, resource, edge, before.total_nusd, (before.as_of_at, edge))


def _at_birth(session: Session, counter: BillCounter, today: datetime) -> Iterator[Missing]:
    """A counter first seen today that began today: then it held nothing, whoever shares its resource."""
    assert counter.id is not None
    first = first_bill(session, counter.id)
    if (
        first is not None
        and first.origin is None
        and counter.started_at is not None
        and counter.started_at >= today
    ):
        yield Missing(counter.id, (counter.kind, counter.resource_id), counter.started_at, 0, None)


def _before_first(session: Session, counter: BillCounter, today: datetime) -> Iterator[Missing]:
    """A counter first seen today that is older: what it held when the day began."""
    assert counter.id is not None
    first, is_older = first_bill(session, counter.id), counter.started_at is None or counter.started_at < today
    if first is not None and first.origin is None and is_older and first.as_of_at > today:
        resource = (counter.kind, counter.resource_id)
        yield Missing(counter.id, resource, today, first.total_nusd, (today, first.as_of_at), sign=-1)


def _last_cents(session: Session, counter: BillCounter) -> Iterator[Missing]:
    """A counter that vanished: what the provider billed for it after our last look."""
    assert counter.id is not None
    last = last_bill(session, counter.id)
    if last is not None and counter.unsettled_at is not None and last.as_of_at < counter.unsettled_at:
        resource, at = (counter.kind, counter.resource_id), counter.unsettled_at
        end = at.replace(microsecond=0)
        yield Missing(counter.id, resource, at, last.total_nusd, (last.as_of_at, end), settles=True)
