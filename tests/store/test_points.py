"""A window in steps: they add up to it, and what the bill cannot tell apart is not told apart."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from store.database import Database
from store.figures import Spend, Usage
from store.figures_read import figures
from store.points import Point, points_of
from store.unknown import Unknown
from store.window import Edges, Window
from tests.conftest import START, History
from tests.databases import emptied
from tests.store.worlds import EVERY, TIERS, World, play, worlds

MINUTE = timedelta(minutes=1)


def read(history: History, minutes: int, count: int) -> tuple[Point, ...]:
    with history.database.read() as session:
        return points_of(session, ["h100"], Window(START, START + MINUTE * minutes), count)["h100"]


def minutes_of(history: History, count: int, every: int = 1) -> None:
    """Ticks each minute; the bill moves every so many of them."""
    for minute in range(count):
        bill = history.bill(10**9 + minute // every * every * 1_000)
        history.tick(bill, totals=history.totals(minute * 10, minute * 100))


def test_steps_say_what_each_was_billed_and_made(history: History) -> None:
    minutes_of(history, 31)
    found = read(history, 30, 6)
    assert [point.start for point in found] == [START + 5 * MINUTE * step for step in range(6)]
    assert {(point.spend_nusd, point.prompt_tokens, point.completion_tokens) for point in found} == {
        (5000, 50, 500)
    }
    assert {point.output_nusd_per_mtok for point in found} == {10**7}
    assert found[-1].end == START + 30 * MINUTE


def test_a_step_that_is_shorter_than_the_bills_own_is_not_invented(history: History) -> None:
    minutes_of(history, 31, every=5)
    found = read(history, 30, 6)
    assert {point.spend_nusd for point in found} == {Unknown("bills every 5 min")}
    assert {point.completion_tokens for point in found} == {500}
    assert {point.output_nusd_per_mtok for point in found} == {Unknown("bills every 5 min")}
    assert all(isinstance(point.spend_nusd, int) for point in read(history, 30, 2))


def test_more_steps_than_one_statement_takes(history: History) -> None:
    minutes_of(history, 21)
    found = read(history, 20, 600)
    assert len(found) == 600
    assert {point.spend_nusd for point in found if isinstance(point.edges, Edges)} == {Unknown("bills every 60 s")}
    assert sum(point.completion_tokens for point in found if isinstance(point.completion_tokens, int)) == 2_000


def test_steps_before_the_first_tick_are_unknown(history: History) -> None:
    history.clock.advance(600)
    minutes_of(history, 11)
    found = read(history, 20, 4)
    assert [isinstance(point.spend_nusd, Unknown) for point in found] == [True, True, False, False]


@given(world=worlds(), count=st.integers(1, 12))
@settings(max_examples=15)
def test_spends_of_steps_add_up_to_the_windows(ground: tuple[Database, int], world: World, count: int) -> None:
    database, fence = ground
    emptied(database)
    play(database, world, fence)
    window = Window(START, START + EVERY * (world.ticks - 1))
    for tier in TIERS:
        with database.read() as session:
            found, whole = points_of(session, [tier], window, count)[tier], figures(session, tier, window)
        known = [one.spend_nusd for one in found if isinstance(one.spend_nusd, int)]
        covered = [one for one in found if isinstance(one.edges, Unknown) or isinstance(one.spend_nusd, int)]
        if len(covered) < len(found):
            continue  # a bill that is too coarse for its steps
        if isinstance(whole.spend, Spend):
            assert sum(known) == whole.spend.nusd
        else:
            assert known == []
        if isinstance(whole.usage, Usage):
            made = [one.completion_tokens for one in found if isinstance(one.completion_tokens, int)]
            assert sum(made) == whole.usage.completion_tokens
