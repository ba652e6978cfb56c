"""A hibernate that fails is told, once, for as long as its tier is up."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlmodel import select

from store.alarms import conditions, follow
from store.database import Database
from store.gate import GatePolicy
from store.inventory import keep_resources
from store.operations import current, enter, finish, request, seen_state
from store.phases import OperationKind, OperationOutcome, Phase
from store.states import keep_states
from store.tables import AlarmRow, ResourceRow, Tick, TierTick
from store.verdicts import verdict_now
from store.words import ResourceKind, State
from tests.conftest import START, an_instance

POLICY = GatePolicy(200 * 10**9, ZoneInfo("UTC"), timedelta(seconds=170))
SLEEP, WAKE = OperationKind.HIBERNATE, OperationKind.WAKE
DONE, FAILED, REFUSED = OperationOutcome.DONE, OperationOutcome.FAILED, OperationOutcome.REFUSED
_NOT_OURS = ("gate_closed", "preempted")


class Story:
    """One tier, minute by minute: a tick that sees its instance's state, and who is told of what."""

    def __init__(self, database: Database, state: State = State.RUNNING) -> None:
        self.database, self.now = database, START
        self.see(state)

    def see(self, state: State) -> list[str]:
        self.now += timedelta(minutes=1)
        row = an_instance(state, self.now, can_sleep=state is State.RUNNING, can_wake=state is State.ASLEEP)
        with self.database.write() as session:
            session.add(Tick(at=self.now, fence=1, complete=True, duration_ms=1))
            session.flush()
            session.add(TierTick(tier="h100", at=self.now, complete=True, running_ms=0))
            keep_resources(session, "cloud", [row], self.now, complete=True)
            session.flush()
            keep_states(session, self.now)
        return self.told()

    def ask(self, kind: OperationKind) -> list[str]:
        with self.database.write() as session:
            seen = seen_state(session, "h100")
            request(session, self.now, kind, "h100", actor="gate", reason="", seen=seen)
        return self.told()

    def end(self, outcome: OperationOutcome, detail: str = "") -> list[str]:
        with self.database.write() as session:
            row = current(session, "h100")
            assert row is not None
            finish(session, row, outcome, self.now, detail)
        return self.told()

    def refuse_a_wake(self) -> list[str]:
        """Of a tier of which a part sleeps."""
        with self.database.write() as session:
            session.get_one(ResourceRow, ("cloud", ResourceKind.INSTANCE, "8429")).can_wake = True
        self.ask(WAKE)
        return self.end(REFUSED, "the gate is closed")

    def told(self) -> list[str]:
        """What lasts now, by kind."""
        with self.database.write() as session:
            found = conditions(session, POLICY, verdict_now(session, POLICY, self.now))
            follow(session, self.now, found)
            return [one.kind for one in found if one.kind not in _NOT_OURS]

    def raised(self) -> list[tuple[str, str, str]]:
        with self.database.read() as session:
            rows = session.exec(select(AlarmRow)).all()
        return [(row.kind, row.subject, row.text) for row in rows if row.kind not in _NOT_OURS]


def failing(database: Database, detail: str = "8429: HTTP 429: slow down") -> Story:
    """A tier that could not be put to sleep."""
    story = Story(database)
    assert story.ask(SLEEP) == []
    assert story.end(FAILED, detail) == ["hibernate_failed"]
    return story


def test_a_hibernate_that_fails_is_told_once_until_one_is_done(database: Database) -> None:
    story = failing(database)
    for detail in (
        "timeout: 8429 is HIBERNATING",
        "not_applied: 8429 is ACTIVE",
        "8429 is X now, no longer ACTIVE",
    ):
        assert story.see(State.RUNNING) == ["hibernate_failed"]
        assert story.ask(SLEEP) == ["hibernate_failed"]
        assert story.end(FAILED, detail) == ["hibernate_failed"]
    story.now += timedelta(days=1)
    assert story.told() == ["hibernate_failed"]
    story.ask(SLEEP)
    assert story.end(DONE) == []
    assert story.see(State.ASLEEP) == []
    assert story.raised() == [("hibernate_failed", "h100", "hibernate of h100 failed: 8429: HTTP 429: slow down")]


def test_one_that_falls_asleep_late_is_no_alarm_and_none_when_somebody_starts_it_again(database: Database) -> None:
    story = failing(database, "timeout: 8429 is HIBERNATING")
    assert story.see(State.SLEEPING) == ["hibernate_failed"]
    assert story.see(State.ASLEEP) == []
    assert story.see(State.RUNNING) == []


def test_one_that_reboots_is_up_still(database: Database) -> None:
    story = failing(database)
    for state in (State.STARTING, State.RUNNING, State.HALTED_BILLED):
        assert story.see(state) == ["hibernate_failed"]


def test_a_wake_that_was_refused_has_changed_nothing_and_one_under_way_has(database: Database) -> None:
    story = failing(database, "timeout: 8429 is HIBERNATING")
    story.see(State.ASLEEP)
    story.ask(WAKE)
    assert story.see(State.WAKING) == []
    assert story.see(State.RUNNING) == []
    assert story.end(DONE) == []
    story.ask(SLEEP)
    assert story.end(FAILED, "8429: HTTP 403") == ["hibernate_failed"]
    assert story.refuse_a_wake() == ["hibernate_failed"]


def test_what_is_asleep_and_bills_on_has_its_own_alarm_alone(database: Database) -> None:
    story = Story(database)
    story.ask(SLEEP)
    story.see(State.ASLEEP)
    with database.write() as session:
        row = current(session, "h100")
        assert row is not None
        enter(session, row, Phase.ASLEEP, story.now, "still billing although the provider says that it is asleep")
    assert story.told() == ["still_billing"]
    assert story.end(FAILED, "still_billing: asleep, but its bill goes on rising") == ["still_billing"]
    assert len(story.raised()) == 1


def test_a_wake_that_fails_and_bills_is_told_as_such(database: Database) -> None:
    story = Story(database, State.ASLEEP)
    story.ask(WAKE)
    assert story.end(FAILED, "wake_failed: 8430: HTTP 429: slow down") == ["wake_failed"]
    assert story.raised()[0][2] == "wake of h100 failed: wake_failed: 8430: HTTP 429: slow down"
