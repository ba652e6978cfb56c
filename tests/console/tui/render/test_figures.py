"""Texts of plain values."""

from fractions import Fraction

import pytest

from console.tui.render import figures
from store.unknown import Unknown


def test_known_unknown_and_zero_look_different() -> None:
    texts = {figures.per_mtok(0), figures.per_mtok(Unknown("dark")), figures.per_mtok(Unknown("no tokens"))}
    assert texts == {"$0.0000", "—", "no tokens"}


def test_a_sparkline_shows_gaps_as_dots() -> None:
    assert figures.sparkline((0, 4, 8, Unknown("gap"))) == "▁▄█·"
    assert figures.sparkline((Unknown("x"),) * 3) == "···"


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (4.4, "4 s"), (180, "3 min"), (9000, "2.5 h")])
def test_ages_are_read_at_once(seconds: float, text: str) -> None:
    assert figures.age(seconds) == text


def test_a_bar_never_leaves_its_brackets() -> None:
    assert figures.bar(Fraction(3, 1), 4) == "[####]"
    assert figures.bar(Fraction(0), 4) == "[----]"
