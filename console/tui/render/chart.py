"""A series as columns of text: values stand on the axis, and what is not known is a dot on it, never a value."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from console.tui.cells import Role, Row, line
from console.tui.render.canvas import (
    Canvas,
    Label,
    Reference,
    clipped,
    floor_row,
    framed,
    gutter_of,
    reference_row,
    ticks_row,
    time_labels,
    titled,
)
from console.tui.render.scale import EIGHTHS, Scale, even_scale, is_far_apart, log_scale
from store.figures import NO_TOKENS
from store.printable import printable
from store.unknown import Unknown

UNKNOWN_SIGN, ZERO_SIGN, NO_TOKENS_SIGN, BELOW_SIGN = "·", "0", "○", "▼"
_BLOCKS = "▁▂▃▄▅▆▇█"
_GAP_FROM = 4  # columns this wide stand apart
_LEGEND_FROM = 8  # a lower chart has no row to spare for what its signs mean
_NEAR = 4  # a reference further above than this would press all values flat


@dataclass(frozen=True, slots=True)
class Mark:
    """One step of time, `[start, end)`, and its value."""

    start: datetime
    end: datetime
    value: int | Unknown


@dataclass(frozen=True, slots=True)
class Series:
    """Steps without holes between them, oldest first. `label` says a value on the axis, `told` in words.

    `unit`: what the axis reaches to when every value is zero. `may_be_log`: tenfold for tenfold, where the values
    are too far apart for an even axis.
    """

    title: str
    marks: Sequence[Mark]
    label: Label
    told: Label
    unit: int = 1
    may_be_log: bool = False
    reference: Reference | None = None


def column_chart(series: Series, width: int, height: int) -> list[Row]:
    """The series in `height` rows, fewer where nothing is known; none is wider than `width`. At least 40 by 7."""
    known = [mark.value for mark in series.marks if not isinstance(mark.value, Unknown)]
    is_log = series.may_be_log and is_far_apart(known)
    head = titled(f"{series.title}{', log scale' if is_log else ''}", _in_words(series), width)
    if not known:
        return [*head, *_nothing(series, width)][:height]
    has_legend = height >= _LEGEND_FROM
    rows = max(height - len(head) - 2 - has_legend, 2)
    scale = _scale(series, known, rows, is_log)
    lines = [value for value in _references(series) if scale.low <= value <= scale.high]
    gutter = gutter_of(scale, series.label, lines)
    canvas = Canvas(_drawn_width(len(series.marks), width - gutter), rows)
    for value in lines:
        canvas.across(scale.row_of(value))
    signs = _draw(canvas, scale, series.marks)
    ticks = time_labels(series.marks[0].start, series.marks[-1].end, canvas.width)
    low = series.label(scale.low) if is_log else "0"
    legend = [_legend(series, signs, bool(lines), width)] if has_legend else []
    return [
        *head,
        *framed(canvas, scale, series.label, lines),
        floor_row(gutter, canvas.width, low if len(low) <= gutter - 2 else "", ticks),
        ticks_row(gutter, canvas.width, ticks),
        *legend,
    ]


def columns_of(count: int, width: int) -> list[tuple[int, int, range]]:
    """First cell, width in cells and steps of each column: a step has as many cells as all of them can have.

    Where there are more steps than cells, a column stands for several.
    """
    if count <= width:
        each = width // count
        return [(n * each, each, range(n, n + 1)) for n in range(count)]
    return [(x, 1, range(x * count // width, (x + 1) * count // width)) for x in range(width)]


def _drawn_width(count: int, width: int) -> int:
    return count * (width // count) if count <= width else width


def _draw(canvas: Canvas, scale: Scale, marks: Sequence[Mark]) -> set[str]:
    """Each column up to the highest value of its steps; answers the signs that need to be explained."""
    signs = set()
    for x, cells, steps in columns_of(len(marks), canvas.width):
        values = [marks[n].value for n in steps]
        known = [value for value in values if not isinstance(value, Unknown)]
        if not known:
            sign = _unknown_sign(values)
            canvas.put(x + (cells - 1) // 2, 0, sign, Role.MUTED)
            signs.add(sign)
            continue
        sign = _column(canvas, scale, max(known), range(x, x + cells - (cells >= _GAP_FROM)))
        signs.add(sign)
    return signs


def _column(canvas: Canvas, scale: Scale, value: int, columns: range) -> str:
    if value <= 0:
        sign, role = (ZERO_SIGN, Role.MUTED) if value == 0 else (BELOW_SIGN, Role.WARN)
        canvas.put(columns[(len(columns) - 1) // 2], 0, sign, role)
        return sign
    block = _BLOCKS[(max(scale.eighths(value), 1) - 1) % EIGHTHS]
    for column in columns:
        for row in range(scale.row_of(value)):
            canvas.put(column, row, _BLOCKS[-1])
        canvas.put(column, scale.row_of(value), block)
    return block


def _scale(series: Series, known: Sequence[int], rows: int, is_log: bool) -> Scale:
    """Up to the largest value, and to a reference that is near."""
    references = _references(series)
    if is_log:
        above_zero = [value for value in (*known, *references) if value > 0]
        return log_scale(min(above_zero), max(above_zero), rows)
    top = max(known) if max(known) > 0 else series.unit
    reference = max(references, default=0)
    return even_scale(reference if top < reference <= _NEAR * top else top, rows)


def _references(series: Series) -> tuple[int, ...]:
    return series.reference.values if series.reference else ()


def _unknown_sign(values: Sequence[int | Unknown]) -> str:
    reasons = {value.reason for value in values if isinstance(value, Unknown)}
    return NO_TOKENS_SIGN if reasons == {NO_TOKENS.reason} else UNKNOWN_SIGN


def _in_words(series: Series) -> str:
    values = [mark.value for mark in series.marks]
    known = [value for value in values if not isinstance(value, Unknown)]
    if not known:
        return "" if _unknown_sign(values) == NO_TOKENS_SIGN else "not known"
    last = values[-1]
    told_last = _unknown_in_words(last) if isinstance(last, Unknown) else series.told(last)
    return f"min {series.told(min(known))}  max {series.told(max(known))}  last {told_last}"


def _unknown_in_words(value: Unknown) -> str:
    return value.reason if value == NO_TOKENS else "—"


def _nothing(series: Series, width: int) -> list[Row]:
    reasons = dict.fromkeys(mark.value.reason for mark in series.marks if isinstance(mark.value, Unknown))
    shown = [f" — {printable(reason)}" for reason in reasons] or [" — no step yet"]
    role = Role.MUTED if list(reasons) == [NO_TOKENS.reason] else Role.WARN
    return [clipped(line(text, role), width) for text in shown[:3]]


def _legend(series: Series, signs: set[str], has_reference: bool, width: int) -> Row:
    texts = {
        UNKNOWN_SIGN: "not known",
        NO_TOKENS_SIGN: NO_TOKENS.reason,
        BELOW_SIGN: "below zero",
    }
    text = "".join(f" {sign} {text} " for sign, text in texts.items() if sign in signs)
    if not has_reference or series.reference is None:
        return clipped(line(text, Role.MUTED), width)
    return (*clipped(line(text, Role.MUTED), width), *reference_row(series.reference, max(width - len(text), 0)))
