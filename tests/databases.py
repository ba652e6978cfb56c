"""Both databases for the tests: SQLite in a folder, and a PostgreSQL cluster that ends with the tests.

`MTOK_TEST_POSTGRES_URL` names another server; without it and without `initdb` those tests report *not run*.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import LRUCache
from sqlmodel import SQLModel

from store.database import Database, open_database

_URL = "MTOK_TEST_POSTGRES_URL"
_IN_MEMORY = Path("/dev/shm")  # to make a database there takes a tenth of what it takes on a disk
_THREADS_END_WITHIN_S = 10
_ENOUGH_BYTES = 2 * 2**30  # containers often have 64 MB


def initdb() -> Path | None:
    """PostgreSQL's own tools, which Debian keeps off the PATH."""
    found = shutil.which("initdb")
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found) if found else newest[-1] if newest else None


@contextlib.contextmanager
def postgres_server() -> Iterator[str | None]:
    """The address of a server with a database to make others in; None where there is none."""
    if url := os.environ.get(_URL):
        yield url
        return
    tool = initdb()
    if tool is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="mtok-pg-", dir=_quick_folder()) as name:
        home = Path(name)
        as_user = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(home, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]
        data = home / "data"
        common: dict[str, Any] = {
            "check": True,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "cwd": "/",
        }
        subprocess.run([*as_user, str(tool), "-D", str(data), "-U", "mtok", "-A", "trust", "-E", "UTF8"], **common)
        options = f"-c listen_addresses='' -k {home} -c max_wal_size=64MB"
        options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        control = [*as_user, str(tool.with_name("pg_ctl")), "-D", str(data), "-w"]
        subprocess.run([*control, "-o", options, "-l", str(home / "log"), "start"], **common)
        try:
            yield f"postgresql+psycopg://mtok@/postgres?host={home}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **common)


def _quick_folder() -> Path:
    """Where a cluster that nobody will miss is kept; its socket's path must stay short."""
    roomy = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ENOUGH_BYTES
    return _IN_MEMORY if roomy else Path("/tmp")


@contextlib.contextmanager
def postgres_database(server: str, name: str, template: str = "template1") -> Iterator[str]:
    """A database of this name, a copy of its template, dropped at the end."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
        yield engine.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        engine.dispose()


@contextlib.contextmanager
def opened(url: str) -> Iterator[Database]:
    """A store, closed at the end."""
    database = open_database(url)
    try:
        yield database
    finally:
        _wait_for_threads(database)
        database.close()


def _wait_for_threads(database: Database) -> None:
    """A collector that was stopped leaves a call under way, whose connection nobody would close any more."""
    end_s = time.monotonic() + _THREADS_END_WITHIN_S
    pool = database.engine.pool
    while isinstance(pool, QueuePool) and pool.checkedout() and time.monotonic() < end_s:
        time.sleep(0.01)


def empty_sqlite(path: Path) -> str:
    """The address of an empty store at the newest version: a copy takes a fiftieth of the migrations."""
    path.write_bytes(_migrated_sqlite())
    return f"sqlite:///{path}"


@functools.cache
def _migrated_sqlite() -> bytes:
    with tempfile.TemporaryDirectory(prefix="mtok-store-") as folder:
        path = Path(folder) / "mtok.db"
        open_database(f"sqlite:///{path}").close()
        return path.read_bytes()


def share_statements() -> None:
    """Let every store of one kind use what another one has compiled: a third of the time of the store's tests.

    SQLAlchemy keeps compiled statements by engine and by dialect, and a process that is no test has one of each.
    """
    compiled: LRUCache[object, object] = LRUCache(2_000)

    def same(one: object, other: object) -> bool:
        return type(one) is type(other)

    def hashed(one: object) -> int:
        return hash(type(one))

    def share(_dialect: object, engine: Engine) -> None:
        engine.update_execution_options(compiled_cache=compiled)

    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        for name, how in (("__eq__", same), ("__hash__", hashed), ("engine_created", classmethod(share))):
            setattr(dialect, name, how)


@contextlib.contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Every statement that is sent meanwhile."""
    sent: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(database.engine, "before_cursor_execute", hear)
    yield sent
    event.remove(database.engine, "before_cursor_execute", hear)


def emptied(database: Database) -> None:
    """Forget every row but who leads: thousands of histories go through one store."""
    with database.write() as session:
        for table in reversed(SQLModel.metadata.sorted_tables):
            if table.name in _FILLED:
                session.connection().execute(table.delete())


_FILLED = {
    "bill_samples",
    "usage_samples",
    "gaps",
    "tier_ticks",
    "provider_ticks",
    "ticks",
    "bill_counters",
    "ledgers",
    "journal",
}
