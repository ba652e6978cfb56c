"""A store that may only be read: by wish, by the file's mode, by the role."""

from pathlib import Path

import pytest
from sqlmodel import select

from store.database import open_database
from store.errors import StoreUnreachable
from store.tables import JournalEntry, Tick


def test_a_store_opened_to_be_read_refuses_writes_itself(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mtok.db"
    open_database(url).close()
    database = open_database(url, read_only=True)
    assert database.is_read_only
    with database.read() as session:
        assert session.exec(select(Tick)).all() == []
    with pytest.raises(StoreUnreachable), database.write() as session:
        session.exec(JournalEntry.__table__.delete())  # type: ignore[attr-defined]
    database.close()


def test_a_store_that_is_not_there_is_not_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable, match=r"there is no .* yet; mtok collect makes it"):
        open_database(f"sqlite:///{tmp_path}/mtok.db", read_only=True)
    assert list(tmp_path.iterdir()) == []
