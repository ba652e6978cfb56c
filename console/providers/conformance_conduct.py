"""Conformance: what is asked is asked once, and what is not known is said to be not known."""

from datetime import timedelta

from console.providers.conformance_bench import Bench, Check, answered, expect
from console.providers.protocol import Accepted, Action, Ambiguous, Ref, Refused, Resource, Unsent
from console.providers.trial import Fault
from store.words import ResourceKind, State

_TRANSITION_S = 60
_HOURS_ASLEEP = 6
_STORAGE_SHARE = 10  # as store/rest.py: what sleeps bills less than a tenth of what runs
_CLOCKS_APART = timedelta(seconds=30)
_ERRORS = (Fault.SERVER_ERROR, Fault.TOO_MANY, Fault.GARBAGE)


class _NotPermitted(Exception):
    """What a permit raises when the lead is lost."""


async def _sleep_and_wake(bench: Bench) -> None:
    one = await bench.instance()
    expect(one.sleep is not None, "what sleeping bills and loses is not told")
    awake = await _hours(bench, one.ref)
    await _asked(bench, one, Action.SLEEP, State.ASLEEP)
    bench.clock.advance(3600)  # what was billed before arrives
    asleep = await _hours(bench, one.ref)
    limit = awake // _STORAGE_SHARE
    expect(asleep >= 0, f"asleep its bill fell by {-asleep}")
    expect(asleep <= limit, f"asleep it is billed {asleep} in {_HOURS_ASLEEP} h, awake it was {awake}")
    await _asked(bench, (await bench.inventory())[one.ref], Action.WAKE, State.RUNNING)
    expect(bench.trial.actions() == 2, f"{bench.trial.actions()} requests were sent for two actions")


async def _hours(bench: Bench, ref: Ref) -> int:
    """What one resource is billed in some hours."""
    before = await bench.sound_bills()
    known = before
    for _ in range(_HOURS_ASLEEP):
        bench.clock.advance(3600)
        known = {**known, **await bench.sound_bills(known)}
    held = sum(one.total_nusd for one in before.values() if one.ref == ref)
    return sum(one.total_nusd for one in known.values() if one.ref == ref) - held


async def _asked(bench: Bench, one: Resource, action: Action, ends_in: State) -> None:
    expect(action in one.can, f"{one.raw_state} is said not to allow to {action}")
    outcome = await answered(bench.provider.act(one.ref, action, seen=one.raw_state), "act")
    expect(isinstance(outcome, Accepted), f"to {action} was answered {outcome}")
    for _ in range(_TRANSITION_S // 5):
        bench.clock.advance(5)
        state = (await bench.inventory())[one.ref].state
        if state is ends_in:
            return
    expect(False, f"{_TRANSITION_S} s after to {action} it is {state}")


async def _seen(bench: Bench) -> None:
    one = await bench.instance()
    outcome = await answered(bench.provider.act(one.ref, Action.SLEEP, seen="another state"), "act")
    expect(isinstance(outcome, Refused), f"a state that nobody sees was answered {outcome}")
    wrong = await answered(bench.provider.act(one.ref, Action.WAKE, seen=one.raw_state), "act")
    expect(isinstance(wrong, Refused), f"waking what runs was answered {wrong}")
    nobody = Ref(ResourceKind.INSTANCE, "999999999")
    outcome = await answered(bench.provider.act(nobody, Action.SLEEP, seen=one.raw_state), "act")
    expect(isinstance(outcome, Refused | Unsent), f"an instance that is not there was answered {outcome}")
    expect(bench.trial.actions() == 0, "a request was sent all the same")


async def _permit(bench: Bench) -> None:
    one = await bench.instance()

    async def denied() -> None:
        raise _NotPermitted

    try:
        await answered(bench.provider.act(one.ref, Action.SLEEP, seen=one.raw_state, permit=denied), "act")
    except _NotPermitted:
        expect(bench.trial.actions() == 0, "a request was sent without a permit")
        return
    expect(False, "the permit was not asked for")


async def _once(bench: Bench) -> None:
    one = await bench.instance()
    bench.trial.fault(Fault.DROP)
    outcome = await answered(bench.provider.act(one.ref, Action.SLEEP, seen=one.raw_state), "act")
    expect(isinstance(outcome, Ambiguous), f"a lost answer is told as {outcome}")
    expect(bench.trial.actions() == 1, f"{bench.trial.actions()} requests were sent for one action")


async def _errors(bench: Bench) -> None:
    bench.clock.advance(3600)
    sound, one = await bench.sound_bills(), await bench.instance()
    start, end = bench.clock.now() - timedelta(hours=1), bench.clock.now()
    for fault in _ERRORS:
        bench.trial.fault(fault)
        bills = await bench.bills(sound)
        expect(not bills.complete, f"{fault}: bills are said to be complete")
        wrong = [bill.counter for bill in bills.items if bill.total_nusd < sound[bill.counter].total_nusd]
        expect(not wrong, f"{fault}: {', '.join(wrong)} has another total")
        expect(not bills.vanished, f"{fault}: counters are said to have vanished")
        inventory = await answered(bench.provider.inventory(), "inventory")
        expect(not inventory.complete, f"{fault}: the inventory is said to be complete")
        billed = await answered(bench.provider.billed(start, end), "billed")
        expect(not billed.complete, f"{fault}: a windowed bill is said to be complete")
        total = await answered(bench.provider.billed_total(start, end), "billed_total")
        expect(isinstance(total, str), f"{fault}: billed_total says {total}")
        outcome = await answered(bench.provider.act(one.ref, Action.SLEEP, seen=one.raw_state), "act")
        expect(isinstance(outcome, Unsent | Refused), f"{fault}: an action was answered {outcome}")
        _one_line(fault, (*bills.problems, *inventory.problems, *billed.problems))
    expect(bench.trial.actions() == 0, "an action was sent although the state could not be read")
    bench.trial.fault(None)
    await bench.sound_bills(sound)


def _one_line(fault: Fault, problems: tuple[str, ...]) -> None:
    for problem in problems:
        expect(problem.isprintable() and len(problem) < 1000, f"{fault}: a problem is no line: {problem[:40]!r}")


async def _empty(bench: Bench) -> None:
    bench.clock.advance(3600)
    sound = await bench.sound_bills()
    bench.trial.fault(Fault.EMPTY)
    batch = await bench.bills(sound)
    told = {one.counter for one in batch.items}
    silent = [name for name in sound if name not in told and name not in batch.vanished]
    expect(
        not (batch.complete and silent), f"an empty bill is complete, and {len(silent)} counters are not spoken of"
    )
    fallen = [one.counter for one in batch.items if one.total_nusd < sound[one.counter].total_nusd]
    expect(not fallen, f"an empty bill is told as less money: {', '.join(fallen)}")


async def _clock(bench: Bench) -> None:
    bench.trial.fault(Fault.CLOCK)
    batch = await bench.bills()
    if not batch.has_clock:
        return
    expect(not batch.complete, "a provider's clock that is a day off leaves the bills complete")
    apart = batch.clock_apart
    expect(apart is not None and apart > _CLOCKS_APART, "it is not told how far the clocks are apart")
    expect(batch.provider_now is None, "a clock that is a day off is told as the provider's")


CONDUCT: tuple[Check, ...] = (
    Check(
        "sleep", "sleep and wake: one request each, and asleep the bill rests or is at its storage", _sleep_and_wake
    ),
    Check("seen", "nothing is sent to what is not in the state that a person saw", _seen),
    Check("permit", "the permit is asked right before an action is sent", _permit),
    Check("once", "a lost answer is ambiguous, and nothing is sent again", _once),
    Check("errors", "500, 429 and garbage are problems: never an exception, never less money", _errors),
    Check("empty", "an empty bill is not a bill of zero", _empty),
    Check("clock", "a provider's clock that is off makes the bills incomplete", _clock),
)
