"""What an operation wants done next: a pure function of what is known at one look.

`next_want` yields; `operations.py` does it, and looks again. Everything that must survive a process is in the
store before a provider is asked, so whoever leads next goes on from the same place.
"""

from collections.abc import Sequence
from datetime import timedelta

from console.collector.sight import (
    ACCEPTED,
    APPLIED,
    NO_CAPACITY,
    NOT_APPLIED,
    REFUSED,
    UNSENT,
    Call,
    Sight,
    Target,
)
from console.collector.wants import (
    Ask,
    Doubt,
    End,
    Enter,
    Judge,
    Lease,
    Moved,
    Probe,
    ReadLast,
    Wait,
    Want,
)
from store.phases import WAKE_FAILED, WAKE_TIMEOUT, OperationKind, OperationOutcome, Phase
from store.words import State

MOST_READINGS = 3
_MOST_SLEEP_ATTEMPTS = 3
_MOST_DOUBLINGS = 4
_STOPPED = (State.SLEEPING, State.ASLEEP, State.HALTED_BILLED, State.ERROR)
_WAIT = Wait()


def next_want(sight: Sight) -> Want:
    """What is to be done now."""
    return _hibernate(sight) if sight.kind == OperationKind.HIBERNATE else _wake(sight)


def _hibernate(sight: Sight) -> Want:
    match sight.phase:
        case Phase.REQUESTED:
            return Enter(Phase.DRAINING)
        case Phase.DRAINING:
            return _drain(sight)
        case Phase.DRAINED:
            return Enter(Phase.PROVIDER)
        case Phase.PROVIDER:
            return _put_to_sleep(sight)
        case Phase.ASLEEP:
            return _come_to_rest(sight)
        case _:
            return End(OperationOutcome.DONE)


def _drain(sight: Sight) -> Want:
    """Until nothing is in flight, or the limit; an agent that does not answer has no veto."""
    is_late = sight.waited > sight.limits.drain
    if is_late and sight.readings >= MOST_READINGS:
        silent = ", ".join(name for name, agent in sight.agents.items() if agent.problem) or "an agent"
        return Enter(Phase.DRAINED, f"usage gap: {silent} gave no last reading")
    if not is_late and any(agent.is_leased for agent in sight.agents.values()):
        return Lease()
    if is_late or all(agent.in_flight == 0 for agent in sight.agents.values()):
        return ReadLast()
    return _WAIT


def _put_to_sleep(sight: Sight) -> Want:
    if sight.targets and all(target.state in (State.ASLEEP, State.GONE) for target in sight.targets):
        return _judged(sight) or Enter(Phase.ASLEEP)
    want = _drive(sight, State.SLEEPING, State.ASLEEP)
    if want is not None:
        return want
    failures = _failures(sight, State.SLEEPING, State.ASLEEP)
    if failures is not None:
        return End(OperationOutcome.FAILED, failures)
    if sight.waited > sight.limits.sleep + _MOST_SLEEP_ATTEMPTS * sight.limits.not_applied:
        return End(OperationOutcome.FAILED, f"timeout: {_states(sight)}")
    return _WAIT


def _come_to_rest(sight: Sight) -> Want:
    """Asleep is believed when the bill agrees; sent again only where the provider says that it runs."""
    if any(target.is_able for target in sight.targets):
        return Enter(Phase.PROVIDER, f"{_states(sight)}, though it was asleep: asked once more")
    if sight.is_at_rest:
        return Enter(Phase.SETTLED)
    if sight.is_at_rest is False and not sight.is_doubted and sight.waited > 2 * sight.rest:
        return Doubt()
    if sight.waited <= 6 * sight.rest:
        return _WAIT
    why = "its bill goes on rising" if sight.is_at_rest is False else "its bill could not be read"
    return End(OperationOutcome.FAILED, f"still_billing: asleep, but {why}")


def _wake(sight: Sight) -> Want:
    if sight.closed is not None:
        if sight.phase == Phase.REQUESTED:
            return End(OperationOutcome.REFUSED, sight.closed)
        return _failed(sight, f"the gate has closed: {sight.closed}")
    if sight.phase == Phase.REQUESTED:
        return Enter(Phase.PROVIDER)
    if sight.phase == Phase.FIRST_TOKEN:
        return End(OperationOutcome.DONE)
    if sight.now - sight.requested_at > sight.limits.wake:
        return End(OperationOutcome.FAILED, _late(sight))
    if sight.phase in (Phase.PROVIDER, Phase.ACCEPTED):
        return _bring_up(sight)
    return _come_to_serve(sight)


def _bring_up(sight: Sight) -> Want:
    if sight.phase == Phase.PROVIDER and any(call.answer == ACCEPTED or call.moved_at for call in sight.calls):
        return Enter(Phase.ACCEPTED)
    if sight.targets and all(target.state in (State.RUNNING, State.GONE) for target in sight.targets):
        if all(target.state == State.GONE for target in sight.targets):
            return _failed(sight, f"nothing is left to wake: {_states(sight)}")
        return _judged(sight) or Enter(Phase.RUNNING)
    want = _drive(sight, State.WAKING, State.RUNNING)
    if want is not None:
        return _permitted(sight, want)
    failures = _failures(sight, State.WAKING, State.RUNNING)
    return _WAIT if failures is None else _failed(sight, failures)


def _permitted(sight: Sight, want: Want) -> Want:
    """The gate is asked before every call; what is up already has been paid for, and may come to serve.

    `reserved` opens by itself, and it may be the bill of this wake, which was let in as a whole: once something of
    it is up the rest may follow, else it waits.
    """
    if sight.shut is None or not isinstance(want, Ask):
        return want
    if sight.is_only_reserved:
        return want if any(_may_bill(sight, target) for target in sight.targets) else _WAIT
    return _failed(sight, f"the gate has closed: {sight.shut}")


def _come_to_serve(sight: Sight) -> Want:
    agents = sight.agents
    if all(target.state == State.GONE for target in sight.targets):
        return _failed(sight, f"gone while it was being woken: {_states(sight)}")
    if any(target.state in _STOPPED for target in sight.targets):
        return _failed(sight, f"stopped while it was being woken: {_states(sight)}")
    if any(target.state not in (State.RUNNING, State.GONE) for target in sight.targets):
        return _WAIT  # it reboots, or nobody can say what it does: its time will be over
    if not agents:
        return End(OperationOutcome.DONE, "it has no agents")
    if sight.phase == Phase.RUNNING and sight.by_ssh:
        return (
            Enter(Phase.REACHABLE) if all(agent.is_reachable is not False for agent in agents.values()) else _WAIT
        )
    if sight.phase in (Phase.RUNNING, Phase.REACHABLE):
        return Enter(Phase.ANSWERING) if all(agent.problem is None for agent in agents.values()) else _WAIT
    if sight.phase == Phase.ANSWERING:
        return Enter(Phase.LOADED) if all(agent.is_loaded for agent in agents.values()) else _WAIT
    if sight.phase == Phase.LOADED:
        return Enter(Phase.LEASED) if all(agent.is_leased for agent in agents.values()) else Lease()
    waiting = [name for name, agent in agents.items() if not agent.is_probed]
    return Probe(waiting[0]) if waiting else Enter(Phase.FIRST_TOKEN)


def _drive(sight: Sight, underway: State, wanted: State) -> Want | None:
    """One step towards `wanted` for the first instance that needs one."""
    for target in sight.targets:
        if target.state in (wanted, State.GONE):
            continue
        calls = [call for call in sight.calls if call.resource_id == target.id]
        want = _step(sight, target, calls, underway)
        if want is not None:
            return want
    return None


def _step(sight: Sight, target: Target, calls: Sequence[Call], underway: State) -> Want | None:
    last = calls[-1] if calls else None
    if target.state == underway:
        return Moved(last) if last is not None and last.moved_at is None and not last.ended else None
    if last is None:
        return Ask(target) if target.is_able and target.raw_state == target.seen else None
    if not last.ended:
        ended = _ended(sight, target, last)
        return None if ended is None else Judge(last, ended)
    if _may_try_again(sight, calls) and target.is_able and target.raw_state == last.seen:
        rested = sight.now - (last.ended_at or last.sent_at)
        return Ask(target) if rested >= pause_after(sight.limits.pause, len(calls)) else None
    return None


def _ended(sight: Sight, target: Target, last: Call) -> str | None:
    """How an attempt has ended that did not lead where it should; None while that cannot be told."""
    if last.answer == REFUSED or target.raw_state != last.seen:
        return None
    if last.answer == UNSENT:
        return NOT_APPLIED
    if last.answer == NO_CAPACITY or (last.moved_at is not None and target.read_at > last.moved_at):
        return NO_CAPACITY if sight.kind == OperationKind.WAKE else NOT_APPLIED
    if sight.is_clock_doubted:
        return None  # a jump ahead is no time gone by
    return NOT_APPLIED if target.read_at - last.sent_at > sight.limits.not_applied else None


def _may_try_again(sight: Sight, calls: Sequence[Call]) -> bool:
    """A wake is tried again until its time is over, a hibernate sent thrice; the gate demands another by itself."""
    sent = sum(call.answer != UNSENT for call in calls)
    return sight.kind == OperationKind.WAKE or sent < _MOST_SLEEP_ATTEMPTS


def pause_after(first: timedelta, attempts: int) -> timedelta:
    """How long to wait after so many attempts in vain: twice as long each time, up to 16 times the first."""
    pause: timedelta = first * 2 ** min(attempts - 1, _MOST_DOUBLINGS)
    return pause


def _judged(sight: Sight) -> Want | None:
    """Every attempt that led here is noted as applied."""
    return next((Judge(call, APPLIED) for call in sight.calls if not call.ended and call.answer != REFUSED), None)


def _failures(sight: Sight, underway: State, wanted: State) -> str | None:
    """Why the operation has failed, once every instance has either arrived or failed; else None."""
    if not sight.targets:
        return "the provider's inventory shows no instance of it"
    failures = []
    for target in sight.targets:
        if target.state in (wanted, State.GONE):
            continue
        why = _failure(sight, target, underway)
        if why is None:
            return None
        failures.append(why)
    return "; ".join(failures) or None


def _failure(sight: Sight, target: Target, underway: State) -> str | None:
    calls = [call for call in sight.calls if call.resource_id == target.id]
    last = calls[-1] if calls else None
    if last is not None and target.state == underway:
        return None  # an attempt that was thought to be lost, or refused for coming second, has come through
    if sight.kind == OperationKind.WAKE and target.state == State.STARTING:
        return None  # on its way up, whoever began it
    if last is None:
        if target.raw_state != target.seen:
            return f"{target.id} is {target.raw_state} now, no longer {target.seen}"
        return None if target.is_able else f"{target.id} is {target.raw_state}, which does not allow it"
    if last.answer == REFUSED:
        return f"{target.id}: {last.detail}"
    if last.ended and not _may_try_again(sight, calls):
        why = last.detail or last.answer
        return f"not_applied: {target.id} is {target.raw_state} after {len(calls)} attempts ({why})"
    if last.ended and target.raw_state != last.seen:
        return f"{target.id} is {target.raw_state} now, no longer {last.seen}"
    if target.state == State.ERROR:
        return f"{target.id} is {target.raw_state}"
    return None


def _late(sight: Sight) -> str:
    """Why a wake was given up: for want of capacity only where nothing bills: such a wake is not put to sleep."""
    had_none = any(call.ended == NO_CAPACITY or call.answer == NO_CAPACITY for call in sight.calls)
    if had_none and not any(_may_bill(sight, target) for target in sight.targets):
        return f"no_capacity: {len(sight.calls)} attempts; {_states(sight)}"
    silent = [f"{name}: {agent.problem}" for name, agent in sight.agents.items() if agent.problem]
    shut = [] if sight.shut is None else [f"the gate is closed: {sight.shut}"]
    return f"{WAKE_TIMEOUT}: reached {sight.phase}; {'; '.join([_states(sight), *silent, *shut])}"


def _failed(sight: Sight, why: str) -> End:
    """The end of a wake before its time is over; marked where something may bill, which is put to sleep again."""
    bills = any(_may_bill(sight, target) for target in sight.targets)
    return End(OperationOutcome.FAILED, f"{WAKE_FAILED}: {why}" if bills else why)


def _may_bill(sight: Sight, target: Target) -> bool:
    """Whether an instance is up, or may still come up: then its last attempt has not come out yet."""
    if target.state != State.ASLEEP:
        return target.state != State.GONE
    last = next((call for call in reversed(sight.calls) if call.resource_id == target.id), None)
    if last is None or last.ended or last.answer == REFUSED:
        return False
    return _ended(sight, target, last) is None


def _states(sight: Sight) -> str:
    return ", ".join(f"{target.id} is {target.raw_state}" for target in sight.targets) or "no instance is known"
