"""Pens of the thin output: whatever came before, a terminal ends up with the same attributes and colours."""

from itertools import combinations, product

import pyte
import pytest

from console.tui.thin import _turned

ATTRIBUTES = [";".join(some) for n in range(4) for some in combinations(("1", "3", "4", "7", "9"), n)]
COLOURS = ("38;2;1;2;3;48;2;9;8;7", "38;2;1;2;3", "31;44", "38;5;7", "")
PENS = [";".join(filter(None, pair)) for pair in product(ATTRIBUTES, COLOURS)]


def drawn(*sequences: str) -> object:
    screen = pyte.Screen(2, 1)
    stream = pyte.Stream(screen)
    for sequence in sequences:
        stream.feed(sequence)
    stream.feed("x")
    return screen.buffer[0][0]


def test_a_turned_pen_draws_what_a_fresh_one_draws() -> None:
    for before, after in product(PENS, PENS):
        fresh = drawn("\x1b[0m", f"\x1b[0;{after}m" if after else "\x1b[0m")
        turned = drawn(f"\x1b[0;{before}m" if before else "\x1b[0m", _turned(before, after))
        assert turned == fresh, (before, after)


@pytest.mark.parametrize(
    ("before", "after", "sends"),
    [
        ("38;2;1;2;3", "7;38;2;1;2;3", "\x1b[7m"),
        ("1;7;38;2;1;2;3", "38;2;1;2;3", "\x1b[22;27m"),
        ("2;1;38;5;7", "1;38;5;7", "\x1b[0;1;38;5;7m"),  # 22 would end the other too
        (None, "1;31", "\x1b[0;1;31m"),
        ("2;3", "38;2;1;2;3", "\x1b[0;38;2;1;2;3m"),
    ],
)
def test_only_what_comes_or_goes_is_sent(before: str | None, after: str, sends: str) -> None:
    assert _turned(before, after) == sends
