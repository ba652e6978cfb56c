"""One leads, by the database's clock; whoever has lost the lead writes nothing."""

import time

import pytest

from store.database import Database
from store.errors import FenceLost
from store.leader import acquire, check_fence, leader, raise_fence, release
from tests.conftest import START


def test_one_leads_until_its_time_is_over(database: Database) -> None:
    assert acquire(database, "a", 60) == 1
    assert acquire(database, "b", 60) is None
    assert acquire(database, "a", 60) == 1
    release(database, "a")
    assert acquire(database, "b", 60) == 2


def test_a_dead_leader_is_replaced_and_fenced_off(database: Database) -> None:
    assert acquire(database, "a", 0.05) == 1
    time.sleep(0.1)
    with database.read() as session:
        assert leader(database, session) is None
    assert acquire(database, "b", 60) == 2
    with pytest.raises(FenceLost), database.write() as session:
        check_fence(database, session, 1)
    with database.write() as session:
        check_fence(database, session, 2)


def test_a_leader_of_a_new_store_lifts_its_fence_above_the_one_that_agents_have_seen(database: Database) -> None:
    fence = acquire(database, "a", 60)
    assert fence == 1
    raise_fence(database, fence, 7, START)
    with pytest.raises(FenceLost):
        raise_fence(database, fence, 9, START)
    assert acquire(database, "a", 60) == 8
