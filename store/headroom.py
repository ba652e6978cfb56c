"""Headroom: what may be billed already, or cannot be kept from being billed, and is not on the bill yet.

The one place where a rate is used: as a bound, in the gate alone, never as a figure. A wrong (low) rate cannot
loosen it below the slope that the counters themselves showed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from store.unknown import Unknown

SLOPE_OVER = timedelta(minutes=15)
SLOPE_STEPS = 3
QUANTA = 3  # a bill that should have risen by fewer of its smallest steps may stand still in good health
_HOUR_US = 3_600_000_000


class Course(StrEnum):
    """How far a resource goes on billing when the gate closes now."""

    STOPPABLE = "until hibernated"
    UNSTOPPABLE = "until midnight"
    ENDED = "last cents"


@dataclass(frozen=True, slots=True)
class Horizon:
    """For how long a stoppable resource bills after the tick that should have stopped it."""

    tick: timedelta
    drain: timedelta
    sleep: timedelta

    @property
    def whole(self) -> timedelta:
        """All of it."""
        return self.tick + self.drain + self.sleep


@dataclass(frozen=True, slots=True)
class Metered:
    """A resource's bill as the gate sees it. Rates and slopes are nano-dollars an hour.

    `moved_at`: when it last moved, or was first seen. `trails`: how far the provider's own clock was behind at the
    last sample. `runs_since`: since when its instance is said to run; None for anything else. `unplaced_nusd`: an
    opening balance of today that no windowed bill has placed, which may have been billed since `unplaced_since_at`.
    `quantum_nusd`: the smallest step that the bill's own text can show. `undecided_nusd`: its rises since a fall
    that may still turn out to have been jitter.
    """

    counter: str
    tier: str
    course: Course
    moved_at: datetime
    step: timedelta | None = None
    trails: timedelta = timedelta(0)
    rate_nusd_per_hour: int | None = None
    slope_nusd_per_hour: int | None = None
    is_asleep: bool = False
    runs_since: datetime | None = None
    unplaced_nusd: int = 0
    unplaced_since_at: datetime | None = None
    quantum_nusd: int = 0
    undecided_nusd: int = 0
    provider: str = ""
    currency: str = "USD"

    @property
    def speed_nusd_per_hour(self) -> int | Unknown:
        """The larger of the quoted rate and the observed slope.

        Of a sleeping resource the slope alone, once there is one: providers go on quoting the full price.
        """
        if self.is_asleep and self.slope_nusd_per_hour is not None:
            return self.slope_nusd_per_hour
        known = [one for one in (self.rate_nusd_per_hour, self.slope_nusd_per_hour) if one is not None]
        return max(known) if known else Unknown(f"{self.counter} quotes no rate and has not moved yet")


@dataclass(frozen=True, slots=True)
class Term:
    """A counter's part of the headroom: `speed_nusd_per_hour` for `duration`, what is not placed or not decided."""

    counter: str
    tier: str
    course: Course
    speed_nusd_per_hour: int | Unknown
    duration: timedelta
    unplaced_nusd: int = 0
    currency: str = "USD"
    undecided_nusd: int = 0

    @property
    def nusd(self) -> int | Unknown:
        """Nano-dollars, rounded up."""
        if isinstance(self.speed_nusd_per_hour, Unknown):
            return self.speed_nusd_per_hour
        return billed_nusd(self.speed_nusd_per_hour, self.duration) + self.unplaced_nusd + self.undecided_nusd


def headroom(metered: Iterable[Metered], now: datetime, day_end: datetime, horizon: Horizon) -> tuple[Term, ...]:
    """Each counter's part at `now`, for the day that ends at `day_end`."""
    return tuple(_term(one, now, day_end, horizon) for one in metered)


def total(terms: Iterable[Term]) -> int | Unknown:
    """All parts together, which are of one currency; not known if one of them is not."""
    nusd = 0
    for term in terms:
        if isinstance(term.nusd, Unknown):
            return term.nusd
        nusd += term.nusd
    return nusd


def is_frozen(one: Metered, seen_at: datetime, after: timedelta) -> bool:
    """Whether the bill of a running instance stands still although it should have risen by three quanta.

    `seen_at`: the last complete tick: while the provider does not answer, nothing is known to stand still.
    """
    if one.runs_since is None or isinstance(one.speed_nusd_per_hour, Unknown):
        return False
    still = seen_at - max(one.moved_at, one.runs_since)
    patience = max(after, SLOPE_STEPS * (one.step or timedelta(0)))
    expected = billed_nusd(one.speed_nusd_per_hour, still) if still > timedelta(0) else 0
    return still >= patience and expected > 0 and expected >= QUANTA * one.quantum_nusd


def promised(
    metered: Sequence[Metered], now: datetime, day_end: datetime, horizon: Horizon, longest_blind: timedelta
) -> tuple[Term, ...]:
    """What may be billed beyond the limit when the gate closes at it: the bound on overspend, counter by counter.

    The last sample under the limit is one step and its lag behind, and billing may go dark at that very moment:
    a tick and `longest_blind` pass before anything is hibernated; then come the drain and the sleep.
    """
    patient = Horizon(horizon.tick + longest_blind, horizon.drain, horizon.sleep)
    return tuple(
        Term(
            one.counter,
            one.tier,
            one.course,
            one.speed_nusd_per_hour,
            (one.step or horizon.tick) + one.trails + _ahead(one, now, day_end, patient),
            currency=one.currency,
        )
        for one in metered
    )


def billed_nusd(speed_nusd_per_hour: int, duration: timedelta) -> int:
    """What a speed makes of a duration, rounded up: for bounds alone."""
    return -(-speed_nusd_per_hour * (duration // timedelta(microseconds=1)) // _HOUR_US)


def _term(one: Metered, now: datetime, day_end: datetime, horizon: Horizon) -> Term:
    unseen = max(now - one.moved_at, timedelta(0)) + one.trails
    if one.is_asleep:
        unseen = min(unseen, (one.step or horizon.tick) + one.trails)  # at rest, or at the slope of its storage
    duration = unseen + _ahead(one, now, day_end, horizon)
    speed, unplaced = one.speed_nusd_per_hour, _unplaced(one)
    return Term(one.counter, one.tier, one.course, speed, duration, unplaced, one.currency, one.undecided_nusd)


def _ahead(one: Metered, now: datetime, day_end: datetime, horizon: Horizon) -> timedelta:
    if one.course is Course.ENDED:
        return timedelta(0)
    left = max(day_end - now, timedelta(0))
    return left if one.course is Course.UNSTOPPABLE else min(horizon.whole, left)


def _unplaced(one: Metered) -> int:
    """An opening balance that nobody could place: at its speed since the day's start, and at most all of it."""
    if one.unplaced_since_at is None:
        return 0
    if isinstance(one.speed_nusd_per_hour, Unknown):
        return one.unplaced_nusd
    return min(one.unplaced_nusd, billed_nusd(one.speed_nusd_per_hour, one.moved_at - one.unplaced_since_at))
