"""An operation is asked for once, in the state that the engineer saw, and ends with an outcome."""

import threading

import pytest
from sqlmodel import select

from store.database import Database
from store.operations import (
    OperationRefused,
    answer_call,
    calls_of,
    current,
    end_call,
    enter,
    finish,
    record_call,
    request,
    seen_state,
)
from store.phases import OperationKind, OperationOutcome, Phase
from store.tables import JournalEntry, OperationPhase, OperationRow, ResourceRow
from store.words import ResourceKind, State
from tests.conftest import START


def put_instance(database: Database, raw_state: str, *, can_sleep: bool, can_wake: bool) -> None:
    with database.write() as session:
        session.merge(
            ResourceRow(
                provider="cloud",
                kind=ResourceKind.INSTANCE,
                resource_id="8429",
                tier="h100",
                name="h100-a",
                state=State.RUNNING if can_sleep else State.ASLEEP,
                raw_state=raw_state,
                can_sleep=can_sleep,
                can_wake=can_wake,
                seen_at=START,
            )
        )


def ask(database: Database, kind: OperationKind, seen: str) -> None:
    with database.write() as session:
        request(session, START, kind, "h100", actor="ada", reason="idle", seen=seen)


def test_a_request_is_journaled_and_single(database: Database) -> None:
    put_instance(database, "ACTIVE", can_sleep=True, can_wake=False)
    ask(database, OperationKind.HIBERNATE, "8429=ACTIVE")
    with pytest.raises(OperationRefused, match="is under way"):
        ask(database, OperationKind.HIBERNATE, "8429=ACTIVE")
    with database.write() as session:
        row = current(session, "h100")
        assert row is not None
        enter(session, row, Phase.DRAINING, START)
        finish(session, row, OperationOutcome.DONE, START)
        assert current(session, "h100") is None
        phases = [phase.phase for phase in session.exec(select(OperationPhase))]
        assert sorted(phases) == ["done", "draining", "requested"]
        assert [entry.what for entry in session.exec(select(JournalEntry))] == [
            "hibernate asked",
            "hibernate done",
        ]


def test_a_changed_state_is_refused(database: Database) -> None:
    put_instance(database, "HIBERNATED", can_sleep=False, can_wake=True)
    with pytest.raises(OperationRefused, match="no longer '8429=ACTIVE'"):
        ask(database, OperationKind.HIBERNATE, "8429=ACTIVE")


def test_what_makes_no_sense_is_refused(database: Database) -> None:
    put_instance(database, "HIBERNATED", can_sleep=False, can_wake=True)
    with pytest.raises(OperationRefused, match="asleep already"):
        ask(database, OperationKind.HIBERNATE, "8429=HIBERNATED")
    with database.read() as session:
        assert seen_state(session, "h100") == "8429=HIBERNATED"
        assert seen_state(session, "other") == ""


def test_of_two_requests_at_the_same_moment_one_is_refused(database: Database) -> None:
    put_instance(database, "ACTIVE", can_sleep=True, can_wake=False)
    refused: list[str] = []

    def other() -> None:
        try:
            ask(database, OperationKind.HIBERNATE, "8429=ACTIVE")
        except OperationRefused as error:
            refused.append(error.why)

    with database.write() as session:
        request(session, START, OperationKind.HIBERNATE, "h100", actor="ada", reason="", seen="8429=ACTIVE")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.3)  # it waits for this transaction
    thread.join(10)
    assert len(refused) == 1
    with database.read() as session:
        assert len(session.exec(select(OperationRow)).all()) == 1


def test_a_tier_that_sleeps_may_be_woken_before_its_bill_has_come_to_rest(database: Database) -> None:
    put_instance(database, "ACTIVE", can_sleep=True, can_wake=False)
    ask(database, OperationKind.HIBERNATE, "8429=ACTIVE")
    put_instance(database, "HIBERNATED", can_sleep=False, can_wake=True)
    with pytest.raises(OperationRefused, match="is under way"):
        ask(database, OperationKind.WAKE, "8429=HIBERNATED")
    with database.write() as session:
        row = current(session, "h100")
        assert row is not None
        enter(session, row, Phase.ASLEEP, START)
    ask(database, OperationKind.WAKE, "8429=HIBERNATED")
    with database.read() as session:
        first, second = session.exec(select(OperationRow)).all()
        assert (first.outcome, second.kind, second.outcome) == ("done", "wake", None)


def test_calls_are_on_record_before_and_after(database: Database) -> None:
    put_instance(database, "ACTIVE", can_sleep=True, can_wake=False)
    ask(database, OperationKind.HIBERNATE, "8429=ACTIVE")
    with database.write() as session:
        row = current(session, "h100")
        assert row is not None
        assert row.id is not None
        call = record_call(session, row, "8429", "sleep", "ACTIVE", START)
        answer_call(session, row, call, "accepted", "", START)
        end_call(session, row, call, "applied", START)
        assert [(one.n, one.answer, one.ended) for one in calls_of(session, row.id)] == [(1, "accepted", "applied")]
        told = [entry.what for entry in session.exec(select(JournalEntry))]
        assert told == ["hibernate asked", "sleep sent", "sleep accepted", "sleep applied"]
