"""A grid of signs to draw a chart on, with its axes; it becomes lines of spans."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from console.tui.cells import Role, Row, Span, fitted, line, width_of
from console.tui.render.scale import Scale, time_ticks

REFERENCE_SIGN = "╌"
Label = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Reference:
    """A line across a chart at each value from elsewhere, with a sign of its own; `name` says whose they are."""

    values: tuple[int, ...]
    name: str
    brief: str


class Canvas:
    """`width` by `height` cells, rows counted from the bottom; what is put last stays."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._cells: dict[tuple[int, int], tuple[str, Role]] = {}

    def put(self, column: int, row: int, sign: str, role: Role = Role.PLAIN) -> None:
        """Draw a sign of one cell; outside of the canvas nothing is drawn."""
        if 0 <= column < self.width and 0 <= row < self.height:
            self._cells[column, row] = (sign, role)

    def across(self, row: int) -> None:
        """Draw a line of reference from side to side."""
        for column in range(self.width):
            self.put(column, row, REFERENCE_SIGN, Role.REFERENCE)

    def row(self, row: int) -> Row:
        """One row as spans."""
        cells = [self._cells.get((column, row), (" ", Role.PLAIN)) for column in range(self.width)]
        runs = groupby(cells, key=lambda cell: cell[1])
        return tuple(Span("".join(sign for sign, _ in run), role) for role, run in runs)


def gutter_of(scale: Scale, label: Label, references: Sequence[int] = ()) -> int:
    """How wide the labels of a scale are, with a space before and the axis after them."""
    return max(len(label(value)) for value in (*scale.ticks, *references)) + 3


def framed(canvas: Canvas, scale: Scale, label: Label, references: Sequence[int]) -> list[Row]:
    """The canvas from the top down, each row with its label and the vertical axis before it."""
    labels = {scale.row_of(tick): (label(tick), Role.MUTED) for tick in scale.ticks}
    labels |= {scale.row_of(value): (label(value), Role.REFERENCE) for value in references}
    gutter = gutter_of(scale, label, references)
    rows = []
    for row in reversed(range(canvas.height)):
        text, role = labels.get(row, ("", Role.MUTED))
        axis = "┤" if text else "│"
        rows.append((Span(f"{text:>{gutter - 2}} {axis}", role), *canvas.row(row)))
    return rows


def floor_row(gutter: int, width: int, label: str, ticks: Mapping[int, str]) -> Row:
    """The horizontal axis with a mark at each column of `ticks`."""
    axis = "".join("┬" if column in ticks else "─" for column in range(width))
    return line(f"{label:>{gutter - 2}} └{axis}", Role.MUTED)


def ticks_row(gutter: int, width: int, ticks: Mapping[int, str]) -> Row:
    """What the marks of the horizontal axis stand for, each text beginning under its mark, as far as they fit."""
    text = " " * gutter
    for column, label in sorted(ticks.items()):
        start = gutter + column
        if (len(text) <= gutter or start > len(text)) and start + len(label) <= gutter + width:
            text = f"{text:<{start}}{label}"
    return line(text.rstrip(), Role.MUTED)


def time_labels(start: datetime, end: datetime, width: int) -> dict[int, str]:
    """Texts of round instants by the column that they stand at, over `width` columns from `start` to `end`."""
    span = end - start
    form = "%H:%M" if span <= timedelta(hours=26) else "%m-%d"
    found: dict[int, str] = {}
    for at in time_ticks(start, end, max(width // 9, 1)):
        column = int((at - start) / span * width)
        found[column] = at.astimezone(UTC).strftime(form)
    return found


def titled(title: str, words: str, width: int) -> list[Row]:
    """A title with what it says in words: in one row where both fit, else in two."""
    if len(title) + len(words) + 3 <= width:
        return [(Span(f" {title}", Role.HEADING), Span(f"  {words}"))]
    return [clipped(line(f" {title}", Role.HEADING), width), clipped(line(f" {words}"), width)]


def reference_row(reference: Reference, width: int) -> Row:
    """Whose a chart's lines of reference are."""
    name = reference.name if len(reference.name) + 3 <= width else reference.brief
    return clipped(line(f" {REFERENCE_SIGN} {name}", Role.REFERENCE), width)


def clipped(row: Row, width: int) -> Row:
    """A row that is at most `width` cells wide; where something is cut, an ellipsis says so."""
    if width_of(row) <= width:
        return row
    found: list[Span] = []
    room = width
    for span in row:
        text_width = width_of((span,))
        if text_width > room or (text_width == room and span is not row[-1]):
            found.append(Span(fitted(f"{span.text}…", room) if room else "", span.role))
            return tuple(found)
        found.append(span)
        room -= text_width
    return tuple(found)
