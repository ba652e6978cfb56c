"""What an operation wants done next: a pure function of what is known at one look.

`next_want` yields; `operations.py` does it, and looks again. Everything that must survive a process is in the
store before a provider is asked, so whoever leads next goes on from the same place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.operations import OperationKind, OperationOutcome, Phase
from store.words import State

NOT_APPLIED_AFTER = timedelta(seconds=120)  # unchanged for so long, a call has had no effect
MOST_READINGS = 3
_MOST_SLEEP_ATTEMPTS = 3
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=10), timedelta(seconds=120)

ACCEPTED, REFUSED, AMBIGUOUS, NO_CAPACITY = "accepted", "refused", "ambiguous", "no_capacity"
APPLIED, NOT_APPLIED = "applied", "not_applied"


@dataclass(frozen=True, slots=True)
class Target:
    """An instance of the tier as last read. `seen`: the raw state in which it was when this was asked for."""

    id: str
    state: str
    raw_state: str
    seen: str
    able: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A provider call of this operation, as stored."""

    n: int
    resource_id: str
    seen: str
    sent_at: datetime
    answer: str = ""
    detail: str = ""
    moved_at: datetime | None = None
    ended: str = ""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AgentSight:
    """An agent at one look; `problem` while it does not answer. None is a question that was not asked."""

    in_flight: int | None = None
    problem: str | None = None
    is_reachable: bool | None = None
    is_loaded: bool | None = None
    is_leased: bool = False
    is_probed: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each part may take."""

    drain: timedelta
    sleep: timedelta
    wake: timedelta
    rest: timedelta


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything that is known at one look. `closed`: why the tier must not be woken now."""

    now: datetime
    kind: str
    phase: str
    phase_at: datetime
    requested_at: datetime
    targets: Sequence[Target]
    calls: Sequence[Call]
    agents: Mapping[str, AgentSight]
    limits: Limits
    readings: int = 0
    closed: str | None = None
    by_ssh: bool = False
    is_at_rest: bool | None = None
    is_doubted: bool = False

    @property
    def waited(self) -> timedelta:
        """Since the phase was entered."""
        return self.now - self.phase_at


@dataclass(frozen=True, slots=True)
class Enter:
    """Another phase is reached."""

    phase: Phase
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReadLast:
    """Store the last usage reading before the hosts go."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the provider about one instance: one attempt."""

    target: Target


@dataclass(frozen=True, slots=True)
class Moved:
    """An instance was seen on its way: note when."""

    call: Call


@dataclass(frozen=True, slots=True)
class Judge:
    """The state has told how an attempt came out."""

    call: Call
    ended: str


@dataclass(frozen=True, slots=True)
class Lease:
    """Give the tier's agents their leases."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Let an agent generate its first token."""

    agent: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """Asleep, and the bill goes on rising: an alarm, and one more wait."""


@dataclass(frozen=True, slots=True)
class End:
    """The operation is over."""

    outcome: OperationOutcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done now."""


Want = Enter | ReadLast | Ask | Moved | Judge | Lease | Probe | Doubt | End | Wait
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
    if is_late or all(agent.in_flight == 0 for agent in sight.agents.values()):
        return ReadLast()
    return _WAIT


def _put_to_sleep(sight: Sight) -> Want:
    if sight.targets and all(target.state in (State.ASLEEP, State.GONE) for target in sight.targets):
        return _judged(sight) or Enter(Phase.ASLEEP)
    want = _drive(sight, State.SLEEPING, State.ASLEEP)
    if want is not None:
        return want
    failures = _failures(sight, State.ASLEEP)
    if failures is not None:
        return End(OperationOutcome.FAILED, failures)
    if sight.waited > sight.limits.sleep + _MOST_SLEEP_ATTEMPTS * NOT_APPLIED_AFTER:
        return End(OperationOutcome.FAILED, f"timeout: {_states(sight)}")
    return _WAIT


def _come_to_rest(sight: Sight) -> Want:
    """Asleep is believed when the bill agrees; sent again only where the provider says that it runs."""
    if any(target.able for target in sight.targets):
        return Enter(Phase.PROVIDER, f"{_states(sight)}, though it was asleep: asked once more")
    if sight.is_at_rest:
        return Enter(Phase.SETTLED)
    if sight.waited <= 2 * sight.limits.rest:
        return _WAIT
    if sight.is_at_rest is False and not sight.is_doubted:
        return Doubt()
    if sight.waited <= 4 * sight.limits.rest:
        return _WAIT
    why = "its bill goes on rising" if sight.is_at_rest is False else "its bill could not be read"
    return End(OperationOutcome.FAILED, f"still_billing: asleep, but {why}")


def _wake(sight: Sight) -> Want:
    if sight.closed is not None:
        if sight.phase == Phase.REQUESTED:
            return End(OperationOutcome.REFUSED, sight.closed)
        return End(OperationOutcome.FAILED, f"the gate has closed: {sight.closed}")
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
    if sight.targets and all(target.state in (State.RUNNING, State.GONE) for target in sight.targets):
        if all(target.state == State.GONE for target in sight.targets):
            return End(OperationOutcome.FAILED, f"nothing is left to wake: {_states(sight)}")
        return _judged(sight) or Enter(Phase.RUNNING)
    want = _drive(sight, State.WAKING, State.RUNNING)
    if want is not None:
        return want
    failures = _failures(sight, State.RUNNING)
    if failures is not None:
        return End(OperationOutcome.FAILED, failures)
    taken_on = [call for call in sight.calls if call.answer == ACCEPTED or call.moved_at]
    if sight.phase == Phase.PROVIDER and taken_on:
        return Enter(Phase.ACCEPTED)
    return _WAIT


def _come_to_serve(sight: Sight) -> Want:
    agents = sight.agents
    if not agents:
        return End(OperationOutcome.DONE, "it has no agents")
    if sight.phase == Phase.RUNNING and sight.by_ssh:
        return Enter(Phase.REACHABLE) if all(agent.is_reachable for agent in agents.values()) else _WAIT
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
        return Ask(target) if target.able and target.raw_state == target.seen else None
    if not last.ended and last.answer != REFUSED and target.raw_state == last.seen:
        fell_back = last.moved_at is not None or last.answer == NO_CAPACITY
        if fell_back or sight.now - last.sent_at > NOT_APPLIED_AFTER:
            return Judge(last, NO_CAPACITY if fell_back else NOT_APPLIED)
        return None
    if last.ended in (NOT_APPLIED, NO_CAPACITY) and last.ended_at is not None and _may_try_again(sight, calls):
        return Ask(target) if target.able and sight.now - last.ended_at >= pause_after(len(calls)) else None
    return None


def _may_try_again(sight: Sight, calls: Sequence[Call]) -> bool:
    """A wake is tried again until its time is over, a hibernate twice; the gate demands another by itself."""
    return sight.kind == OperationKind.WAKE or len(calls) < _MOST_SLEEP_ATTEMPTS


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts in vain."""
    pause: timedelta = _FIRST_PAUSE * 2 ** min(attempts - 1, 8)
    return min(pause, _LONGEST_PAUSE)


def _judged(sight: Sight) -> Want | None:
    """Every attempt that led here is noted as applied."""
    return next((Judge(call, APPLIED) for call in sight.calls if not call.ended and call.answer != REFUSED), None)


def _failures(sight: Sight, wanted: State) -> str | None:
    """Why the operation has failed, once every instance has either arrived or failed; else None."""
    if not sight.targets:
        return "the provider's inventory shows no instance of it"
    failures = []
    for target in sight.targets:
        if target.state in (wanted, State.GONE):
            continue
        why = _failure(sight, target)
        if why is None:
            return None
        failures.append(why)
    return "; ".join(failures) or None


def _failure(sight: Sight, target: Target) -> str | None:
    calls = [call for call in sight.calls if call.resource_id == target.id]
    last = calls[-1] if calls else None
    if last is None:
        if target.raw_state != target.seen:
            return f"{target.id} is {target.raw_state} now, no longer {target.seen}"
        return None if target.able else f"{target.id} is {target.raw_state}, which does not allow it"
    if last.answer == REFUSED:
        return f"{target.id}: {last.detail}"
    if last.ended == NOT_APPLIED and not _may_try_again(sight, calls):
        return f"not_applied: {target.id} is still {target.raw_state} after {len(calls)} attempts"
    if target.state == State.ERROR:
        return f"{target.id} is {target.raw_state}"
    return None


def _late(sight: Sight) -> str:
    if any(call.ended == NO_CAPACITY or call.answer == NO_CAPACITY for call in sight.calls):
        return f"no_capacity: {len(sight.calls)} attempts; {_states(sight)}"
    silent = [f"{name}: {agent.problem}" for name, agent in sight.agents.items() if agent.problem]
    return f"wake_timeout: reached {sight.phase}; {'; '.join([_states(sight), *silent])}"


def _states(sight: Sight) -> str:
    return ", ".join(f"{target.id} is {target.raw_state}" for target in sight.targets) or "no instance is known"
