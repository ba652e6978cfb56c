"""Spend is a subtraction of counters between complete ticks, and nothing else."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import select

from store.database import open_database
from store.figures import Spend
from store.journal_read import entries
from store.tables import BillSample, Gap
from store.unknown import Unknown
from store.window import Window
from tests.conftest import START, History, billed_in, debits_between
from tests.databases import empty_sqlite


def spent(history: History, start_s: float, end_s: float) -> int | Unknown:
    window = Window(START + timedelta(seconds=start_s), START + timedelta(seconds=end_s))
    with history.database.read() as session:
        found = billed_in(session, history.tier, window)
    return found.nusd if isinstance(found, Spend) else found


def test_spend_is_the_difference_of_two_samples(history: History) -> None:
    for total in (1_000, 1_400, 2_100):
        history.tick(history.bill(total), totals=history.totals(0, 0))
    assert spent(history, 0, 60) == 400
    assert spent(history, 0, 120) == 1_100


def test_what_was_billed_before_our_time_is_no_spend(history: History) -> None:
    history.tick(history.bill(50_000), totals=history.totals(0, 0))
    history.tick(history.bill(50_007), totals=history.totals(0, 0))
    assert spent(history, -3600, 60) == 7


def test_a_counter_born_inside_counts_from_zero(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(0, 0))
    born = {"counter": "usage:vm:9000", "resource_id": "9000", "started_at": START + timedelta(seconds=30)}
    history.tick(history.bill(100), history.bill(40, **born), totals=history.totals(0, 0))
    assert spent(history, 0, 60) == 40


def test_a_gap_inside_a_window_costs_nothing(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(0, 0))
    history.tick(problem="HTTP 500", totals=history.totals(0, 0))
    history.tick(history.bill(400), totals=history.totals(0, 0))
    assert spent(history, 0, 120) == 300
    with history.database.read() as session:
        assert [gap.problem for gap in session.exec(select(Gap))] == ["HTTP 500"]


def test_an_edge_snaps_back_to_the_last_complete_tick(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(0, 0))
    history.tick(history.bill(150), totals=history.totals(0, 0))
    history.tick(history.bill(999), problem="page 2 is missing", totals=history.totals(0, 0))
    assert spent(history, 0, 179) == 50


def test_a_known_counter_that_is_not_read_makes_the_tick_incomplete(history: History) -> None:
    assert history.tick(history.bill(100), totals=history.totals(0, 0))
    assert not history.tick(totals=history.totals(0, 0))  # an empty answer is no zero


def test_nothing_is_known_before_the_second_complete_tick(history: History) -> None:
    assert isinstance(spent(history, 0, 60), Unknown)
    history.tick(history.bill(100), totals=history.totals(0, 0))
    assert spent(history, -60, 60) == Unknown("waiting for a second complete tick")


def test_a_silent_source_makes_a_later_window_unknown(history: History) -> None:
    for total in (100, 200):
        history.tick(history.bill(total), totals=history.totals(0, 0))
    history.tick(problem="HTTP 500", totals=history.totals(0, 0))
    found = spent(history, 100, 200)
    assert isinstance(found, Unknown)
    assert "HTTP 500" in found.reason


def test_a_tier_whose_resource_was_never_billed_is_unknown(history: History) -> None:
    history.resources = frozenset({"8429", "7"})
    for total in (100, 200):
        history.tick(history.bill(total), totals=history.totals(0, 0))
    found = spent(history, 0, 60)
    assert isinstance(found, Unknown)
    assert "no bill has ever named 7" in found.reason


def test_two_currencies_are_never_summed(history: History) -> None:
    other = {"counter": "usage:vm:1", "resource_id": "1", "currency": "EUR"}
    for total in (100, 200):
        history.tick(history.bill(total), history.bill(total, **other), totals=history.totals(0, 0))
    assert spent(history, 0, 60) == Unknown("bills in EUR and USD, which are never summed")


def debited(history: History, end_s: float) -> int | Unknown:
    with history.database.read() as session:
        return debits_between(session, START, START + timedelta(seconds=end_s))


def test_a_credit_lowers_spend_and_never_debits(history: History) -> None:
    for total in (1_000, 1_500, 900, 1_000, 1_100, 1_200, 1_300, 1_400):
        history.tick(history.bill(total), totals=history.totals(0, 0))
    assert spent(history, 0, 120) == -100
    assert spent(history, 0, 420) == 400
    assert debited(history, 300) == 500  # it may still be jitter
    assert debited(history, 360) == 500 + 400  # after three steps it was a credit, and the rises since then count
    assert debited(history, 420) == 500 + 500


def test_a_dip_that_recovers_is_jitter_and_no_debit(history: History) -> None:
    for total in (1_000, 1_500, 1_450, 1_460, 1_600, 1_700):
        history.tick(history.bill(total), totals=history.totals(0, 0))
    assert debited(history, 240) == 600
    assert debited(history, 300) == 700
    assert spent(history, 0, 300) == 700
    with history.database.read() as session:
        told = [entry.what for entry in entries(session, 10)]
    assert told == ["bill recovered", "bill fell"]


def test_debits_of_a_day_leave_out_what_older_counters_held(history: History) -> None:
    history.tick(history.bill(5_000), totals=history.totals(0, 0))
    history.tick(history.bill(5_300), totals=history.totals(0, 0))
    with history.database.read() as session:
        assert debits_between(session, START - timedelta(hours=8), history.clock.now()) == 300


steps = st.lists(
    st.tuples(st.integers(0, 10**10), st.booleans(), st.sampled_from([None, 0, -1, 10**18])),
    min_size=2,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(steps, st.integers(0, 720), st.integers(0, 720), st.integers(0, 720))
def test_splitting_a_window_never_changes_the_sum(
    tmp_path_factory: pytest.TempPathFactory,
    rises: list[tuple[int, bool, int | None]],
    first: int,
    second: int,
    third: int,
) -> None:
    """Whatever was missed, and whatever the rates said."""
    database = open_database(empty_sqlite(tmp_path_factory.mktemp("split") / "mtok.db"))
    history = History(database)
    total = 0
    for rise, is_missed, rate in rises:
        total += rise
        bill = history.bill(total, rate_nusd_per_hour=rate)
        history.tick(
            *(() if is_missed else (bill,)),
            problem="missed" if is_missed else None,
            totals=history.totals(0, 0),
        )
    start, middle, end = sorted((first, second, third))
    whole, left, right = (
        spent(history, start, end),
        spent(history, start, middle),
        spent(history, middle, end),
    )
    if isinstance(whole, int) and isinstance(left, int) and isinstance(right, int):
        assert left + right == whole
    with database.read() as session:
        stored = session.exec(select(BillSample)).all()
    assert len(stored) == sum(not is_missed for _, is_missed, _ in rises)
    database.close()
