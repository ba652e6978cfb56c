"""Cells are plain texts of plain values."""

from fractions import Fraction

import pytest

from console.tui import render
from console.tui.render import NARROW, WIDE, Column
from store.unknown import Unknown


def test_the_columns_fit_the_screens_that_they_are_for() -> None:
    assert sum(column.width for column in NARROW) <= 80
    assert sum(column.width for column in WIDE) <= 118
    for column in (*NARROW, *WIDE):
        assert len(column.heading) < column.width or column.width - 1 == len(column.heading)


def test_known_unknown_and_zero_look_different() -> None:
    texts = {render.per_mtok(0), render.per_mtok(Unknown("dark")), render.per_mtok(Unknown("no tokens"))}
    assert texts == {"$0.0000", "—", "no tokens"}


@pytest.mark.parametrize(
    ("text", "column", "cell"),
    [
        ("ab", Column("c", "C", 6), "    ab"),
        ("ab", Column("c", "C", 6, is_number=False), "ab    "),
        ("abcdefgh", Column("c", "C", 6), " abcd…"),
    ],
)
def test_a_cell_is_exactly_as_wide_as_its_column(text: str, column: Column, cell: str) -> None:
    assert render.aligned(text, column) == cell


def test_a_sparkline_shows_gaps_as_dots() -> None:
    assert render.sparkline([0, 4, 8, Unknown("gap")]) == "▁▄█·"
    assert render.sparkline([Unknown("x")] * 3) == "···"


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (4.4, "4 s"), (180, "3 min"), (9000, "2.5 h")])
def test_ages_are_read_at_once(seconds: float, text: str) -> None:
    assert render.age(seconds) == text


def test_a_bar_never_leaves_its_brackets() -> None:
    assert render.bar(Fraction(3, 1), 4) == "[####]"
    assert render.bar(Fraction(0), 4) == "[----]"
