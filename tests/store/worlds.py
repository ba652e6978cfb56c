"""Random histories of a small account, and what they mean: a few lines of obvious arithmetic, without the store.

A world is a list of ticks; each says what every source answered, or that it did not. `Truth` works the figures out
from the providers' own texts as exact fractions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from hypothesis import strategies as st

from store.database import Database
from store.money import format_nusd
from store.readings import AgentReading, Bill, LedgerTotals, ProviderReading, TickReadings, TierResources
from store.samples import record_tick
from store.words import UNASSIGNED
from tests.conftest import START

TIERS = ("h100", "l40")
EVERY = timedelta(minutes=17)  # a few ticks reach over an hour's edge
LONG_AGO = START - timedelta(days=9)


@dataclass(frozen=True)
class Resource:
    """One counter: of whom, from which tick on (0: it ran before us), and its movement before each tick."""

    name: str
    provider: str
    tier: str
    born: int
    opening: int
    moves: tuple[int, ...]
    ends: int | None
    comes_back: bool

    def total(self, tick: int) -> int:
        """Nano-dollars at a tick."""
        return self.opening * (self.born == 0) + sum(self.moves[self.born : min(tick, self.last) + 1])

    @property
    def last(self) -> int:
        """The tick after which nothing moves."""
        return len(self.moves) if self.ends is None else self.ends


@dataclass(frozen=True)
class Agent:
    """One ledger of a tier: wiped before the tick `wiped`, if at all; its tokens made before each tick."""

    name: str
    tier: str
    tokens: tuple[int, ...]
    wiped: int | None

    def life(self, tick: int) -> int:
        """The tick at which the ledger of a tick began."""
        return self.wiped if self.wiped is not None and tick >= self.wiped else 0


@dataclass(frozen=True)
class World:
    """An account's history of `ticks`; `silent` names who did not answer at which tick."""

    resources: tuple[Resource, ...]
    agents: tuple[Agent, ...]
    ticks: int
    silent: frozenset[tuple[str, int]]

    def at(self, tick: int) -> datetime:
        """The instant of a tick."""
        return START + EVERY * tick

    def readings(self, tick: int) -> TickReadings:
        """All that was said at a tick."""
        return TickReadings(
            at=self.at(tick),
            duration_ms=1,
            providers={name: self._provider(name, tick) for name in ("cloud", "other")},
            agents={agent.name: self._agent(agent, tick) for agent in self.agents},
            tiers={tier: TierResources("cloud", frozenset(), running=1) for tier in TIERS},
        )

    def _provider(self, name: str, tick: int) -> ProviderReading:
        if (name, tick) in self.silent:
            return ProviderReading((), "HTTP 500", 1)
        seen = [one for one in self.resources if one.provider == name and one.born <= tick]
        return ProviderReading(tuple(self._bill(one, tick) for one in seen), None, 1)

    def _bill(self, one: Resource, tick: int) -> Bill:
        total = one.total(tick)
        return Bill(
            counter=one.name,
            kind="instance",
            resource_id=one.name,
            name=one.name,
            tier=one.tier,
            currency="USD",
            raw=f"{'-' * (total < 0)}{abs(total) // 10**9}.{abs(total) % 10**9:09d}",
            total_nusd=total,
            as_of=self.at(tick),
            started_at=LONG_AGO if one.born == 0 else self.at(one.born) - EVERY / 2,
            rate_nusd_per_hour=3_600,
            final=one.ends is not None and tick >= one.ends and not one.comes_back,
        )

    def _agent(self, agent: Agent, tick: int) -> AgentReading:
        if (agent.name, tick) in self.silent:
            return AgentReading(agent.tier, None, "no answer")
        first = agent.life(tick)
        made = sum(agent.tokens[first : tick + 1])
        born_at = self.at(first) - EVERY / 2 if first else LONG_AGO
        totals = LedgerTotals(f"{agent.name}-{first}", born_at, made * 2, 0, made, made, made, made)
        return AgentReading(agent.tier, totals, None)


def play(database: Database, world: World, fence: int, ticks: Sequence[TickReadings] | None = None) -> None:
    """Store a world, tick by tick."""
    for readings in ticks or [world.readings(tick) for tick in range(world.ticks)]:
        record_tick(database, readings, fence)


@dataclass(frozen=True)
class Truth:
    """What a world's figures are, by the definitions alone."""

    world: World

    def edge(self, tier: str, at: datetime) -> int | None:
        """The tier's last complete tick at or before an instant."""
        complete = [
            tick for tick in range(self.world.ticks) if self.world.at(tick) <= at and self._complete(tier, tick)
        ]
        return complete[-1] if complete else None

    def spend(self, tier: str, start: datetime, end: datetime) -> Fraction | None:
        """Nano-dollars between two instants; None where it cannot be known."""
        edges = self.edges(tier, start, end)
        if edges is None or not any(self._last(one, edges[1]) is not None for one in self._of(tier)):
            return None
        return sum((self._held(one, edges[1]) - self._held(one, edges[0]) for one in self._of(tier)), Fraction(0))

    def tokens(self, tier: str, start: datetime, end: datetime) -> int | None:
        """Completion tokens between two instants."""
        edges = self.edges(tier, start, end)
        if edges is None:
            return None
        return sum(
            self._made(one, edges[1]) - self._made(one, edges[0]) for one in self.world.agents if one.tier == tier
        )

    def edges(self, tier: str, start: datetime, end: datetime) -> tuple[int, int] | None:
        """The ticks that a window snaps to."""
        last, first = self.edge(tier, end), self.edge(tier, start)
        if first is None:
            first = next((tick for tick in range(self.world.ticks) if self._complete(tier, tick)), None)
        if last is None or first is None or self.world.at(last) <= start or first == last:
            return None
        return first, last

    def _of(self, tier: str) -> list[Resource]:
        return [one for one in self.world.resources if one.tier == tier]

    def _answered(self, provider: str, tick: int) -> bool:
        return (provider, tick) not in self.world.silent

    def _complete(self, tier: str, tick: int) -> bool:
        if tier == UNASSIGNED:
            first = [self._first(one) for one in self._of(tier)]
            seen = any(one is not None and one <= tick for one in first)
            return seen and self._answered("cloud", tick) and self._answered("other", tick)
        agents = (one.name for one in self.world.agents if one.tier == tier)
        return self._answered("cloud", tick) and all((name, tick) not in self.world.silent for name in agents)

    def _first(self, one: Resource) -> int | None:
        return next(
            (tick for tick in range(one.born, self.world.ticks) if self._answered(one.provider, tick)), None
        )

    def _last(self, one: Resource, edge: int) -> int | None:
        seen = [tick for tick in range(one.born, edge + 1) if self._answered(one.provider, tick)]
        return seen[-1] if seen else None

    def _stated(self, one: Resource, tick: int) -> Fraction:
        return Fraction(self.world._bill(one, tick).raw) * 10**9

    def _held(self, one: Resource, edge: int) -> Fraction:
        """What a counter held at an edge; before our first look, what it opened with."""
        last, first = self._last(one, edge), self._first(one)
        if last is not None:
            return self._stated(one, last)
        assert first is not None or edge is not None
        if first is None:
            return Fraction(0)
        before = [tick for tick in range(first) if self._answered(one.provider, tick)]
        was_born_here = bool(before) and one.born > before[-1]
        return Fraction(0) if was_born_here else self._stated(one, first)

    def _made(self, agent: Agent, edge: int) -> int:
        """Tokens made up to an edge, as its ledgers told; one that is older than our first look, from there on."""
        total = 0
        for life in sorted({0, agent.wiped or 0}):
            heard = [tick for tick in self._heard(agent) if agent.life(tick) == life]
            told = [tick for tick in heard if tick <= edge]
            if told:
                total += sum(agent.tokens[life : told[-1] + 1])
                total -= 0 if self._began_here(agent, life, heard[0]) else sum(agent.tokens[life : heard[0] + 1])
        return total

    def _heard(self, agent: Agent) -> list[int]:
        return [tick for tick in range(self.world.ticks) if (agent.name, tick) not in self.world.silent]

    def _began_here(self, agent: Agent, life: int, first: int) -> bool:
        """Whether a ledger was made after its tier's first sample."""
        of_tier = [tick for one in self.world.agents if one.tier == agent.tier for tick in self._heard(one)]
        return bool(life) and min(of_tier) < life and min(of_tier) < first


MOVES = st.one_of(st.integers(0, 10**6), st.integers(-(10**5), 10**6), st.just(0))


@st.composite
def worlds(draw: st.DrawFn, most_ticks: int = 4) -> World:
    """A world of up to three tiers, two providers, falls, births, ends, silences and wiped ledgers."""
    ticks = draw(st.integers(2, most_ticks))
    resources = tuple(_resource(draw, index, ticks) for index in range(draw(st.integers(1, 4))))
    agents = tuple(_agent(draw, index, ticks) for index in range(draw(st.integers(0, 3))))
    sources = ["cloud", "other", *(agent.name for agent in agents)]
    silences = st.tuples(st.sampled_from(sources), st.integers(0, ticks - 1))
    return World(resources, agents, ticks, draw(st.frozensets(silences, max_size=4)))


def _resource(draw: st.DrawFn, index: int, ticks: int) -> Resource:
    provider = draw(st.sampled_from(["cloud", "cloud", "other"]))
    tier = UNASSIGNED if provider == "other" else draw(st.sampled_from([*TIERS, UNASSIGNED]))
    born = draw(st.sampled_from([0, 0, *range(1, ticks)]))
    ends = draw(st.none() | st.integers(born, ticks - 1))
    moves = tuple(draw(st.lists(MOVES, min_size=ticks, max_size=ticks)))
    return Resource(
        f"c{index}", provider, tier, born, draw(st.integers(0, 10**12)), moves, ends, draw(st.booleans())
    )


def _agent(draw: st.DrawFn, index: int, ticks: int) -> Agent:
    tokens = tuple(draw(st.lists(st.integers(0, 10**6), min_size=ticks, max_size=ticks)))
    wiped = draw(st.none() | st.integers(1, ticks - 1))
    return Agent(f"a{index}", draw(st.sampled_from(TIERS)), tokens, wiped)


def with_other_rates(readings: TickReadings, rate: int | None) -> TickReadings:
    """The same tick with every rate replaced."""
    providers = {
        name: replace(one, bills=tuple(replace(bill, rate_nusd_per_hour=rate) for bill in one.bills))
        for name, one in readings.providers.items()
    }
    return replace(readings, providers=providers)


def stated_again(world: World, later: Sequence[tuple[int, bool, bool]]) -> list[TickReadings]:
    """A world, and ticks after it: by what each bill rises, whether it is final, and whether `cloud` is asked."""
    told, risen = [world.readings(tick) for tick in range(world.ticks)], 0
    for index, (rise, is_final, is_named) in enumerate(later, start=world.ticks):
        risen += rise
        at = world.at(index)
        said = {
            name: tuple(
                replace(
                    bill,
                    total_nusd=bill.total_nusd + risen,
                    raw=format_nusd(bill.total_nusd + risen),
                    as_of=at,
                    final=is_final,
                    ends_at=world.at(world.ticks) if bill.counter == "c0" else None,
                )
                for bill in one.bills
            )
            for name, one in world.readings(world.ticks - 1).providers.items()
            if is_named or name == "other"
        }
        providers = {name: ProviderReading(bills, None, 1) for name, bills in said.items()}
        told.append(replace(world.readings(world.ticks - 1), at=at, providers=providers))
    return told
