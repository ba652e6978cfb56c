"""An adapter before its simulator: what every check of the conformance suite has in its hands.

Each check has a simulator and an adapter of its own, on loopback, and a clock that it moves itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import stamina

from console.providers.protocol import Batch, BillReading, Provider, Ref, Resource
from console.providers.registry import Opening, ProviderKind, SimulatorSpec
from console.providers.trial import Trial
from store.clock import SetClock
from store.words import ResourceKind

Answer = TypeVar("Answer")

BEGINS_AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)  # a full hour: buckets begin there
ANSWERS_WITHIN_S = 20.0  # what a tick grants


class NotKept(Exception):
    """A promise that is not kept, and what was seen instead."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One adapter before its simulator. `clock` is the world's, and the adapter's."""

    kind: ProviderKind
    trial: Trial
    clock: SetClock
    provider: Provider

    async def bills(self, known: dict[str, BillReading] | None = None) -> Batch[BillReading]:
        """What `bills` answers within a tick's deadline."""
        return await answered(self.provider.bills(tuple(known or ())), "bills")

    async def sound_bills(self, known: dict[str, BillReading] | None = None) -> dict[str, BillReading]:
        """Every bill by its counter, of an answer that has to be complete."""
        batch = await self.bills(known)
        expect(batch.complete, f"bills are not complete: {'; '.join(batch.problems)}")
        return {one.counter: one for one in batch.items}

    async def inventory(self) -> dict[Ref, Resource]:
        """Every resource, of an answer that has to be complete."""
        batch = await answered(self.provider.inventory(), "inventory")
        expect(batch.complete, f"the inventory is not complete: {'; '.join(batch.problems)}")
        return {one.ref: one for one in batch.items}

    async def instance(self) -> Resource:
        """An instance that runs and can be put to sleep."""
        found = [
            one for one in (await self.inventory()).values() if one.ref.kind is ResourceKind.INSTANCE and one.can
        ]
        expect(bool(found), "the simulator's world has no instance that can sleep")
        return found[0]


@dataclass(frozen=True, slots=True)
class Check:
    """A promise in one sentence, and how it is tried."""

    name: str
    promise: str
    run: Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Checked:
    """How a check came out: kept, or what was seen instead."""

    check: Check
    problem: str | None = None


async def try_kind(kind: ProviderKind, spec: SimulatorSpec, check: Check) -> Checked:
    """Put one kind to one check. Whatever an adapter raises is a promise that it has not kept."""
    clock = SetClock(BEGINS_AT)
    with stamina.set_testing(True, attempts=2, cap=True), spec.trial(clock) as trial:  # retries without the waiting
        opening = Opening("trial", trial.key, trial.base_url, kind.options(), clock, Path.cwd())
        provider = kind.open(opening)
        try:
            await check.run(Bench(kind, trial, clock, provider))
        except NotKept as error:
            return Checked(check, str(error))
        except Exception as error:  # noqa: BLE001 - an adapter under trial: its exception is the finding
            return Checked(check, f"it raised {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        finally:
            await provider.close()
    return Checked(check)


async def answered(question: Awaitable[Answer], what: str) -> Answer:
    """An answer within a tick's deadline."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            return await question
    except TimeoutError:
        msg = f"{what}: no answer within {ANSWERS_WITHIN_S:g} s"
        raise NotKept(msg) from None


def expect(is_kept: bool, otherwise: str) -> None:
    """Hold a promise to what was seen."""
    if not is_kept:
        raise NotKept(otherwise)
