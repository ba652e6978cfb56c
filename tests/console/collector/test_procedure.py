"""What an operation wants next, state by state, by hand: no network, no clock, no store."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.collector.procedure import next_want, pause_after
from console.collector.sight import AgentSight, Call, Limits, Sight, Target
from console.collector.wants import Ask, Doubt, End, Enter, Judge, Lease, Moved, Probe, ReadLast, Wait
from store.phases import OperationKind, OperationOutcome, Phase
from store.words import State

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
LIMITS = Limits(
    drain=timedelta(seconds=120),
    sleep=timedelta(minutes=5),
    wake=timedelta(minutes=10),
    not_applied=timedelta(seconds=120),
    pause=timedelta(seconds=10),
)
RAW = {
    State.RUNNING: "ACTIVE",
    State.SLEEPING: "HIBERNATING",
    State.ASLEEP: "HIBERNATED",
    State.WAKING: "RESTORING",
    State.HALTED_BILLED: "SHUTOFF",
    State.STARTING: "REBOOTING",
    State.UNKNOWN: "MOVING",
    State.ERROR: "ERROR",
    State.GONE: "not listed",
}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def target(state: State, kind: OperationKind, id_: str = "8429", **changes: object) -> Target:
    able = state is (State.RUNNING if kind is OperationKind.HIBERNATE else State.ASLEEP)
    seen = "ACTIVE" if kind is OperationKind.HIBERNATE else "HIBERNATED"
    return replace(Target(id_, state, RAW[state], seen, able, NOW), **changes)  # type: ignore[arg-type]


def call(kind: OperationKind, sent_s: float = 5, id_: str = "8429", **changes: object) -> Call:
    seen = "ACTIVE" if kind is OperationKind.HIBERNATE else "HIBERNATED"
    return replace(Call(1, id_, seen, ago(sent_s), "accepted"), **changes)  # type: ignore[arg-type]


def sight(kind: OperationKind, phase: Phase, *states: State, waited_s: float = 1, **changes: object) -> Sight:
    targets = tuple(target(state, kind, str(8429 + n)) for n, state in enumerate(states))
    base = Sight(
        now=NOW,
        kind=kind,
        phase=phase,
        phase_at=ago(waited_s),
        requested_at=ago(waited_s + 60),
        targets=targets,
        calls=(),
        agents={},
        limits=LIMITS,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


SLEEP, WAKE = OperationKind.HIBERNATE, OperationKind.WAKE


def test_a_hibernate_begins_with_the_drain() -> None:
    assert next_want(sight(SLEEP, Phase.REQUESTED, State.RUNNING)) == Enter(Phase.DRAINING)


@pytest.mark.parametrize(
    ("agent", "waited_s", "readings", "wanted"),
    [
        (AgentSight(in_flight=2, is_leased=True), 1, 0, Lease()),
        (AgentSight(in_flight=2), 1, 0, Wait()),
        (AgentSight(in_flight=0), 1, 0, ReadLast()),
        (AgentSight(problem="no answer"), 119, 0, Wait()),
        (AgentSight(problem="no answer"), 121, 0, ReadLast()),
        (AgentSight(in_flight=2, is_leased=True), 121, 2, ReadLast()),
        (
            AgentSight(problem="no answer"),
            121,
            3,
            Enter(Phase.DRAINED, "usage gap: h100-a gave no last reading"),
        ),
    ],
)
def test_the_drain(agent: AgentSight, waited_s: float, readings: int, wanted: object) -> None:
    seen = sight(SLEEP, Phase.DRAINING, State.RUNNING, waited_s=waited_s, readings=readings)
    assert next_want(replace(seen, agents={"h100-a": agent})) == wanted


def test_each_instance_is_asked_once() -> None:
    seen = sight(SLEEP, Phase.PROVIDER, State.RUNNING, State.RUNNING)
    assert next_want(seen) == Ask(seen.targets[0])
    seen = replace(seen, calls=(call(SLEEP),))
    assert next_want(seen) == Ask(seen.targets[1])
    seen = replace(seen, calls=(call(SLEEP), call(SLEEP, n=2, id_="8430")))
    assert next_want(seen) == Wait()


def test_a_call_without_an_answer_is_never_sent_again_before_its_time_is_over() -> None:
    """The process died between the record and the answer: the state alone tells."""
    lost = call(SLEEP, 119, answer="")
    seen = sight(SLEEP, Phase.PROVIDER, State.RUNNING, waited_s=120, calls=(lost,))
    assert next_want(seen) == Wait()
    late = replace(lost, sent_at=ago(121))
    assert next_want(replace(seen, calls=(late,))) == Judge(late, "not_applied")


def test_a_stale_inventory_judges_nothing() -> None:
    old = target(State.RUNNING, SLEEP, read_at=ago(200))
    sent = call(SLEEP, 190, answer="ambiguous")
    seen = sight(SLEEP, Phase.PROVIDER, waited_s=190, targets=(old,), calls=(sent,))
    assert next_want(seen) == Wait()


def test_a_new_attempt_follows_after_a_pause_and_only_thrice_for_a_hibernate() -> None:
    ended = call(SLEEP, 130, ended="not_applied", ended_at=ago(9))
    seen = sight(SLEEP, Phase.PROVIDER, State.RUNNING, waited_s=130, calls=(ended,))
    assert next_want(seen) == Wait()
    again = replace(ended, ended_at=ago(10))
    assert next_want(replace(seen, calls=(again,))) == Ask(seen.targets[0])
    thrice = tuple(replace(again, n=n) for n in (1, 2, 3))
    end = next_want(replace(seen, calls=thrice))
    assert isinstance(end, End)
    assert end.detail.startswith("not_applied: 8429 is ACTIVE after 3 attempts")


def test_the_pauses_grow_and_stay_bounded() -> None:
    pauses = [pause_after(timedelta(seconds=10), n).total_seconds() for n in range(1, 9)]
    assert pauses == [10, 20, 40, 80, 160, 160, 160, 160]


def test_what_is_on_its_way_is_noted_and_waited_for() -> None:
    sent = call(SLEEP)
    seen = sight(SLEEP, Phase.PROVIDER, State.SLEEPING, calls=(sent,))
    assert next_want(seen) == Moved(sent)
    assert next_want(replace(seen, calls=(replace(sent, moved_at=ago(1)),))) == Wait()


def test_a_refusal_ends_the_operation_once_the_others_have_arrived() -> None:
    refused = call(SLEEP, answer="refused", detail="HTTP 400: locked")
    other = call(SLEEP, n=2, id_="8430", moved_at=ago(1))
    seen = sight(SLEEP, Phase.PROVIDER, State.RUNNING, State.SLEEPING, calls=(refused, other))
    assert next_want(seen) == Wait()
    seen = sight(SLEEP, Phase.PROVIDER, State.RUNNING, State.ASLEEP, calls=(refused, other))
    assert next_want(seen) == End(OperationOutcome.FAILED, "8429: HTTP 400: locked")


def test_a_changed_state_is_refused_before_anything_is_sent() -> None:
    end = next_want(sight(SLEEP, Phase.PROVIDER, State.HALTED_BILLED))
    assert end == End(OperationOutcome.FAILED, "8429 is SHUTOFF now, no longer ACTIVE")


def test_asleep_is_entered_when_every_attempt_is_accounted_for() -> None:
    sent = call(SLEEP)
    seen = sight(SLEEP, Phase.PROVIDER, State.ASLEEP, calls=(sent,))
    assert next_want(seen) == Judge(sent, "applied")
    assert next_want(replace(seen, calls=(replace(sent, ended="applied"),))) == Enter(Phase.ASLEEP)


@pytest.mark.parametrize(
    ("at_rest", "doubted", "waited_s", "wanted"),
    [
        (True, False, 1, Enter(Phase.SETTLED)),
        (None, False, 100, Wait()),
        (False, False, 100, Wait()),
        (False, False, 121, Doubt()),
        (False, True, 200, Wait()),
        (True, True, 200, Enter(Phase.SETTLED)),
        (
            False,
            True,
            361,
            End(OperationOutcome.FAILED, "still_billing: asleep, but its bill goes on rising"),
        ),
        (
            None,
            False,
            361,
            End(OperationOutcome.FAILED, "still_billing: asleep, but its bill could not be read"),
        ),
    ],
)
def test_sleep_is_believed_when_the_bill_agrees(
    at_rest: bool | None, doubted: bool, waited_s: float, wanted: object
) -> None:
    seen = sight(SLEEP, Phase.ASLEEP, State.ASLEEP, waited_s=waited_s, rest=timedelta(seconds=60))
    assert next_want(replace(seen, is_at_rest=at_rest, is_doubted=doubted)) == wanted


def test_one_that_runs_although_it_was_asleep_is_asked_once_more() -> None:
    applied = call(SLEEP, 300, ended="applied", ended_at=ago(200))
    seen = sight(SLEEP, Phase.ASLEEP, State.RUNNING, calls=(applied,))
    assert next_want(seen) == Enter(Phase.PROVIDER, "8429 is ACTIVE, though it was asleep: asked once more")
    assert next_want(replace(seen, phase=Phase.PROVIDER)) == Ask(seen.targets[0])


def test_a_wake_is_refused_by_a_closed_gate_and_overruled_by_a_spent_budget() -> None:
    seen = sight(WAKE, Phase.REQUESTED, State.ASLEEP, closed="the gate is closed: dark")
    assert next_want(seen) == End(OperationOutcome.REFUSED, "the gate is closed: dark")
    seen = sight(WAKE, Phase.ANSWERING, State.RUNNING, closed="$200 of $200 spent")
    assert next_want(seen) == End(OperationOutcome.FAILED, "wake_failed: the gate has closed: $200 of $200 spent")


NONE_FOUND = call(WAKE, 60, answer="no_capacity", ended="no_capacity", ended_at=ago(50))
LEFT_TO_WAKE = [(State.ASLEEP,), (State.ASLEEP, State.RUNNING), (State.ASLEEP, State.WAKING)]


@pytest.mark.parametrize("states", LEFT_TO_WAKE)
def test_no_call_is_sent_once_the_gate_has_closed(states: tuple[State, ...]) -> None:
    seen = sight(WAKE, Phase.ACCEPTED, *states, calls=(NONE_FOUND,))
    assert next_want(seen) == Ask(seen.targets[0])
    why = "the gate has closed: closed by ada"
    marked = why if states == (State.ASLEEP,) else f"wake_failed: {why}"
    assert next_want(replace(seen, shut="closed by ada")) == End(OperationOutcome.FAILED, marked)


@pytest.mark.parametrize("states", LEFT_TO_WAKE)
def test_a_reserved_limit_holds_a_wake_that_its_own_bill_cannot_have_reserved(states: tuple[State, ...]) -> None:
    """What is up was let in as a whole, and may be what reserved the limit: none near it would come to serve."""
    seen = sight(WAKE, Phase.ACCEPTED, *states, calls=(NONE_FOUND,), shut="reserved", is_only_reserved=True)
    assert next_want(seen) == (Wait() if states == (State.ASLEEP,) else Ask(seen.targets[0]))


@pytest.mark.parametrize("phase", [Phase.ACCEPTED, Phase.RUNNING])
def test_a_short_dark_ends_no_wake_that_has_nothing_left_to_send(phase: Phase) -> None:
    agents = {"h100-a": AgentSight(problem="no answer")}
    state = State.WAKING if phase is Phase.ACCEPTED else State.RUNNING
    calls = (call(WAKE, moved_at=ago(1)),)
    seen = sight(WAKE, phase, state, calls=calls, agents=agents, shut="last complete tick 3 min ago")
    assert next_want(seen) == Wait()
    late = next_want(replace(seen, requested_at=ago(601)))
    assert isinstance(late, End)
    assert late.detail.startswith(f"wake_timeout: reached {phase}; ")
    assert late.detail.endswith("; the gate is closed: last complete tick 3 min ago")


def test_a_restore_that_falls_back_found_no_capacity() -> None:
    fell = call(WAKE, 30, moved_at=ago(20))
    seen = sight(WAKE, Phase.ACCEPTED, State.ASLEEP, calls=(fell,))
    assert next_want(seen) == Judge(fell, "no_capacity")
    ended = replace(fell, ended="no_capacity", ended_at=ago(11))
    assert next_want(replace(seen, calls=(ended,))) == Ask(seen.targets[0])
    late = replace(seen, calls=(ended,), requested_at=ago(601))
    end = next_want(late)
    assert isinstance(end, End)
    assert end.detail.startswith("no_capacity: 1 attempts")


@pytest.mark.parametrize(
    ("phase", "states", "found"),
    [
        (Phase.RUNNING, [State.RUNNING], {"ended": "applied"}),
        (Phase.ACCEPTED, [State.WAKING], {"moved_at": ago(20)}),
        (Phase.ACCEPTED, [State.ASLEEP], {}),  # accepted, and nothing has come of it yet
        (Phase.ACCEPTED, [State.ASLEEP, State.RUNNING], {"ended": "no_capacity"}),
    ],
)
def test_a_wake_that_found_capacity_late_has_timed_out_since_it_bills(
    phase: Phase, states: list[State], found: dict[str, Any]
) -> None:
    calls = (call(WAKE, 400, answer="no_capacity", ended="no_capacity"), call(WAKE, 30, n=2, **found))
    end = next_want(sight(WAKE, phase, *states, requested_at=ago(601), calls=calls))
    assert isinstance(end, End)
    assert end.detail.startswith(f"wake_timeout: reached {phase}; 8429 is ")


def wants(phase: Phase, agent: AgentSight, **changes: object) -> object:
    seen = sight(WAKE, phase, State.RUNNING, agents={"h100-a": agent})
    return next_want(replace(seen, **changes))  # type: ignore[arg-type]


def test_a_wake_comes_to_serve_phase_by_phase() -> None:
    accepted = call(WAKE)
    seen = sight(WAKE, Phase.PROVIDER, State.WAKING, calls=(accepted,))
    assert next_want(seen) == Enter(Phase.ACCEPTED)
    seen = sight(WAKE, Phase.ACCEPTED, State.RUNNING, calls=(replace(accepted, ended="applied"),))
    assert next_want(seen) == Enter(Phase.RUNNING)
    assert wants(Phase.RUNNING, AgentSight(is_reachable=False), by_ssh=True) == Wait()
    assert wants(Phase.RUNNING, AgentSight(is_reachable=True), by_ssh=True) == Enter(Phase.REACHABLE)
    assert wants(Phase.RUNNING, AgentSight(problem="refused")) == Wait()
    assert wants(Phase.RUNNING, AgentSight()) == Enter(Phase.ANSWERING)
    assert wants(Phase.ANSWERING, AgentSight(is_loaded=False)) == Wait()
    assert wants(Phase.ANSWERING, AgentSight(is_loaded=True)) == Enter(Phase.LOADED)
    assert wants(Phase.LOADED, AgentSight()) == Lease()
    assert wants(Phase.LOADED, AgentSight(is_leased=True)) == Enter(Phase.LEASED)
    assert wants(Phase.LEASED, AgentSight(is_leased=True)) == Probe("h100-a")
    assert wants(Phase.LEASED, AgentSight(is_probed=True)) == Enter(Phase.FIRST_TOKEN)
    assert wants(Phase.FIRST_TOKEN, AgentSight()) == End(OperationOutcome.DONE)


def test_a_wake_that_does_not_come_to_serve_times_out_with_what_is_missing() -> None:
    agents = {"h100-a": AgentSight(problem="no answer within 10 s")}
    late = sight(WAKE, Phase.RUNNING, State.RUNNING, requested_at=ago(601), agents=agents)
    text = "wake_timeout: reached running; 8429 is ACTIVE; h100-a: no answer within 10 s"
    assert next_want(late) == End(OperationOutcome.FAILED, text)


def test_one_taken_away_while_it_is_woken_ends_the_wake() -> None:
    seen = sight(WAKE, Phase.ANSWERING, State.ASLEEP, agents={"h100-a": AgentSight()})
    assert next_want(seen) == End(OperationOutcome.FAILED, "stopped while it was being woken: 8429 is HIBERNATED")


@pytest.mark.parametrize("state", [State.STARTING, State.WAKING, State.UNKNOWN])
@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.ANSWERING, Phase.LEASED])
def test_one_that_reboots_while_it_comes_to_serve_is_waited_for(phase: Phase, state: State) -> None:
    seen = sight(WAKE, phase, state, agents={"h100-a": AgentSight()})
    assert next_want(seen) == Wait()
    late = next_want(replace(seen, requested_at=ago(601)))
    assert isinstance(late, End)
    assert late.detail.startswith("wake_timeout: ")


def test_one_that_starts_after_its_attempt_was_given_up_is_waited_for() -> None:
    lost = call(WAKE, 150, answer="ambiguous", ended="not_applied", ended_at=ago(30))
    assert next_want(sight(WAKE, Phase.PROVIDER, State.STARTING, calls=(lost,))) == Wait()
    assert next_want(sight(WAKE, Phase.PROVIDER, State.STARTING)) == Wait()  # somebody else has started it


@pytest.mark.parametrize(
    ("other", "marked"),
    [(State.RUNNING, True), (State.HALTED_BILLED, True), (State.ASLEEP, False), (State.GONE, False)],
)
def test_a_wake_that_fails_while_something_may_bill_says_so(other: State, marked: bool) -> None:
    refused = call(WAKE, answer="refused", detail="HTTP 429: slow down")
    also = call(WAKE, n=2, id_="8430", answer="refused", detail="HTTP 403")
    seen = sight(WAKE, Phase.ACCEPTED, State.ASLEEP, other, calls=(refused, also))
    end = next_want(seen)
    assert isinstance(end, End)
    assert end.detail.startswith("wake_failed: 8429: HTTP 429" if marked else "8429: HTTP 429")
    stopped = next_want(sight(WAKE, Phase.ANSWERING, State.ASLEEP, other, agents={"h100-a": AgentSight()}))
    assert isinstance(stopped, End)
    assert stopped.detail.startswith("wake_failed: " if marked else "stopped while it was being woken")


def test_a_wake_whose_machine_has_gone_has_failed_at_whatever_phase() -> None:
    for phase in (Phase.RUNNING, Phase.ANSWERING, Phase.LEASED):
        end = next_want(sight(WAKE, phase, State.GONE))
        assert end == End(OperationOutcome.FAILED, "gone while it was being woken: 8429 is not listed")


def test_an_attempt_that_comes_through_late_is_no_failure() -> None:
    """The first was taken for lost, the second refused because the machine was on its way: it is waited for."""
    lost = call(WAKE, 150, answer="ambiguous", ended="not_applied", ended_at=ago(30))
    refused = call(WAKE, 5, n=2, answer="refused", detail="it is RESTORING now, no longer HIBERNATED")
    seen = sight(WAKE, Phase.PROVIDER, State.WAKING, calls=(lost, refused))
    assert next_want(seen) in (Wait(), Moved(refused))
    assert next_want(replace(seen, calls=(lost, replace(refused, moved_at=ago(1))))) == Enter(Phase.ACCEPTED)


def test_what_was_never_sent_does_not_count_as_an_attempt() -> None:
    unsent = tuple(
        call(SLEEP, 60, n=n, answer="unsent", ended="not_applied", ended_at=ago(200)) for n in (1, 2, 3, 4)
    )
    seen = sight(SLEEP, Phase.PROVIDER, State.RUNNING, waited_s=60, calls=unsent)
    assert next_want(seen) == Ask(seen.targets[0])


def test_a_clock_that_jumped_ahead_is_no_time_gone_by() -> None:
    lost = call(SLEEP, 86_400, answer="ambiguous")
    seen = sight(SLEEP, Phase.PROVIDER, State.RUNNING, calls=(lost,))
    assert next_want(seen) == Judge(lost, "not_applied")
    assert next_want(replace(seen, is_clock_doubted=True)) == Wait()
