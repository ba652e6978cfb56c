"""A store is opened whole, in the right version, or refused with one clear line."""

import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlmodel import SQLModel

from store.database import Database, open_database
from store.errors import StoreUnreachable, StoreVersion
from store.journal import note
from store.journal_read import entries
from tests.conftest import START
from tests.databases import opened


def test_a_store_whose_file_was_deleted_is_not_written_on(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'mtok.db'}")
    (tmp_path / "mtok.db").unlink()
    with pytest.raises(StoreUnreachable, match="deleted or replaced"), database.write():
        pass
    with pytest.raises(StoreUnreachable, match="restart mtok"), database.read():
        pass
    database.close()


def test_the_migrations_make_the_tables_that_the_code_has(database: Database) -> None:
    with database.engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)
    assert difference == []


def test_sqlite_runs_in_wal_with_foreign_keys(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'mtok.db'}") as database, database.read() as session:
        pragmas = {
            name: session.connection().execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000}


def test_a_store_from_a_newer_version_is_refused(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreVersion, match=r"'9999'.*upgrade mtok"):
        open_database(str(database.engine.url))


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    other = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    with other.engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    with pytest.raises(StoreVersion):
        open_database(str(other.engine.url))
    other.close()


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/mtok.db", "no address", "nosuch://x/y"])
def test_a_store_that_cannot_be_opened_is_one_line(url: str) -> None:
    with pytest.raises(StoreUnreachable) as caught:
        open_database(url)
    assert "\n" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreUnreachable, match=r"pip install 'mtok\[postgres\]'"):
        open_database("postgresql+psycopg://host/mtok")


def interrupted_write(database: Database) -> None:
    with database.write() as session:
        note(session, START, "ada", "what", "subject")
        session.flush()
        raise RuntimeError


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError):
        interrupted_write(database)
    with database.read() as session:
        assert entries(session, 10) == ()
