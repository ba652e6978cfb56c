"""Moving a whole history from one store to another: SQLite to PostgreSQL, and back."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, text
from sqlmodel import SQLModel

from store.database import Database
from store.errors import CopyRefused
from store.tables import Candidate, Leadership

_ROWS_AT_ONCE = 2_000
_PART = 2**30  # SQLite's sum ends in an error at 2**63, which a year of minutes of one counter's totals reaches


def copy_store(source: Database, target: Database) -> dict[str, int]:
    """Copy every row; answers how many of each table. All of it, or nothing.

    Raises:
        CopyRefused: the target holds rows already, or has not taken what was sent.
        StoreUnreachable: one of the two does not answer.
    """
    tables = [one for one in SQLModel.metadata.sorted_tables if one.name in _names(source)]
    copied: dict[str, int] = {}
    with source.read() as reading, target.write() as writing:
        out, into = reading.connection(), writing.connection()
        for table in tables:
            if into.execute(select(func.count()).select_from(table)).scalar_one():
                raise CopyRefused(target.url, f"its table {table.name} holds rows; name an empty store")
        for table in tables:
            if table.name in (Leadership.__tablename__, Candidate.__tablename__):
                continue  # who leads the old store does not lead the new one
            for rows in _batches(out, table):
                into.execute(insert(table), rows)
            copied[table.name] = _compared(out, into, table, target.url)
            _go_on_counting(into, table)
    return copied


def _names(database: Database) -> set[str]:
    """The store's own tables; an agent's ledger, in the same process, has a registry of its own."""
    with database.read() as session:
        return set(database.engine.dialect.get_table_names(session.connection()))


def _batches(connection: Connection, table: Table) -> Iterator[Sequence[dict[str, Any]]]:
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(table))
    for part in rows.mappings().partitions():
        yield [dict(row) for row in part]


def _compared(out: Connection, into: Connection, table: Table, url: str) -> int:
    """Rows and sums of both sides; every total must have arrived."""
    summed = [column for column in table.c if column.name.endswith(("_nusd", "_tokens", "_ms"))]
    sums = [func.sum(part) for column in summed for part in (column // _PART, column % _PART)]
    digest = select(func.count(), *sums).select_from(table)
    sent, taken = tuple(out.execute(digest).one()), tuple(into.execute(digest).one())
    if [int(value or 0) for value in sent] != [int(value or 0) for value in taken]:
        raise CopyRefused(url, f"its table {table.name} has not taken what was sent: {taken} for {sent}")
    return int(sent[0])


def _go_on_counting(connection: Connection, table: Table) -> None:
    """PostgreSQL numbers rows by a sequence of its own, which has not seen the copied ones."""
    if connection.dialect.name != "postgresql" or table.autoincrement_column is None:
        return
    name, column = table.name, table.autoincrement_column.name
    sequence = f"pg_get_serial_sequence('{name}', '{column}')"
    newest = f"(SELECT max({column}) FROM {name})"  # noqa: S608 - our own names
    found = connection.execute(text(f"SELECT {sequence}")).scalar_one()
    if found is not None:
        connection.execute(text(f"SELECT setval({sequence}, coalesce({newest}, 1), {newest} IS NOT NULL)"))
