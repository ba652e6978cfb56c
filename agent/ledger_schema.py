"""The ledger's tables, by SQLModel, and the steps from older ledgers. Loaded only to make or to change a ledger."""

import sqlite3
from typing import ClassVar

from sqlalchemy import Index, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import registry
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import Field, SQLModel

ZERO = {"server_default": "0"}


class _LedgerTable(SQLModel, registry=registry()):
    """A schema of its own: the agent's ledger and the console's store are two databases."""


class LedgerIdentity(_LedgerTable, table=True):
    """Which ledger this is. A wiped disk makes another one, hence another counter."""

    __tablename__: ClassVar[str] = "identity"

    id: int = Field(default=1, primary_key=True)
    uuid: str
    created_at: str
    busy_ms: int = 0


class EntryRow(_LedgerTable, table=True):
    """One request that reached the engine. `outcome` is empty while it runs; its counts are of `counted_at`."""

    __tablename__: ClassVar[str] = "entries"
    __table_args__: ClassVar[tuple[Index, ...]] = (
        Index("ix_entries_open", "id", sqlite_where=text("outcome = ''")),
    )

    id: str = Field(primary_key=True)
    label: str
    endpoint: str
    model: str
    started_at: str
    ended_at: str | None = None
    outcome: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    delivered_tokens: int = 0
    suppressed_tokens: int = Field(default=0, sa_column_kwargs=ZERO)
    draft_tokens: int = Field(default=0, sa_column_kwargs=ZERO)
    counted_at: str | None = None


class _Sums(_LedgerTable):
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    delivered_tokens: int = 0
    suppressed_tokens: int = Field(default=0, sa_column_kwargs=ZERO)
    draft_tokens: int = Field(default=0, sa_column_kwargs=ZERO)


class TotalsRow(_Sums, table=True):
    """What a label's ended entries add up to, forgotten ones included."""

    __tablename__: ClassVar[str] = "totals"

    label: str = Field(primary_key=True)


class ForgottenRow(_Sums, table=True):
    """What a label's forgotten entries add up to: totals less these are the entries that are still here."""

    __tablename__: ClassVar[str] = "forgotten"

    label: str = Field(primary_key=True)


class DayRow(_Sums, table=True):
    """What a label's entries that ended on one UTC day add up to."""

    __tablename__: ClassVar[str] = "days"

    day: str = Field(primary_key=True)
    label: str = Field(primary_key=True)


class DeathRow(_LedgerTable, table=True):
    """An agent that died with requests under way: they were ended with the counts of `last_counted_at`."""

    __tablename__: ClassVar[str] = "deaths"

    id: int | None = Field(default=None, primary_key=True)
    found_at: str
    last_counted_at: str | None = None
    requests: int
    completion_tokens: int


_SUMS = """requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL, delivered_tokens INTEGER NOT NULL,
  suppressed_tokens INTEGER DEFAULT '0' NOT NULL, draft_tokens INTEGER DEFAULT '0' NOT NULL"""
_FROM_0 = (
    "ALTER TABLE entries ADD COLUMN suppressed_tokens INTEGER DEFAULT '0' NOT NULL",
    "ALTER TABLE entries ADD COLUMN draft_tokens INTEGER DEFAULT '0' NOT NULL",
    "ALTER TABLE entries ADD COLUMN counted_at VARCHAR",
    "ALTER TABLE totals ADD COLUMN suppressed_tokens INTEGER DEFAULT '0' NOT NULL",
    "ALTER TABLE totals ADD COLUMN draft_tokens INTEGER DEFAULT '0' NOT NULL",
    "DROP INDEX IF EXISTS ix_entries_label",
    "DROP INDEX IF EXISTS ix_entries_outcome",
    "CREATE INDEX ix_entries_open ON entries (id) WHERE outcome = ''",
    f"CREATE TABLE forgotten ({_SUMS}, label VARCHAR NOT NULL, PRIMARY KEY (label))",
    f"CREATE TABLE days ({_SUMS}, day VARCHAR NOT NULL, label VARCHAR NOT NULL, PRIMARY KEY (day, label))",
    "CREATE TABLE deaths (id INTEGER NOT NULL, found_at VARCHAR NOT NULL, last_counted_at VARCHAR,"
    " requests INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, PRIMARY KEY (id))",
    """INSERT INTO days (day, label, requests, prompt_tokens, cached_tokens, completion_tokens, delivered_tokens)
       SELECT substr(ended_at, 1, 10), label, count(*), sum(prompt_tokens), sum(cached_tokens),
              sum(completion_tokens), sum(delivered_tokens)
       FROM entries WHERE outcome <> '' GROUP BY 1, 2""",
)
STEPS = (_FROM_0,)  # from version n to n + 1; `PRAGMA user_version` says where a ledger stands


def bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, or change those of an older version, in one transaction."""
    is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _tables() if is_new else (line for step in STEPS[version:] for line in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")


def _tables() -> list[str]:
    dialect = sqlite.dialect()
    made: list[str] = []
    for table in _LedgerTable.metadata.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        made += [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
    return made
