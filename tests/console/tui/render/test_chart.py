"""Charts of plain values: each value where it belongs, nothing invented, nothing wider than asked."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.tui.cells import Row, text_of, width_of
from console.tui.glyphs import ascii_sign
from console.tui.render.band import BAND
from console.tui.render.canvas import REFERENCE_SIGN
from console.tui.render.chart import (
    BELOW_SIGN,
    NO_TOKENS_SIGN,
    UNKNOWN_SIGN,
    ZERO_SIGN,
    Mark,
    Series,
    column_chart,
    columns_of,
)
from console.tui.render.figures import axis_money, per_mtok, short
from console.tui.render.scale import Scale, even_scale, log_scale, time_ticks
from console.tui.render.scatter import MANY_SIGN, ONE_SIGN, Cloud, Dot, scale_for, scatter_chart
from store.unknown import Unknown

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
BLOCKS = "▁▂▃▄▅▆▇█"
unknowns = st.sampled_from([Unknown("dark"), Unknown("no tokens")])
amounts = st.integers(0, 10**12)
sizes = st.tuples(st.integers(40, 280), st.integers(8, 60))


def marks_of(values: Sequence[int | Unknown], step: timedelta = timedelta(minutes=5)) -> list[Mark]:
    return [Mark(START + step * n, START + step * (n + 1), value) for n, value in enumerate(values)]


def tokens(values: Sequence[int | Unknown]) -> Series:
    return Series("TOKENS OUT", marks_of(values), short, short)


def cost(values: Sequence[int | Unknown]) -> Series:
    return Series("$/Mtok OUT", marks_of(values), axis_money, per_mtok, 10**7, may_be_log=True, reference=BAND)


def plot(rows: Sequence[Row]) -> list[str]:
    """What is right of the vertical axis, from the bottom up."""
    texts = [text_of(row) for row in rows]
    found = [text[text.index(axis) + 1 :] for text in texts for axis in "┤│" if axis in text]
    return found[::-1]


def height_of(column: str) -> int:
    """Eighths that a column of the plot stands high, from the bottom up."""
    return sum(BLOCKS.index(sign) + 1 for sign in column if sign in BLOCKS)


@given(st.lists(st.one_of(amounts, unknowns), min_size=1, max_size=120), sizes)
def test_no_row_is_wider_or_higher_than_asked(values: list[int | Unknown], size: tuple[int, int]) -> None:
    for series in (tokens(values), cost(values)):
        rows = column_chart(series, *size)
        assert len(rows) <= size[1]
        assert all(width_of(row) <= size[0] for row in rows)
        if any(not isinstance(value, Unknown) for value in values):
            assert len(rows) == size[1]


@given(st.lists(st.one_of(st.integers(1, 1000), st.just(0), unknowns), min_size=1, max_size=30), sizes)
def test_every_value_stands_as_high_as_it_is_and_the_unknown_stands_nowhere(
    values: list[int | Unknown], size: tuple[int, int]
) -> None:
    rows = plot(column_chart(tokens(values), *size))
    known = [value for value in values if not isinstance(value, Unknown)]
    if not known:
        assert rows == []
        return
    each = len(rows[0]) // len(values)
    columns = ["".join(row[n * each] for row in rows) for n in range(len(values))]
    middles = ["".join(row[n * each : (n + 1) * each] for row in rows) for n in range(len(values))]
    top = even_scale(max(max(known), 1), len(rows)).high
    for value, column, cells in zip(values, columns, middles, strict=True):
        if isinstance(value, Unknown):
            assert cells.strip() == (NO_TOKENS_SIGN if value.reason == "no tokens" else UNKNOWN_SIGN)
        elif value == 0:
            assert cells.strip() == ZERO_SIGN
        else:
            assert height_of(column) == -(-value * len(rows) * 8 // top)
            assert UNKNOWN_SIGN not in cells


def test_known_zero_unknown_and_no_tokens_look_different() -> None:
    rows = plot(column_chart(tokens([5, 0, Unknown("dark"), Unknown("no tokens")]), 40, 8))
    assert rows[0].split()[1:] == [ZERO_SIGN, UNKNOWN_SIGN, NO_TOKENS_SIGN]


def test_costs_that_are_too_far_apart_stand_on_a_log_axis_that_says_so() -> None:
    rows = column_chart(cost([5 * 10**8] * 20 + [20_000 * 10**9]), 80, 12)
    assert "log scale" in text_of(rows[0])
    assert "max $20,000.00" in "".join(map(text_of, rows))
    assert height_of("".join(row[0] for row in plot(rows))) > 2


def test_the_published_band_is_drawn_with_its_own_sign_and_says_whose_it_is() -> None:
    rows = column_chart(cost([0, 5 * 10**8, 10**9]), 80, 16)
    texts = [text_of(row) for row in rows]
    assert sum(REFERENCE_SIGN * 10 in text for text in texts[:-1]) == 2
    assert "published band $0.30-$0.70 (reference, not ours)" in texts[-1]
    assert [text.split()[0] for text in texts if text.strip().startswith(("$0.70", "$0.30"))] == ["$0.70", "$0.30"]


def test_a_credit_stands_below_zero_and_says_so() -> None:
    texts = [text_of(row) for row in column_chart(cost([5 * 10**8, -2 * 10**9]), 80, 12)]
    assert "min -$2.00" in texts[0]
    assert BELOW_SIGN in "".join(texts[1:-3])
    assert f"{BELOW_SIGN} below zero" in texts[-1]


def test_where_nothing_is_known_the_reason_stands_instead_of_a_chart() -> None:
    rows = [text_of(row) for row in column_chart(cost([Unknown("the bill is dark")] * 5), 80, 12)]
    assert rows == [" $/Mtok OUT  not known", " — the bill is dark"]


def test_a_column_of_several_steps_shows_the_highest() -> None:
    shown = columns_of(100, 40)
    assert [step for _, _, steps in shown for step in steps] == list(range(100))
    rows = plot(column_chart(tokens([1] * 50 + [64] + [1] * 49), 40, 12))
    assert max(height_of("".join(column)) for column in zip(*rows, strict=True)) == -(-len(rows) * 8 * 64 // 80)


@given(amounts, st.integers(1, 60))
def test_an_even_axis_reaches_its_top_in_round_steps(top: int, height: int) -> None:
    scale = even_scale(max(top, 1), height)
    assert scale.high >= top
    assert scale.high <= 6 * max(top, 1)
    assert all(str(after - tick).strip("0") in "125" for tick, after in pairwise((0, *scale.ticks)))
    rows = [scale.row_of(tick) for tick in scale.ticks]
    assert rows == sorted(set(rows))
    assert rows[-1] == height - 1


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.integers(2, 60))
def test_a_log_axis_holds_every_value_in_its_order(low: int, times: int, height: int) -> None:
    scale = log_scale(low, low * times, height)
    assert scale.low <= low <= low * times <= scale.high
    assert scale.row_of(scale.low) == 0
    assert scale.row_of(scale.high) == height - 1
    assert scale.row_of(low) <= scale.row_of(low * times)


@given(
    st.lists(st.tuples(st.fractions(0, 1), st.integers(1, 10**13)), min_size=1, max_size=60),
    st.tuples(st.integers(40, 280), st.integers(9, 60)),
)
def test_every_dot_is_in_the_cell_that_it_belongs_to(
    found: list[tuple[Fraction, int]], size: tuple[int, int]
) -> None:
    cloud = cloud_of([Dot(share, value) for share, value in found])
    chart = scatter_chart(cloud, *size)
    assert len(chart) == size[1]
    assert all(width_of(row) <= size[0] for row in chart)
    rows = plot(chart)
    scale = scale_for(cloud, len(rows))
    for share, value in found:
        assert rows[scale.row_of(value)][int(share * (len(rows[0]) - 1))] in "·○●"
    cells = {(scale.row_of(value), int(share * (len(rows[0]) - 1))) for share, value in found}
    assert sum(sign in "·○●" for row in rows for sign in row) == len(cells)


def test_many_hours_in_one_place_look_denser_than_one() -> None:
    dots = [Dot(Fraction(1, 2), 10**9)] * 6 + [Dot(Fraction(1), 2 * 10**9)]
    rows = "".join(plot(scatter_chart(cloud_of(dots), 60, 16)))
    assert rows.count(MANY_SIGN) == rows.count(ONE_SIGN) == 1


def test_a_log_scale_says_that_it_is_one() -> None:
    near = scatter_chart(cloud_of([Dot(Fraction(1), 10**9)]), 80, 16)
    far = scatter_chart(cloud_of([Dot(Fraction(1), 10**9), Dot(Fraction(0), 10**12)]), 80, 16)
    assert "log scale" not in text_of(near[0])
    assert "log scale" in text_of(far[0])


@pytest.mark.parametrize("hours", [1, 24, 24 * 7, 24 * 30])
def test_times_on_the_axis_are_round(hours: int) -> None:
    start = START + timedelta(minutes=3, seconds=17)
    found = time_ticks(start, start + timedelta(hours=hours), 8)
    assert 1 < len(found) <= 8
    assert all(at.second == 0 and at.minute % 5 == 0 and at >= start for at in found)


def test_every_sign_of_a_chart_has_one_in_ascii() -> None:
    rows = column_chart(cost([1, 0, 9 * 10**8, Unknown("dark"), Unknown("no tokens"), 10**15]), 80, 12)
    rows += scatter_chart(cloud_of([Dot(Fraction(1), 10**9)] * 9), 80, 12)
    signs = set("".join(map(text_of, rows)))
    assert "?" not in {ascii_sign(sign) for sign in signs}


def test_values_outside_stand_at_the_edge() -> None:
    scale = Scale(0, 10, 4, (10,))
    assert (scale.row_of(-5), scale.row_of(0), scale.row_of(11)) == (0, 0, 3)


def cloud_of(dots: Sequence[Dot]) -> Cloud:
    return Cloud("h100: $/Mtok OUT against load", "", "load", dots, axis_money, BAND)
