"""What must hold of every history, searched for counter-examples on both databases.

`make test` runs a short form; `make prove` runs each with 10,000 examples.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from store.check import check
from store.database import Database
from store.errors import StoreUnreachable
from store.figures import Spend, Usage
from store.figures_read import figures
from store.leader import acquire
from store.retention import Retention, thin
from store.samples import record_tick
from store.spend import spend_terms
from store.tables import BillCounter, BillSample, Tick
from store.totals import Totals, totals_of
from store.unknown import Unknown
from store.window import Window
from store.words import UNASSIGNED
from tests.conftest import START, billed_in, debits_between
from tests.databases import emptied, empty_sqlite, opened, postgres_database
from tests.store.worlds import (
    EVERY,
    LONG_AGO,
    TIERS,
    Truth,
    World,
    play,
    stated_again,
    with_other_rates,
    worlds,
)

ALL = (*TIERS, UNASSIGNED)
MIDNIGHT = datetime(START.year, START.month, START.day, tzinfo=UTC)
AGAIN = st.tuples(st.integers(-50, 10**5), st.booleans(), st.booleans())
EDGE = st.integers(-20, 140).map(lambda minutes: START + timedelta(minutes=minutes))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, int]]:
    """One store through which thousands of histories go, and the fence to write with."""
    if request.param == "sqlite":
        with opened(empty_sqlite(tmp_path_factory.mktemp("store") / "mtok.db")) as database:
            yield database, _fence(database)
        return
    with postgres_database(request.getfixturevalue("postgres"), "mtok_properties") as url, opened(url) as database:
        yield database, _fence(database)


def _fence(database: Database) -> int:
    fence = acquire(database, "test", 10**6)
    assert fence is not None
    return fence


def spent(database: Database, tier: str, start: datetime, end: datetime) -> int | Unknown:
    with database.read() as session:
        found = billed_in(session, tier, Window(start, end))
    return found.nusd if isinstance(found, Spend) else found


def everything(database: Database, world: World) -> list[object]:
    """All that a world's history says, for comparing two tellings of it."""
    windows = [Window(START - EVERY, world.at(tick)) for tick in range(world.ticks)]
    with database.read() as session:
        found: list[object] = [figures(session, tier, window) for tier in ALL for window in windows]
        found += [debits_between(session, START, window.end) for window in windows]
        found.append(session.exec(select(Tick.at, Tick.complete).order_by(Tick.at)).all())  # type: ignore[arg-type]
    return found


@settings(deadline=None)
@given(world=worlds(most_ticks=5), cuts=st.lists(EDGE, min_size=3, max_size=4))
def test_every_figure_is_what_plain_fractions_say_however_windows_are_split(
    ground: tuple[Database, int], world: World, cuts: list[datetime]
) -> None:
    database, fence = ground
    emptied(database)
    play(database, world, fence)
    cuts.sort()
    truth = Truth(world)
    for tier in ALL:
        whole, *parts = [spent(database, tier, *pair) for pair in [(cuts[0], cuts[-1]), *pairwise(cuts)]]
        assert (None if isinstance(whole, Unknown) else whole) == truth.spend(tier, cuts[0], cuts[-1])
        if isinstance(whole, int):  # a part that is unknown holds no two complete ticks: nothing is billed to it
            assert sum(part for part in parts if isinstance(part, int)) == whole
        _as_explained(database, tier, Window(cuts[0], cuts[-1]), truth)
    assert check(database) == []


def _as_explained(database: Database, tier: str, window: Window, truth: Truth) -> None:
    """The sum over resources is the tier's; its $/Mtok is the quotient of the two sums."""
    tokens = truth.tokens(tier, window.start, window.end)
    with database.read() as session:
        found = figures(session, tier, window)
        assert (found.usage.completion_tokens if isinstance(found.usage, Usage) else None) == tokens
        if isinstance(found.spend, Unknown):
            return
        assert sum(term.nusd for term in spend_terms(session, tier, found.spend.edges)) == found.spend.nusd
    if tokens:
        assert found.output_nusd_per_mtok == round(Fraction(found.spend.nusd * 10**6, tokens))


@settings(deadline=None)
@given(world=worlds(), again=st.lists(AGAIN, max_size=4), cuts=st.lists(EDGE, min_size=2, max_size=4))
def test_counters_that_have_ended_are_left_out_of_no_sum(
    ground: tuple[Database, int], world: World, again: list[tuple[int, bool, bool]], cuts: list[datetime]
) -> None:
    """A provider that is taken out of the settings and comes back, bills stated again after their end."""
    database, fence = ground
    emptied(database)
    play(database, world, fence, stated_again(world, again))
    with database.read() as session:
        for start, end in pairwise(sorted(cuts)):
            assert debits_between(session, start, end) == _plain_debits(session, start, end)
        for tier, totals in totals_of(session, ALL, world.at(world.ticks + len(again))).items():
            if isinstance(totals, Totals) and not isinstance(totals.debits, Unknown):
                assert sum(totals.debits.values()) == _plain_debits(session, LONG_AGO, totals.at, tier)


def _plain_debits(session: Session, start: datetime, end: datetime, tier: str | None = None) -> int:
    """By every sample of every counter that there ever was."""
    held: dict[int, list[BillSample]] = {}
    samples = select(BillSample).join(BillCounter).order_by(col(BillSample.at))
    for one in session.exec(samples if tier is None else samples.where(BillCounter.tier == tier)).all():
        held.setdefault(one.counter_id, []).append(one)
    at_edges = [
        [[one.debits_nusd for one in of_one if one.at <= edge] or [0] for of_one in held.values()]
        for edge in (start, end)
    ]
    return sum(last[-1] - first[-1] for first, last in zip(*at_edges, strict=True))


@settings(deadline=None)
@given(world=worlds(), rate=st.sampled_from([None, 0, -1, 10**18]), seed=st.integers(0, 99))
def test_rates_duplicates_and_disorder_change_nothing(
    ground: tuple[Database, int], world: World, rate: int | None, seed: int
) -> None:
    database, fence = ground
    emptied(database)
    play(database, world, fence)
    before = everything(database, world)
    emptied(database)
    shuffle = random.Random(seed)
    for tick in range(world.ticks):
        readings = with_other_rates(world.readings(tick), rate)
        for name, one in readings.providers.items():
            bills = [*one.bills, *one.bills[: shuffle.randint(0, 2)]]
            shuffle.shuffle(bills)
            readings.providers[name] = type(one)(tuple(bills), one.problem, one.latency_ms)  # type: ignore[index]
        record_tick(database, readings, fence)
        record_tick(database, readings, fence)  # delivered once more
    assert everything(database, world) == before


@settings(deadline=None)
@given(world=worlds(), days=st.sampled_from([40, 400]))
def test_thinning_changes_no_total(ground: tuple[Database, int], world: World, days: int) -> None:
    database, fence = ground
    emptied(database)
    play(database, world, fence)
    step, first = (timedelta(hours=1), START - timedelta(hours=1)) if days == 40 else (timedelta(days=1), MIDNIGHT)
    edges = [first + step * index for index in range(4)]
    pairs = [(edges[0], edges[-1]), *pairwise(edges)]
    before = [spent(database, tier, *pair) for tier in ALL for pair in pairs]
    policy = Retention(timedelta(days=30), timedelta(days=365), ZoneInfo("UTC"))
    thin(database, policy, START + timedelta(days=days))
    after = [spent(database, tier, *pair) for tier in ALL for pair in pairs]
    assert [one if isinstance(one, int) else None for one in after] == [
        one if isinstance(one, int) else None for one in before
    ]
    assert check(database) == []


@settings(deadline=None)
@given(world=worlds(most_ticks=3), struck=st.integers(0, 2), after=st.integers(1, 25))
def test_an_interrupted_write_leaves_whole_ticks_only(
    ground: tuple[Database, int], world: World, struck: int, after: int
) -> None:
    database, fence = ground
    emptied(database)
    play(database, world, fence)
    whole = everything(database, world)
    emptied(database)
    for tick in range(world.ticks):
        if tick == struck:
            with database.read() as session:
                samples = session.exec(select(BillSample)).all()
            _interrupted(database, world, tick, fence, after)
            with database.read() as session:
                found = session.exec(select(BillSample)).all()
                told = session.get(Tick, world.at(tick))
            if told is None:
                assert found == samples
        record_tick(database, world.readings(tick), fence)
    assert everything(database, world) == whole


def _interrupted(database: Database, world: World, tick: int, fence: int, after: int) -> None:
    """A tick whose write breaks at its `after`-th statement, as on a full disk; it may be over before that."""
    count = 0

    def strike(*_: object) -> None:
        nonlocal count
        count += 1
        if count >= after:
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    event.listen(database.engine, "before_cursor_execute", strike)
    try:
        record_tick(database, world.readings(tick), fence)
    except StoreUnreachable:
        pass
    finally:
        event.remove(database.engine, "before_cursor_execute", strike)
