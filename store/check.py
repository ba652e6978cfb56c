"""What must hold of a store, whoever wrote it; what does not is named."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy import select as core_select
from sqlmodel import Session, col, select

from store.clock import rfc3339
from store.counters import USAGE_FIELDS
from store.database import Database
from store.errors import AmountError
from store.money import parse_nusd
from store.tables import BillCounter, BillSample, Ledger, UsageSample

_EVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold: of what, and how it should be."""

    subject: str
    problem: str


def check(database: Database) -> list[Finding]:
    """Every invariant of the samples, and the file itself; an empty list is a sound store.

    Raises:
        StoreUnreachable: the store does not answer.
    """
    with database.read() as session:
        return [*_file(database, session), *_bills(session), *_ledgers(session)]


def altered_bills(
    session: Session, counter: BillCounter, start: datetime = _EVER[0], end: datetime = _EVER[1]
) -> Iterator[Finding]:
    """Samples of a counter in `[start, end]` whose amount is not what the provider's own text says."""
    columns = [getattr(BillSample, name) for name in ("at", "total_nusd", "raw")]
    query = core_select(*columns).where(col(BillSample.counter_id) == counter.id, col(BillSample.origin).is_(None))
    query = query.where(col(BillSample.at) >= start, col(BillSample.at) <= end).order_by(col(BillSample.at))
    for at, total, raw in session.connection().execute(query):
        where = f"{counter.counter} at {rfc3339(at)}"
        try:
            off = total - parse_nusd(raw)
        except AmountError as error:
            yield Finding(where, str(error))
            continue
        if off:
            yield Finding(where, f"holds {total} nusd, the provider said {raw}: off by {off} nusd")


def _bills(session: Session) -> Iterator[Finding]:
    for counter in session.exec(select(BillCounter).order_by(col(BillCounter.id))).all():
        yield from altered_bills(session, counter)
        yield from _chain(session, counter)


def _chain(session: Session, counter: BillCounter) -> Iterator[Finding]:
    """Debits only rise, by no less than the total; a counter opened with nothing or with its first total."""
    columns = [getattr(BillSample, name) for name in ("at", "total_nusd", "debits_nusd", "fell_at")]
    query = core_select(*columns).where(col(BillSample.counter_id) == counter.id).order_by(col(BillSample.at))
    before: Any = None
    for at, total, debits, fell_at in session.connection().execute(query):
        if before is None and counter.opening_nusd not in (0, total):
            yield Finding(counter.counter, f"opened with {counter.opening_nusd} nusd, its first sample has {total}")
        if before is not None:
            rise, debit = total - before[0], debits - before[1]
            if debit < 0 or (fell_at is None and before[2] is None and debit < rise):
                where = f"{counter.counter} at {rfc3339(at)}"
                yield Finding(where, f"rose by {rise} nusd and its debits by {debit}")
        before = (total, debits, fell_at)


def _ledgers(session: Session) -> Iterator[Finding]:
    columns = [getattr(UsageSample, name) for name in USAGE_FIELDS]
    for ledger in session.exec(select(Ledger).order_by(col(Ledger.id))).all():
        query = core_select(col(UsageSample.at), *columns).where(col(UsageSample.ledger_id) == ledger.id)
        before: Row[Any] | None = None
        for row in session.connection().execute(query.order_by(col(UsageSample.at))):
            fallen = [name for name in USAGE_FIELDS if before and getattr(row, name) < getattr(before, name)]
            if fallen:
                yield Finding(f"ledger {ledger.uuid} at {rfc3339(row[0])}", f"fell in {', '.join(fallen)}")
            before = row


def _file(database: Database, session: Session) -> Iterator[Finding]:
    if database.engine.dialect.name != "sqlite":
        return
    for (line,) in session.connection().execute(text("PRAGMA integrity_check(20)")):
        if line != "ok":
            yield Finding("file", str(line))
    for table, row, parent, _ in session.connection().execute(text("PRAGMA foreign_key_check")):
        yield Finding(f"table {table}", f"row {row} refers to a row of {parent} that is not there")
