"""What screens are made of: lines of spans, each with a role. No colour, no widget, no terminal.

A role says what a text means; the theme says how that looks. Nothing may be told by its role alone: without
colour the words, and the signs before them, must be enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len, set_cell_size


class Role(StrEnum):
    """What a text means."""

    PLAIN = "plain"
    MUTED = "muted"
    STRONG = "strong"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    ALARM = "alarm"
    HEADING = "heading"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line."""

    text: str
    role: Role = Role.PLAIN


Row = tuple[Span, ...]


def line(text: str, role: Role = Role.PLAIN) -> Row:
    """A line of one piece."""
    return (Span(text, role),)


def lines(texts: Sequence[str], role: Role = Role.PLAIN) -> list[Row]:
    """A line a text."""
    return [line(text, role) for text in texts]


def text_of(row: Row) -> str:
    """A line without its roles."""
    return "".join(span.text for span in row)


def width_of(row: Row) -> int:
    """How many cells of the terminal a line takes."""
    return sum(cell_len(span.text) for span in row)


def fitted(text: str, width: int) -> str:
    """A text in exactly `width` cells: filled up with spaces, or cut with an ellipsis that says so."""
    if width <= 0:
        return ""
    return set_cell_size(text, width) if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"


def between(left: str, right: str, width: int) -> str:
    """Two texts at the ends of a line; what is on the left gives way."""
    room = width - cell_len(right)
    return f"{fitted(left, room)}{right}" if room > 0 else fitted(right, width)
