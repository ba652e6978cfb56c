"""What several tests of the store share."""

from collections.abc import Iterator

import pytest

from store.database import Database
from store.leader import acquire
from tests.databases import empty_sqlite, opened


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, int]]:
    """One store through which many histories go, and the fence to write with."""
    with opened(empty_sqlite(tmp_path_factory.mktemp("store") / "mtok.db")) as database:
        fence = acquire(database, "test", 10**6)
        assert fence is not None
        yield database, fence
