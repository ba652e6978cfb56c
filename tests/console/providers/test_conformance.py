"""The conformance suite: Hyperstack's adapter keeps every promise, and each broken one is found out."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import pytest

from console.errors import KindUntried
from console.providers.conformance import CHECKS, check_kind
from console.providers.conformance_bench import Check
from console.providers.hyperstack import Hyperstack
from console.providers.protocol import (
    Action,
    Ambiguous,
    Batch,
    BillReading,
    Outcome,
    Permit,
    Ref,
    Resource,
    WindowBilled,
    permitted,
)
from console.providers.registry import Opening, provider_kind
from store.clock import Clock

HYPERSTACK = provider_kind("hyperstack")
BY_NAME = {check.name: check for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=list(BY_NAME))
async def test_hyperstack_keeps_it(check: Check) -> None:
    (one,) = await check_kind(HYPERSTACK, [check])
    assert one.problem is None


class Sends(Hyperstack):
    """Asks again after a lost answer."""

    async def act(self, ref: Ref, action: Action, *, seen: str, permit: Permit = permitted) -> Outcome:
        outcome = await super().act(ref, action, seen=seen, permit=permit)
        if not isinstance(outcome, Ambiguous):
            return outcome
        return await self._send(f"/core/virtual-machines/{ref.id}/hibernate", action)


class Looks(Hyperstack):
    """Takes whatever state there is for the one that was seen, and asks for no permit."""

    async def act(self, ref: Ref, action: Action, *, seen: str, permit: Permit = permitted) -> Outcome:
        return await self._send(f"/core/virtual-machines/{ref.id}/hibernate", action)


class Zeroes(Hyperstack):
    """Fills what it was not told with zero."""

    async def bills(self, known: Collection[str]) -> Batch[BillReading]:
        found = await super().bills(known)
        items = {one.counter: one for one in found.items}
        last = getattr(self, "_last", items)
        self._last = {**last, **items}
        missing = tuple(replace(last[name], raw="0", total_nusd=0) for name in last if name not in items)
        return Batch((*found.items, *missing), provider_now=found.provider_now)


class Multiplies(Hyperstack):
    """Bills its rate for the time that has passed."""

    def __init__(self, name: str, api_key: str, base_url: str, *, clock: Clock) -> None:
        super().__init__(name, api_key, base_url, clock=clock)
        self._began_at = clock.now()

    async def bills(self, known: Collection[str]) -> Batch[BillReading]:
        found = await super().bills(known)
        hours = (self._clock.now() - self._began_at).total_seconds() / 3600
        return replace(found, items=tuple(self._multiplied(one, hours) for one in found.items))

    def _multiplied(self, one: BillReading, hours: float) -> BillReading:
        nusd = int((one.rate_nusd_per_hour or 0) * hours)
        return replace(one, total_nusd=nusd, raw=f"{nusd // 10**9}.{nusd % 10**9:09d}")


class Forgets(Hyperstack):
    """Never looks among the deleted."""

    async def bills(self, known: Collection[str]) -> Batch[BillReading]:
        found = await super().bills(())
        return replace(found, items=tuple(one for one in found.items if one.active))


class Raises(Hyperstack):
    """Lets an error out."""

    async def inventory(self) -> Batch[Resource]:
        found = await super().inventory()
        if found.problems:
            raise RuntimeError(found.problems[0])
        return found


class Rounds(Hyperstack):
    """Keeps cents, and says nothing of the rest."""

    async def bills(self, known: Collection[str]) -> Batch[BillReading]:
        found = await super().bills(known)
        return replace(found, items=tuple(replace(one, total_nusd=one.total_nusd // 10**7) for one in found.items))


class Believes(Hyperstack):
    """Takes any clock for right."""

    def _provider_now(self, answer: object) -> datetime:
        return self._clock.now()


class Halves(Hyperstack):
    """Reads half of a windowed bill."""

    async def billed(self, start: datetime, end: datetime) -> Batch[WindowBilled]:
        found = await super().billed(start, end)
        return replace(found, items=found.items[:1])


class Doubles(Hyperstack):
    """Lists a machine twice."""

    async def inventory(self) -> Batch[Resource]:
        found = await super().inventory()
        return replace(found, items=(*found.items, *found.items[:1]))


@pytest.mark.parametrize(
    ("adapter", "check", "says"),
    [
        (Sends, "once", "2 requests were sent for one action"),
        (Looks, "seen", "a state that nobody sees"),
        (Looks, "permit", "the permit was not asked for"),
        (Zeroes, "empty", "told as less money"),
        (Zeroes, "errors", "bills are said to be complete"),
        (Multiplies, "rates", "a nonsense rate changes a total"),
        (Forgets, "vanished", "its last cents are lost"),
        (Raises, "errors", "it raised RuntimeError"),
        (Rounds, "counters", "nano-units"),
        (Believes, "clock", "a day off"),
        (Halves, "agreement", "billed adds up to"),
        (Doubles, "inventory", "listed twice"),
    ],
)
async def test_an_adapter_that_breaks_a_promise_is_found_out(
    adapter: type[Hyperstack], check: str, says: str
) -> None:
    def opened(opening: Opening) -> Hyperstack:
        return adapter(opening.name, opening.key, opening.base_url, clock=opening.clock)

    (one,) = await check_kind(replace(HYPERSTACK, open=opened), [BY_NAME[check]])
    assert one.problem is not None
    assert says in one.problem


async def test_a_kind_without_a_simulator_is_not_said_to_have_passed() -> None:
    with pytest.raises(KindUntried, match="no simulator"):
        await check_kind(provider_kind("files"))
