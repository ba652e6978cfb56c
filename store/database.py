"""One way into the store: `open_database(url)`, then `read()` or `write()`.

SQLite runs in WAL with foreign keys and a busy timeout; a write transaction takes its lock at the start
(BEGIN IMMEDIATE), so that it waits its turn instead of failing half-way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlmodel import Session

from store.errors import StoreUnreachable, StoreVersion
from store.file_modes import make_private
from store.rights import may_write, read_only_options

HEAD = "0008"
BUSY_TIMEOUT_MS = 5_000  # longer than any of our transactions, shorter than a person's patience
_WRITES = {"mtok_writes": True}


class Database:
    """An open store. Sessions come from `read()` and `write()` alone."""

    def __init__(self, engine: Engine, *, is_read_only: bool = False) -> None:
        self.engine, self.is_read_only = engine, is_read_only
        self._file = _identity(engine)
        serial = {} if engine.dialect.name == "sqlite" else {"isolation_level": "READ COMMITTED"}
        self._writer = engine.execution_options(**_WRITES, **serial)

    @property
    def url(self) -> str:
        """The store's address, without a password."""
        return shown_url(self.engine.url)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view of the store; nothing is written.

        Raises:
            StoreUnreachable: the store does not answer.
        """
        with self._translated(), Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: all of it, or nothing.

        Raises:
            StoreUnreachable: the store is locked, full or gone; nothing was written.
        """
        with self._translated(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def now(self, session: Session) -> datetime:
        """The database's own clock, the only one that leadership trusts."""
        if self.engine.dialect.name == "sqlite":
            stamp = session.connection().execute(text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")).scalar_one()
            return datetime.fromisoformat(stamp).replace(tzinfo=UTC)
        instant: datetime = session.connection().execute(text("SELECT clock_timestamp()")).scalar_one()
        return instant.astimezone(UTC)

    def size_bytes(self) -> int:
        """What the store takes on its disk."""
        with self.read() as session:
            if self.engine.dialect.name == "sqlite":
                pages = text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
                return int(session.connection().execute(pages).scalar_one())
            database = text("SELECT pg_database_size(current_database())")
            return int(session.connection().execute(database).scalar_one())

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()

    def remember_file(self) -> None:
        """Note which file this store is, once it exists."""
        self._file = _identity(self.engine)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._file is not None and _identity(self.engine) != self._file:
            # an open file outlives its name: whoever went on writing would be the only one to read it
            raise StoreUnreachable(self.url, "its file was deleted or replaced while it was open; restart mtok")
        try:
            yield
        except DBAPIError as error:
            raise StoreUnreachable(self.url, _reason(error)) from error


def open_database(url: str, *, read_only: bool = False, may_upgrade: bool = True) -> Database:
    """Open the store at `url`, making or upgrading it where needed, unless told that it may not.

    One that this account may not write is opened to be read, as with `read_only`: the database itself refuses then.

    Raises:
        StoreUnreachable: bad address, no such directory, no rights, locked.
        StoreVersion: made by a newer mtok, or not by mtok at all; or an older one that only a writer can upgrade.
    """
    try:
        engine = create_engine(url, **_options(url))
        is_read_only = read_only or not may_write(engine)
        if is_read_only:
            engine.dispose()
            engine = create_engine(url, **_options(url), **read_only_options(engine.dialect.name))
    except ImportError as error:
        remedy = "pip install 'mtok[postgres]' for PostgreSQL"
        raise StoreUnreachable(shown_url(url), _reason(error), remedy) from error
    except SQLAlchemyError as error:
        raise StoreUnreachable(shown_url(url), _reason(error)) from error
    except ValueError:  # SQLAlchemy 2.1 raises it for a port; what it quotes may be a part of the password
        raise StoreUnreachable(shown_url(url), "its address cannot be read") from None
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine, is_read_only=is_read_only)
    database = Database(engine, is_read_only=is_read_only)
    try:
        opened = engine if is_read_only else database._writer
        with database._translated(), opened.connect() as connection, connection.begin():
            _bring_to_head(connection, database.url, may_upgrade=may_upgrade and not is_read_only)
        database.remember_file()
    except BaseException:
        database.close()
        raise
    return database


def _identity(engine: Engine) -> tuple[int, int] | None:
    """Which file a SQLite store is; None for another database, or where there is none yet."""
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path or path == ":memory:":
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _options(url: str) -> dict[str, Any]:
    """PostgreSQL: a read sees one instant of the store, and a connection lost over night is replaced."""
    if url.startswith("sqlite"):
        return {}
    return {"pool_pre_ping": True, "isolation_level": "REPEATABLE READ"}


def _prepare_sqlite(engine: Engine, *, is_read_only: bool) -> None:
    path = engine.url.database
    if path and path != ":memory:":
        if not Path(path).parent.is_dir():
            raise StoreUnreachable(shown_url(engine.url), f"there is no directory {Path(path).parent}")
        if not is_read_only:
            make_private(Path(path), 0o660)
        elif not Path(path).exists():  # SQLite would make an empty one, open to everybody
            raise StoreUnreachable(shown_url(engine.url), f"there is no {path} yet", "mtok collect makes it")

    @event.listens_for(engine, "connect")
    def _pragmas(connection, _record) -> None:  # type: ignore[no-untyped-def]
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        if is_read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("mtok_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _bring_to_head(connection: Connection, url: str, *, may_upgrade: bool) -> None:
    if may_upgrade and connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7706875)"))  # two processes may open a new store
    tables = set(inspect(connection).get_table_names())
    found = None
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    elif tables:
        raise StoreVersion(url, "none")
    if found == HEAD:
        return
    if not may_upgrade:
        raise StoreVersion(url, found or "none", "run `mtok store migrate` with rights to write it")
    from alembic import command  # 100 ms that only an upgrade pays
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreVersion(url, found)
    command.upgrade(config, "head")


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:200]


def shown_url(url: str | URL) -> str:
    """A store's address without a password, wherever in it that stands."""
    try:
        read = make_url(url)
    except (ArgumentError, ValueError):
        return "(unreadable address)"
    hidden = {name: "***" for name in read.query if "pass" in name}  # libpq: password, sslpassword, passfile
    return read.update_query_dict(hidden).render_as_string(hide_password=True)
