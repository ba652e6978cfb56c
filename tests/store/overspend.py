"""Random days of a fleet that runs into its limit: by how much more than the limit it was really billed.

The world here knows what is true: what each resource has cost at each second. The gate sees the bill alone, in
steps, late, with outages of the provider and of the collector, and decides with the product's own functions.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from zoneinfo import ZoneInfo

from store.gate import FLEET, GateFacts, GatePolicy, Reason, ScopeFacts, decide
from store.headroom import Course, Horizon, Metered, headroom, promised, total
from store.stops import must_sleep
from store.unknown import Unknown

_TICK_S = 60
_DAY_S = 86_400
_START = datetime(2026, 11, 24, tzinfo=UTC)
USD = 10**9


@dataclass
class Resource:
    """One bill: what it costs awake and asleep, how its provider steps and lags."""

    name: str
    awake: int
    asleep: int
    step_s: int
    lag_s: int
    quotes: bool
    changes: list[tuple[int, int]] = field(default_factory=list)
    samples: list[tuple[int, int]] = field(default_factory=list)
    moved_s: int = 0
    sleeps_from_s: int | None = None

    def cost(self, second: int) -> int:
        """Nano-dollars truly owed by `second`."""
        owed, speed, since = 0, self.awake, 0
        for at, change in self.changes:
            if at >= second:
                break
            owed, speed, since = owed + speed * (at - since) // 3600, change, at
        return owed + speed * max(second - since, 0) // 3600

    def billed(self, second: int) -> int:
        """What the provider says at `second`."""
        seen_s = max(second - self.lag_s, 0)
        return self.cost(seen_s - seen_s % self.step_s)

    def read(self, second: int) -> None:
        """A sample of the bill."""
        now = self.billed(second)
        if self.samples and now != self.samples[-1][1]:
            self.moved_s = second
        self.samples.append((second, now))

    def metered(self) -> Metered:
        """As the gate sees it after the last sample."""
        step = max(self.step_s, _TICK_S)
        is_asleep = self.sleeps_from_s is not None
        return Metered(
            counter=self.name,
            tier="a",
            course=Course.UNSTOPPABLE if is_asleep or self.awake == self.asleep else Course.STOPPABLE,
            moved_at=_at(self.moved_s),
            step=timedelta(seconds=step),
            trails=timedelta(seconds=self.lag_s),
            rate_nusd_per_hour=(self.asleep if is_asleep else self.awake) if self.quotes else 0,
            slope_nusd_per_hour=self._slope(max(900, 3 * step)),
        )

    def _slope(self, span_s: int) -> int | None:
        first = bisect_left(self.samples, self.moved_s - span_s, key=itemgetter(0))
        last = bisect_right(self.samples, self.moved_s, key=itemgetter(0)) - 1
        if last <= first:
            return None
        begin, end = self.samples[first], self.samples[last]
        return -(-(end[1] - begin[1]) * 3600 // (end[0] - begin[0]))


@dataclass(frozen=True)
class Outcome:
    """A day's end: `over_nusd` truly owed beyond the limit when the last instance slept.

    `bound_nusd`: the largest promise made before. `served_over_nusd`: the same while the gate was open.
    """

    over_nusd: int
    bound_nusd: int
    served_over_nusd: int

    @property
    def ratio(self) -> float:
        """Overshoot in parts of the bound."""
        return self.over_nusd / self.bound_nusd if self.bound_nusd else 0.0


def _at(second: int) -> datetime:
    return _START + timedelta(seconds=second)


def random_day(seed: int) -> Outcome:
    """One day, from its seed."""
    dice = random.Random(seed)
    drain_s, sleep_s = dice.choice((30, 120, 300)), dice.choice((60, 180, 300))
    step_s, lag_s = dice.choice((1, 60, 60, 300, 900)), dice.choice((0, 0, 30, 90))
    quotes = dice.random() < 0.8
    fleet = [
        Resource(f"vm{n}", dice.randrange(USD // 2, 20 * USD), 2 * 10**7, step_s, lag_s, quotes)
        for n in range(dice.randrange(1, 4))
    ]
    fleet.append(Resource("volume", 2 * 10**7, 2 * 10**7, step_s, lag_s, quotes))
    hourly = sum(one.awake for one in fleet)
    policy = GatePolicy(
        limit_nusd=dice.randrange(hourly, 12 * hourly),
        zone=ZoneInfo("UTC"),
        dark_after=timedelta(seconds=170),
        horizon=Horizon(timedelta(seconds=_TICK_S), timedelta(seconds=drain_s), timedelta(seconds=sleep_s)),
        dark_hibernate_after=timedelta(seconds=dice.choice((300, 900))),
    )
    dark, dead = _spells(dice, 6, 1800), _spells(dice, 3, 150)
    return _run(policy, fleet, dark, dead, drain_s + sleep_s, dice)


def _spells(dice: random.Random, most: int, longest_s: int) -> Callable[[int], bool]:
    spans = [
        (begin := dice.randrange(_DAY_S), begin + dice.randrange(longest_s)) for _ in range(dice.randrange(most))
    ]
    return lambda second: any(begin <= second < end for begin, end in spans)


def _run(
    policy: GatePolicy,
    fleet: list[Resource],
    dark: Callable[[int], bool],
    dead: Callable[[int], bool],
    takes_s: int,
    dice: random.Random,
) -> Outcome:
    """Tick through the day. `dark`: the provider does not answer; `dead`: the collector is being replaced."""
    complete: list[int] = []
    in_row, below = 0, 0
    before: tuple[Reason, ...] = (Reason.UNOBSERVED,)
    bound, served_over = 0, 0
    for second in range(0, _DAY_S, _TICK_S):
        if dead(second):
            continue
        if dark(second):
            in_row = 0
        else:
            in_row = in_row + 1 if not complete or second - complete[-1] <= 170 else 1
            complete.append(second)
            for one in fleet:
                one.read(second)
        metered = [one.metered() for one in fleet]
        now, midnight = _at(second), _at(_DAY_S)
        debits = sum(one.samples[-1][1] for one in fleet if one.samples)
        room = total(headroom(metered, now, midnight, policy.horizon)) if complete else Unknown("no tick")
        scope = ScopeFacts(debits if complete else Unknown("no tick"), room, 0, below)
        verdict = decide(
            policy,
            GateFacts(
                now,
                _at(complete[-1]) if complete else None,
                _at(complete[-2]) if len(complete) > 1 else None,
                min(in_row, 3),
                scope,
            ),
            {FLEET: before},
        )
        below = below + 1 if verdict.fleet.is_below and in_row else 0
        before = verdict.reasons
        if verdict.is_open:
            served_over = max(served_over, sum(one.cost(second) for one in fleet) - policy.limit_nusd)
        if not any(one.sleeps_from_s is not None for one in fleet):
            terms = promised(metered, now, midnight, policy.horizon, policy.dark_hibernate_after)
            promise = total(terms)
            bound = max(bound, promise if isinstance(promise, int) else 0)
        if must_sleep(policy, verdict, ["a"]):
            for one in fleet:
                if one.sleeps_from_s is None and one.awake != one.asleep:
                    one.sleeps_from_s = second + dice.randrange(takes_s + 1)
                    one.changes.append((one.sleeps_from_s, one.asleep))
    # the promise reaches to the last instance asleep; what a sleeping one goes on billing comes on top
    ends = [one.sleeps_from_s for one in fleet if one.sleeps_from_s is not None]
    spent = sum(one.cost(min(max(ends, default=_DAY_S), _DAY_S)) for one in fleet)
    return Outcome(max(spent - policy.limit_nusd, 0), bound, max(served_over, 0))
