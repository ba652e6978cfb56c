"""What stopped though nobody had asked is noticed, journaled and alarmed; what was asked for is not."""

from datetime import datetime, timedelta

import pytest
from sqlmodel import Session, select

from store.database import Database
from store.inventory import follow_names, keep_resources
from store.operations import current, finish, request
from store.phases import OperationKind, OperationOutcome
from store.tables import JournalEntry, ResourceRow
from store.words import UNASSIGNED, ResourceKind, State
from tests.conftest import START


def see(database: Database, minute: int, state: State, tier: str = "h100", *, listed: bool = True) -> None:
    at = START + timedelta(minutes=minute)
    row = ResourceRow(
        provider="cloud",
        kind=ResourceKind.INSTANCE,
        resource_id="8429",
        tier=tier,
        name="h100-a",
        state=state,
        raw_state=state.upper(),
        can_sleep=state is State.RUNNING,
        can_wake=state is State.ASLEEP,
        seen_at=at,
    )
    with database.write() as session:
        keep_resources(session, "cloud", [row] if listed else [], at, complete=True)


def unasked(database: Database) -> datetime | None:
    with database.read() as session:
        return session.exec(select(ResourceRow)).one().unasked_at


def told(session: Session) -> list[str]:
    return [entry.what for entry in session.exec(select(JournalEntry))]


@pytest.mark.parametrize("states", [[State.ASLEEP], [State.SLEEPING, State.ASLEEP], [State.GONE]])
def test_a_preemption_is_noticed_when_it_begins_and_until_it_runs_again(
    database: Database, states: list[State]
) -> None:
    see(database, 0, State.RUNNING)
    for minute, state in enumerate(states, 1):
        see(database, minute, state)
    assert unasked(database) == START + timedelta(minutes=1)
    with database.read() as session:
        assert told(session) == ["stopped unasked"]
    see(database, 5, State.WAKING)
    assert unasked(database) is not None
    see(database, 6, State.RUNNING)
    assert unasked(database) is None


def test_one_that_is_no_longer_listed_is_gone(database: Database) -> None:
    see(database, 0, State.RUNNING)
    see(database, 1, State.RUNNING, listed=False)
    assert unasked(database) == START + timedelta(minutes=1)


def test_what_was_asked_for_is_no_preemption_not_even_late(database: Database) -> None:
    see(database, 0, State.RUNNING)
    with database.write() as session:
        at = START + timedelta(minutes=1)
        request(session, at, OperationKind.HIBERNATE, "h100", actor="ada", reason="", seen="8429=RUNNING")
    see(database, 2, State.SLEEPING)
    see(database, 3, State.ASLEEP)
    assert unasked(database) is None


def test_an_effect_that_comes_after_its_operation_was_given_up_was_asked_for(database: Database) -> None:
    see(database, 0, State.RUNNING)
    with database.write() as session:
        at = START + timedelta(minutes=1)
        request(session, at, OperationKind.HIBERNATE, "h100", actor="ada", reason="", seen="8429=RUNNING")
        row = current(session, "h100")
        assert row is not None
        finish(session, row, OperationOutcome.FAILED, at, "not_applied")
    see(database, 9, State.ASLEEP)
    assert unasked(database) is None


def test_one_taken_away_after_it_was_woken_again_was_not_asked_for(database: Database) -> None:
    test_an_effect_that_comes_after_its_operation_was_given_up_was_asked_for(database)
    see(database, 20, State.RUNNING)
    see(database, 30, State.ASLEEP)
    assert unasked(database) == START + timedelta(minutes=30)


def test_other_peoples_machines_are_their_business(database: Database) -> None:
    see(database, 0, State.RUNNING, UNASSIGNED)
    see(database, 1, State.ASLEEP, UNASSIGNED)
    assert unasked(database) is None


def test_an_older_reading_does_not_undo_a_newer_one(database: Database) -> None:
    """A slow tick read the inventory before an operation did, and stores it after."""
    see(database, 0, State.WAKING)
    see(database, 5, State.RUNNING)
    see(database, 3, State.WAKING)
    see(database, 4, State.WAKING, listed=False)
    with database.read() as session:
        assert session.exec(select(ResourceRow)).one().state == State.RUNNING
    assert unasked(database) is None


def test_asking_for_a_hibernate_settles_what_stopped_unasked(database: Database) -> None:
    see(database, 0, State.RUNNING)
    see(database, 1, State.ASLEEP)
    see(database, 2, State.RUNNING)
    see(database, 3, State.ASLEEP)
    assert unasked(database) is not None
    with database.write() as session:
        row = session.exec(select(ResourceRow)).one()
        row.can_sleep = True  # another instance of the tier runs
        request(
            session, START, OperationKind.HIBERNATE, "h100", actor="ada", reason="", seen=f"8429={row.raw_state}"
        )
    assert unasked(database) is None


@pytest.mark.parametrize(("tier", "has_ended"), [("renamed", False), (UNASSIGNED, True)])
def test_one_that_has_gone_follows_the_settings_though_nobody_lists_it(
    database: Database, tier: str, has_ended: bool
) -> None:
    see(database, 0, State.RUNNING)
    see(database, 1, State.GONE, listed=False)
    assert unasked(database) is not None
    with database.write() as session:
        follow_names(session, lambda *_: tier)
    with database.read() as session:
        found = session.exec(select(ResourceRow)).one()
    assert (found.unasked_at is None) is has_ended
    assert has_ended or found.tier == tier
