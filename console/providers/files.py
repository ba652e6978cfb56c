"""A provider by files: a folder of billing exports, each resource and charge period a bucket of its own.

Nobody here can be asked for anything: states are not told, and nothing can be put to sleep. A file that is bad,
late or half gone makes the tick incomplete; nothing is filled in.
"""

import asyncio
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from pathlib import Path

from console.providers.files_folder import Folder, FolderRead, Period, Stated
from console.providers.files_kind import FilesOptions
from console.providers.protocol import (
    Action,
    Batch,
    BillReading,
    Outcome,
    Permit,
    Ref,
    Refused,
    Resource,
    WindowBilled,
    permitted,
)
from store.clock import Clock
from store.words import State

_SETTLES_AFTER_STEPS = 3
_RATE_OVER_PERIODS = 3
_ALL_AGAIN_AFTER_S = 600.0  # the first ticks of a process may not be stored: its network, its store may come later
_NO_SWITCH = "a bill in files has no power switch: stop it where it runs"
_HOUR = timedelta(hours=1)
_US = timedelta(microseconds=1)


class Files:
    """One folder. `named`: the resources that tiers of the settings name."""

    def __init__(self, name: str, root: Path, options: FilesOptions, named: Sequence[Ref], *, clock: Clock) -> None:
        self.name = name
        self._options, self._named, self._clock = options, tuple(named), clock
        kinds = {ref.id: ref.kind for ref in named}
        self._folder = Folder(root / options.folder.expanduser(), options.patterns, kinds)
        self._told: dict[str, int] = {}
        self._owed: set[str] = set()  # news that the store has not named since: its tick may have failed
        self._all_again_at_s: float | None = None

    async def inventory(self) -> Batch[Resource]:
        """What the settings name and what the files bill; in which state it is, no file says."""
        reading = await self._read()
        names = {ref: ref.id for ref in self._named}
        names |= {one.period.ref: one.name for one in self._current(reading)}
        return Batch(tuple(_resource(ref, name) for ref, name in names.items()), reading.problems, has_clock=False)

    async def bills(self, known: Collection[str]) -> Batch[BillReading]:
        """The buckets that may still change, those that are new or have changed, and all that are `known`."""
        now, reading, watched = self._clock.now(), await self._read(), frozenset(known)
        if reading.problems:
            return Batch((), reading.problems, has_clock=False)
        every = reading.stated
        current = {one.counter: one for one in self._current(reading)}
        rates, news = _rates(current.values(), now), self._news(current, watched)
        moving = {counter for counter, one in current.items() if not self._is_settled(one, now)}
        told = sorted(moving | news | (watched & every.keys()))
        items = tuple(self._reading(one, rates.get(one.period), now) for one in map(every.__getitem__, told))
        return Batch(items, vanished=tuple(sorted(watched - every.keys())), has_clock=False)

    def _news(self, current: Mapping[str, Stated], watched: frozenset[str]) -> Set[str]:
        """What is new or has changed, told until the store watches it.

        At our first look that is everything: what came while we were away, nobody has counted. What of it has not
        changed is never watched again, so all of it is told once more and then no longer.
        """
        now_s, told = self._clock.monotonic_s(), self._told
        self._told = {counter: one.nusd for counter, one in current.items()}
        if self._all_again_at_s is None or now_s >= self._all_again_at_s:
            self._all_again_at_s = now_s + _ALL_AGAIN_AFTER_S if self._all_again_at_s is None else math.inf
            return current.keys()
        changed = {counter for counter, nusd in self._told.items() if told.get(counter) != nusd}
        self._owed = (self._owed - watched | changed) & current.keys()
        return self._owed

    async def billed(self, start: datetime, end: datetime) -> Batch[WindowBilled]:
        """What the periods inside `[start, end)` add up to; one that is only partly inside cannot be divided."""
        reading = await self._read()
        touched = [one for one in reading.stated.values() if one.period.start < end and one.period.end > start]
        whole = [one for one in touched if start <= one.period.start and one.period.end <= end]
        cut = [one for one in touched if one.period.start < start or one.period.end > end]
        problems = tuple(f"{one.counter} lies only partly in the window" for one in cut[:3])
        return Batch(tuple(map(_billed, whole)), (*reading.problems, *problems), has_clock=False)

    async def billed_total(self, start: datetime, end: datetime) -> int | str:
        """What all periods inside `[start, end)` add up to, nano-units; or why that is not known."""
        found = await self.billed(start, end)
        currencies = sorted({one.currency for one in found.items})
        if found.problems:
            return "; ".join(found.problems)
        if len(currencies) > 1:
            return f"bills in {' and '.join(currencies)}, which are never summed"
        return sum(one.nusd for one in found.items)

    async def act(  # the arguments are the protocol's
        self,
        ref: Ref,  # noqa: ARG002
        action: Action,  # noqa: ARG002
        *,
        seen: str,  # noqa: ARG002
        permit: Permit = permitted,  # noqa: ARG002
    ) -> Outcome:
        """Nothing can be asked of a file."""
        return Refused(_NO_SWITCH)

    async def close(self) -> None:
        """Nothing is held open."""

    async def _read(self) -> FolderRead:
        return await asyncio.to_thread(self._folder.read, self._clock.now(), self._options.newest_within)

    def _current(self, reading: FolderRead) -> Iterator[Stated]:
        since = self._clock.now() - self._options.corrections_for
        return (one for one in reading.stated.values() if one.period.end > since)

    def _is_settled(self, one: Stated, now: datetime) -> bool:
        """Whether a period is over for so long that it no longer counts as moving: three of its lengths."""
        length = one.period.end - one.period.start
        return now - one.period.end > _SETTLES_AFTER_STEPS * length + self._options.lag

    def _reading(self, one: Stated, rate: int | None, now: datetime) -> BillReading:
        period = one.period
        return BillReading(
            counter=one.counter,
            ref=period.ref,
            name=one.name,
            raw=one.raw,
            total_nusd=one.nusd,
            currency=period.currency,
            started_at=period.start,
            as_of=now - self._options.lag if period.end > now else now,
            rate_nusd_per_hour=rate,
            active=period.end > now,
            final=self._is_settled(one, now),
            ends_at=period.end,
            step=period.end - period.start,
        )


def _resource(ref: Ref, name: str) -> Resource:
    return Resource(ref, name, State.UNKNOWN, "not told", may_sleep=False)


def _billed(one: Stated) -> WindowBilled:
    return WindowBilled(one.period.ref, one.name, one.raw, one.nusd, one.period.currency)


def _rates(stated: Iterable[Stated], now: datetime) -> Mapping[Period, int]:
    """For the newest bucket of each resource, period length and currency: the highest average an hour lately.

    No file quotes a price. It is what the bill itself says that an hour has cost, for the gate's bound and for
    show: of the last periods that are over, or while there is none, of the one in progress.
    """
    alike: dict[tuple[Ref, str, timedelta], list[Stated]] = {}
    for one in stated:
        period = one.period
        if period.start < now:
            alike.setdefault((period.ref, period.currency, period.end - period.start), []).append(one)
    rates = {}
    for group in alike.values():
        newest = max(group, key=lambda one: one.period.start)
        over = sorted((one for one in group if one.period.end <= now), key=lambda one: one.period.start)
        rates[newest.period] = max(_per_hour(one, now) for one in over[-_RATE_OVER_PERIODS:] or [newest])
    return rates


def _per_hour(one: Stated, now: datetime) -> int:
    """The average an hour of a bucket so far, rounded up; a credit is none."""
    lasted = min(now, one.period.end) - one.period.start
    return max(-(-one.nusd * (_HOUR // _US) // max(lasted // _US, 1)), 0)
