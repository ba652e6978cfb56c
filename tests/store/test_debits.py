"""Debits are every rise, but for a dip that recovers within three steps of its counter."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate, pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from sqlmodel import col, select

from store.debits import Advance, Fall, Mark, advance
from store.tables import BillSample
from tests.conftest import START, History

STEP = timedelta(minutes=1)
Reading = tuple[int, int]
"""A minute, and what the counter held."""


def debited(readings: Sequence[Reading], *, is_final: bool = False) -> Advance:
    """What `advance` makes of the readings, one by one."""
    told = [(START + minute * STEP, total) for minute, total in readings]
    found = Advance(0)
    for index in range(1, len(told)):
        (before_at, before), (at, total) = told[index - 1], told[index]
        since = [one for one in told[:index] if found.fell_at is not None and one[0] >= found.fell_at]
        peak = told[index - len(since) - 1][1]
        fall = Fall(peak, sum(max(b - a, 0) for (_, a), (_, b) in pairwise(since)))
        mark = Mark(before_at, before, found.debits_nusd, found.fell_at)
        found = advance(mark, at, total, STEP, lambda fall=fall: fall, is_final=is_final)  # type: ignore[misc]
    return found


def defined(readings: Sequence[Reading]) -> int | None:
    """The definition, dip by dip; None while the last one is open."""
    sum_, at = 0, 0
    while at < len(readings) - 1:
        (_, peak), (fell, total) = readings[at : at + 2]
        if total >= peak:
            sum_, at = sum_ + total - peak, at + 1
            continue
        end = next((k for k in range(at + 2, len(readings)) if _ends(readings[k], fell, peak)), None)
        if end is None:
            return None
        is_jitter = readings[end][0] - fell <= 3
        rises = sum(max(b - a, 0) for (_, a), (_, b) in pairwise(readings[at + 1 : end + 1]))
        sum_, at = sum_ + (readings[end][1] - peak if is_jitter else rises), end
    return sum_


def _ends(reading: Reading, fell: int, peak: int) -> bool:
    return reading[0] - fell > 3 or reading[1] >= peak


@given(st.lists(st.tuples(st.sampled_from([1, 1, 1, 5]), st.sampled_from([0, 10, 60, -15, -100])), max_size=12))
@example([(1, -100), (1, 10), (1, 0), (1, 60), (1, 60)])
def test_debits_are_what_the_definition_says(changes: list[Reading]) -> None:
    told = [*accumulate(changes, lambda one, two: (one[0] + two[0], one[1] + two[1]), initial=(0, 1000))]
    found, sum_ = debited(told), defined(told)
    assert (found.fell_at is None) == (sum_ is not None)
    if sum_ is not None:
        assert found.debits_nusd == sum_


def test_a_peak_that_is_passed_after_an_outage_is_no_recovery() -> None:
    assert debited([(0, 100), (1, 50), (181, 650)]) == Advance(600, None, "credited")


def test_a_counter_that_ends_amid_a_fall_is_debited_what_had_risen_since() -> None:
    ended = [(0, 100), (1, 50), (2, 70), (3, 70)]
    assert debited(ended) == Advance(0, START + STEP)
    assert debited(ended, is_final=True) == Advance(20, None, "credited")


def test_a_deleted_machine_is_debited_what_it_billed_after_a_credit(history: History) -> None:
    for total, is_final in ((100, False), (50, False), (70, True), (70, True)):
        history.tick(history.bill(total, final=is_final))
    with history.database.read() as session:
        rows = session.exec(select(BillSample).order_by(col(BillSample.at))).all()
    assert [row.debits_nusd for row in rows] == [0, 0, 0, 20]
