"""One leads, by the database's clock; whoever has lost the lead writes nothing."""

import time
import uuid
from contextlib import suppress

import pytest
from sqlmodel import Session

from store.database import Database
from store.errors import FenceLost, StoreUnreachable
from store.leader import acquire, check_fence, leader, raise_fence, release, yield_lead
from store.tables import Candidate
from tests.conftest import START
from tests.databases import opened, postgres_database


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


def test_a_dead_leader_whose_time_a_wrong_clock_has_set_far_ahead_is_replaced(database: Database) -> None:
    assert acquire(database, "a", 3600) == 1
    assert acquire(database, "b", 400) is None
    assert acquire(database, "a", 60) == 1  # whoever leads goes on
    assert acquire(database, "a", 3600) == 1
    assert acquire(database, "b", 60) == 2
    with pytest.raises(FenceLost), database.write() as session:
        check_fence(database, session, 1)


def test_a_leader_of_a_new_store_lifts_its_fence_above_the_one_that_agents_have_seen(database: Database) -> None:
    fence = acquire(database, "a", 60)
    assert fence == 1
    raise_fence(database, fence, 7, START)
    with pytest.raises(FenceLost):
        raise_fence(database, fence, 9, START)
    assert acquire(database, "a", 60) == 8


def test_a_leader_with_incomplete_ticks_yields_to_another_candidate_and_does_not_take_it_back(
    database: Database,
) -> None:
    fence = acquire(database, "a", 60)
    assert fence == 1
    assert yield_lead(database, "a", fence) is None  # nobody else is there
    assert acquire(database, "b", 60) is None
    assert yield_lead(database, "a", fence) == "b"
    assert acquire(database, "a", 60) is None
    assert acquire(database, "b", 60) == 2
    assert yield_lead(database, "b", 2) is None  # `a` has only just yielded: no to and fro
    release(database, "b")
    assert acquire(database, "a", 60) == 3  # better than nobody


def test_a_candidate_that_has_gone_is_no_heir(database: Database) -> None:
    assert acquire(database, "a", 60) == 1
    assert acquire(database, "b", 60) is None
    with database.write() as session:
        session.get_one(Candidate, "b").expires_at = database.now(session)
    assert yield_lead(database, "a", 1) is None
    with pytest.raises(FenceLost):
        yield_lead(database, "a", 7)


def test_a_leader_that_stops_amid_a_write_holds_no_lock_for_ever(
    postgres: str, migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.leader._PATIENCE", {"lock": "100ms", "idle": "2s"})
    name = f"mtok_{uuid.uuid4().hex}"
    with (
        postgres_database(postgres, name, migrated) as url,
        opened(url) as first,
        opened(url) as second,
    ):
        assert acquire(first, "a", 3600) == 1
        with pytest.raises(StoreUnreachable, match="lock timeout"), first.write() as session:
            take_over_from(first, session, second)
        with pytest.raises(StoreUnreachable):
            stop_amid_a_write(first, second)
        assert acquire(second, "b", 60) == 2


def take_over_from(first: Database, session: Session, second: Database) -> int | None:
    check_fence(first, session, 1)
    return acquire(second, "b", 60)


def stop_amid_a_write(first: Database, second: Database) -> None:
    """As long as it takes: the lead cannot be had while the row is locked."""
    with first.write() as session:
        check_fence(first, session, 1)
        for _ in range(300):
            with suppress(StoreUnreachable):
                acquire(second, "b", 60)
                return
