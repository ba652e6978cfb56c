"""Thinning: minutes for a month, hours for a year, then days. Every total over a kept edge stays what it was.

In each hour (day) of the budget's zone each tier keeps its last complete tick, and each counter the sample that an
edge there is read from. What is deleted is what no window with edges on those hours (days) ever reads.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Table, bindparam, delete, func
from sqlalchemy import select as core_select
from sqlmodel import Session, SQLModel, col, select

from store.database import Database
from store.tables import Tick
from store.window import day_start

_CHUNK = timedelta(days=1)
_TINY = timedelta(microseconds=1)
_OF_TICKS = ("gaps", "provider_ticks", "tier_ticks", "ticks")  # in the order of their references
_OF_COUNTERS = {"bill_samples": "counter_id", "usage_samples": "ledger_id"}
_OWNERS = {"bill_samples": "bill_counters", "usage_samples": "ledgers"}
_COMPLETE = {"tier_ticks": "tier", "provider_ticks": "provider"}  # what is complete or not, and whose it is


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long minutes and hours are kept; an hour or a day begins in `zone`."""

    minutes_for: timedelta
    hours_for: timedelta
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Thinned:
    """Rows before and after, by table, and the store's size in bytes."""

    before: dict[str, int]
    after: dict[str, int]
    size_bytes: int


def thin(database: Database, policy: Retention, now: datetime) -> Thinned:
    """Delete what `policy` no longer keeps, a day of history at a time; each day whole or not at all.

    Raises:
        StoreUnreachable: what was done stays done, the rest is left for the next time.
    """
    before, firsts = row_counts(database), _first_ticks(database)
    for cutoff, by_day in ((now - policy.minutes_for, False), (now - policy.hours_for, True)):
        for start, end in _chunks(database, cutoff, policy.zone):
            with database.read() as session:  # most days have been thinned before: nobody waits for those
                is_due = bool(_kept_and_gone(session, start, end, firsts, policy.zone, by_day=by_day)[1])
            if is_due:
                with database.write() as session:
                    _thin_chunk(session, start, end, firsts, policy.zone, by_day=by_day)
    return Thinned(before, row_counts(database), database.size_bytes())


def row_counts(database: Database) -> dict[str, int]:
    """How many rows each table holds."""
    with database.read() as session:
        connection = session.connection()
        return {
            name: connection.execute(core_select(func.count()).select_from(_table(name))).scalar_one()
            for name in (*_OF_COUNTERS, *_OF_TICKS)
        }


def _table(name: str) -> Table:
    return SQLModel.metadata.tables[name]


def _chunks(database: Database, cutoff: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """Days of history before `cutoff`, from the first that has more than a few ticks."""
    after = datetime.min.replace(tzinfo=UTC)
    while True:
        with database.read() as session:
            first = session.exec(select(func.min(Tick.at)).where(Tick.at > after)).one()
        if first is None:
            return
        start = day_start(first - _TINY, zone)
        after = day_start(start + _CHUNK * 1.5, zone)  # the next civil day, be this one of 23 or of 25 hours
        if after > cutoff:
            return
        yield start, after


def _thin_chunk(
    session: Session, start: datetime, end: datetime, firsts: Collection[datetime], zone: ZoneInfo, *, by_day: bool
) -> None:
    """Thin `(start, end]`: a tick exactly on an edge is the one that this edge snaps to."""
    kept, gone = _kept_and_gone(session, start, end, firsts, zone, by_day=by_day)
    if not gone:
        return  # another one has thinned it meanwhile
    for name, key in _OF_COUNTERS.items():
        _thin_samples(session, name, key, (start, end), kept)
    for table in map(_table, _OF_TICKS):
        session.connection().execute(
            delete(table).where(table.c.at == bindparam("gone_at")), [{"gone_at": at} for at in gone]
        )


def _kept_and_gone(
    session: Session, start: datetime, end: datetime, firsts: Collection[datetime], zone: ZoneInfo, *, by_day: bool
) -> tuple[list[datetime], list[datetime]]:
    """The ticks of `(start, end]` that are kept and those that are not, oldest first.

    Kept is, of each tier and provider, the last complete tick of every hour (day); and each one's very first.
    """
    ticks = session.exec(select(Tick.at).where(Tick.at > start, Tick.at <= end).order_by(col(Tick.at))).all()
    kept = set(firsts)
    for name, key in _COMPLETE.items():
        table = _table(name)
        query = core_select(table.c[key], table.c.at).where(table.c.complete, table.c.at > start, table.c.at <= end)
        rows = session.connection().execute(query.order_by(table.c.at))
        kept.update({(one, _bucket(when, zone, by_day=by_day)): when for one, when in rows}.values())
    return [at for at in ticks if at in kept], [at for at in ticks if at not in kept]


def _first_ticks(database: Database) -> set[datetime]:
    """The very first complete tick of each tier and provider."""
    found: set[datetime] = set()
    with database.read() as session:
        for name, key in _COMPLETE.items():
            table = _table(name)
            query = core_select(func.min(table.c.at)).where(table.c.complete).group_by(table.c[key])
            found.update(session.connection().execute(query).scalars())
    return found


def _bucket(at: datetime, zone: ZoneInfo, *, by_day: bool) -> tuple[object, ...]:
    local = (at - _TINY).astimezone(zone)
    return (local.date(),) if by_day else (local.date(), local.hour, local.utcoffset())


def _thin_samples(
    session: Session, name: str, key: str, within: tuple[datetime, datetime], edges: Sequence[datetime]
) -> None:
    table, counters, connection = _table(name), _table(_OWNERS[name]), session.connection()
    owner, at = table.c[key], table.c.at
    # from each counter into its own samples: by their instants alone all of them would be read
    is_its = (owner == counters.c.id) & (at > within[0]) & (at <= within[1])
    asked = core_select(counters.c.id, at).select_from(counters).join(table, is_its)
    by_counter: dict[int, list[datetime]] = {}
    for id_, instant in connection.execute(asked.order_by(counters.c.id, at)):
        by_counter.setdefault(id_, []).append(instant)
    first = core_select(func.min(at)).where(owner == counters.c.id).correlate(counters).scalar_subquery()
    firsts = core_select(counters.c.id, first)
    pinned = {(id_, instant) for id_, instant in connection.execute(firsts)}
    if "origin" in table.c:
        pinned.update(
            (id_, instant) for id_, instant in connection.execute(asked.where(table.c.origin.is_not(None)))
        )
    gone = [
        {"gone_id": id_, "gone_at": instant}
        for id_, instants in by_counter.items()
        for instant in _unread(instants, edges)
        if (id_, instant) not in pinned
    ]
    if gone:
        connection.execute(delete(table).where(owner == bindparam("gone_id"), at == bindparam("gone_at")), gone)


def _unread(instants: Sequence[datetime], edges: Iterable[datetime]) -> list[datetime]:
    """Those that are no edge's last sample; the newest always is one, of the edges after this day."""
    read = {instants[-1]}
    for edge in edges:
        index = bisect_right(instants, edge)
        if index:
            read.add(instants[index - 1])
    return [at for at in instants if at not in read]
