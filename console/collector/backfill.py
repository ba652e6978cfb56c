"""After an outage of ours: which day does the money belong to?

A lifetime counter loses nothing while we are away, but it does not say when. The provider's windowed bill does:
what it says of the missing time, or of the life of a counter that was born in it, is stored as `derived` samples at
the days' edges, where they fit between their neighbours. A counter first seen today is placed at the day's start,
or at its creation; a vanished one is settled.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import structlog

from console.collector.tick import Collector, in_store
from console.providers.protocol import Provider
from store.backfill import Missing, missing_samples
from store.derived import add_derived
from store.errors import DerivedRefused
from store.journal import note
from store.leader import check_fence
from store.money import format_nusd
from store.tables import BillCounter

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Placed:
    """What a counter held at an instant, and how that is known."""

    missing: Missing
    total_nusd: int
    raw: str


class Backfill:
    """Fills what the last outage left open, once for each thing that is missing."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._asked: set[tuple[int, datetime]] = set()

    async def run(self, fence: int) -> int:
        """Place what is missing now; answers how many samples were added.

        Raises:
            FenceLost: another collector leads; it does this.
        """
        added = 0
        for name, provider in self._collector.account.providers.items():
            missing = [one for one in await in_store(self._missing, name) if self._is_new(one)]
            placed = await self._place(provider, missing)
            if placed:
                added += await in_store(self._keep, fence, placed)
            for one in placed:
                self._done(one.missing)
        return added

    def _is_new(self, missing: Missing) -> bool:
        return (missing.counter_id, missing.at) not in self._asked

    def _missing(self, provider: str) -> list[Missing]:
        policy, every = self._collector.policy, self._collector.settings.collector.every
        longest = max(policy.dark_after, 3 * every)
        with self._collector.database.read() as session:
            return list(missing_samples(session, provider, self._collector.clock.now(), policy.zone, longest))

    async def _place(self, provider: Provider, missing: list[Missing]) -> list[_Placed]:
        """Ask for each distinct window once; a bill that cannot be read, or not in time, places nothing."""
        placed = [_Placed(one, 0, "0 (created then)") for one in missing if one.ask is None]
        within_s = self._collector.settings.collector.bills_within.total_seconds()
        try:
            async with asyncio.timeout(within_s):  # the next tick waits for this
                for window in sorted({one.ask for one in missing if one.ask is not None}):
                    asked = [one for one in missing if one.ask == window]
                    placed += await self._billed(provider, window, asked)
        except TimeoutError:
            log.warning("no backfill", provider=provider.name, problems=[f"no answer within {within_s:g} s"])
        return placed

    async def _billed(
        self, provider: Provider, window: tuple[datetime, datetime], asked: list[Missing]
    ) -> list[_Placed]:
        batch = await provider.billed(*window)
        if batch.problems:
            log.warning("no backfill", provider=provider.name, problems=list(batch.problems))
            return []
        bills = {(str(one.ref.kind), one.ref.id): one for one in batch.items}
        placed = []
        for one in asked:
            bill = bills.get(one.resource)
            if bill is None:
                self._done(one)
                continue
            text = f"{format_nusd(one.base_nusd)} {'+' if one.sign > 0 else '-'} {bill.raw} (windowed bill)"
            placed.append(_Placed(one, one.base_nusd + one.sign * bill.nusd, text))
        return placed

    def _done(self, missing: Missing) -> None:
        if missing.ask is not None:
            self._asked.add((missing.counter_id, missing.at))

    def _keep(self, fence: int, placed: list[_Placed]) -> int:
        database, now, added = self._collector.database, self._collector.clock.now(), 0
        with database.write() as session:
            check_fence(database, session, fence)
            for one in placed:
                counter = session.get_one(BillCounter, one.missing.counter_id)
                try:
                    add_derived(session, counter, one.missing.at, one.total_nusd, one.raw)
                except DerivedRefused as error:
                    note(session, now, "collector", "backfill refused", counter.counter, error.problem)
                    continue
                added += 1
                if one.missing.settles:
                    counter.unsettled_at, counter.final_at = None, max(now, one.missing.at)
                    note(session, now, "provider", "counter settled", counter.counter, f"windowed bill: {one.raw}")
                else:
                    note(
                        session,
                        now,
                        "collector",
                        "backfill",
                        counter.counter,
                        f"{one.missing.at:%FT%TZ}: {one.raw}",
                    )
        return added
