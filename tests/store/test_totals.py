"""Totals: whatever a monitoring system scraped, the difference of two scrapes is our own figure."""

from datetime import timedelta
from itertools import combinations

from hypothesis import given
from sqlmodel import Session, select

from store.database import Database
from store.figures import Usage
from store.figures_read import figures
from store.tables import BillCounter
from store.totals import Totals, totals_of
from store.unknown import Unknown
from store.window import Window
from store.words import UNASSIGNED
from tests.conftest import START, History, billed_in
from tests.databases import emptied
from tests.store.worlds import TIERS, World, play, worlds

ALL = (*TIERS, UNASSIGNED)


@given(world=worlds(most_ticks=5))
def test_the_difference_of_two_scrapes_is_the_figure_between_their_ticks(
    ground: tuple[Database, int], world: World
) -> None:
    database, fence = ground
    emptied(database)
    scraped: dict[str, list[Totals]] = {tier: [] for tier in ALL}
    for tick in range(world.ticks):
        play(database, world, fence, [world.readings(tick)])
        with database.read() as session:
            for tier, found in totals_of(session, ALL, world.at(tick) + timedelta(seconds=30)).items():
                if isinstance(found, Totals):
                    scraped[tier].append(found)
    with database.read() as session:
        for tier in ALL:
            for before, after in combinations(scraped[tier], 2):
                if before.at < after.at:
                    _same(session, tier, before, after)


def _same(session: Session, tier: str, before: Totals, after: Totals) -> None:
    window = Window(before.at, after.at)
    used = figures(session, tier, window).usage
    assert isinstance(used, Usage)
    for field in ("prompt_tokens", "completion_tokens", "delivered_tokens", "requests", "busy_ms", "running_ms"):
        assert getattr(after.usage, field) - getattr(before.usage, field) == getattr(used, field)
    billed = billed_in(session, tier, window)
    if isinstance(billed, Unknown) or isinstance(before.spend, Unknown) or isinstance(after.spend, Unknown):
        return
    assert after.spend[billed.currency] - before.spend.get(billed.currency, 0) == billed.nusd


def totals_now(history: History) -> Totals | Unknown:
    with history.database.read() as session:
        return totals_of(session, ["h100"], history.clock.now())["h100"]


def test_what_was_billed_before_our_first_look_is_in_no_total(history: History) -> None:
    assert isinstance(totals_now(history), Unknown)
    history.tick(history.bill(5_000), totals=history.totals(100, 100))
    history.tick(history.bill(5_700), totals=history.totals(150, 180))
    found = totals_now(history)
    assert isinstance(found, Totals)
    assert found.at == START + timedelta(minutes=1)
    assert found.spend == found.debits == {"USD": 700}
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (50, 80)


def test_what_a_restored_ledger_lost_is_in_no_total(history: History) -> None:
    for minute, tokens in enumerate((0, 1000, 400, 1001)):
        history.tick(history.bill(minute), totals=history.totals(tokens, tokens))
    found = totals_now(history)
    assert isinstance(found, Totals)
    assert found.usage.completion_tokens == 1000 + 601


def test_totals_stand_still_until_the_next_complete_tick(history: History) -> None:
    for total in (5_000, 5_700):
        history.tick(history.bill(total), totals=history.totals(0, 0))
    before = totals_now(history)
    history.tick(problem="HTTP 500", totals=history.totals(900, 900))
    assert totals_now(history) == before


def test_a_credit_lowers_spend_and_no_debits(history: History) -> None:
    for total in (1_000, 1_500, 900, 900, 900, 900, 900):
        history.tick(history.bill(total), totals=history.totals(0, 0))
    found = totals_now(history)
    assert isinstance(found, Totals)
    assert (found.spend, found.debits) == ({"USD": -100}, {"USD": 500})


def test_a_vanished_counter_makes_the_money_unknown_and_leaves_the_tokens(history: History) -> None:
    vanished = {"counter": "usage:vm:9", "resource_id": "9"}
    history.tick(history.bill(1_000), history.bill(1_000, **vanished), totals=history.totals(0, 0))
    history.tick(history.bill(1_500), history.bill(1_500, **vanished), totals=history.totals(5, 5))
    _lose(history, "usage:vm:9")
    found = totals_now(history)
    assert isinstance(found, Totals)
    assert isinstance(found.spend, Unknown)
    assert isinstance(found.debits, Unknown)
    assert found.usage.completion_tokens == 5


def _lose(history: History, counter: str) -> None:

    with history.database.write() as session:
        row = session.exec(select(BillCounter).where(BillCounter.counter == counter)).one()
        row.unsettled_at = START
        session.add(row)
