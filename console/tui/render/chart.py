"""A series as columns of text: values stand on the axis, and what is not known is a dot on it, never a value."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median_low

from console.tui.cells import Role, Row, line
from console.tui.render.canvas import (
    REFERENCE_SIGN,
    Canvas,
    Label,
    Reference,
    clipped,
    floor_row,
    framed,
    gutter_of,
    ticks_row,
    time_labels,
    titled,
)
from console.tui.render.scale import EIGHTHS, Scale, even_scale
from store.unknown import Unknown

UNKNOWN_SIGN, ZERO_SIGN, NO_TOKENS_SIGN, BEYOND_SIGN, BELOW_SIGN = "·", "0", "∘", "▲", "▼"
_BLOCKS = "▁▂▃▄▅▆▇█"
_GAP_FROM = 4  # columns this wide stand apart
_LEGEND_FROM = 8  # a lower chart has no row to spare for what its signs mean
_FAR = 8  # times the median: one such value would press all others flat
_CEILING = 3  # times the median: where the chart ends then
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

    `unit`: what the axis reaches to when every value is zero.
    """

    title: str
    marks: Sequence[Mark]
    label: Label
    told: Label
    unit: int = 1
    reference: Reference | None = None


def column_chart(series: Series, width: int, height: int) -> list[Row]:
    """The series in exactly `height` rows, none wider than `width` cells; at least 8 by 40 of them."""
    head = titled(series.title, _in_words(series), width)
    known = [mark.value for mark in series.marks if not isinstance(mark.value, Unknown)]
    if not known:
        return _filled([*head, *_nothing(series, width)], height)
    has_legend = height >= _LEGEND_FROM
    rows = max(height - len(head) - 2 - has_legend, 2)
    scale = even_scale(_top(series, known), rows)
    lines = [value for value in (series.reference.values if series.reference else ()) if value <= scale.high]
    gutter = gutter_of(scale, series.label, lines)
    canvas = Canvas(_drawn_width(len(series.marks), width - gutter), rows)
    for value in lines:
        canvas.across(scale.row_of(value))
    signs = _draw(canvas, scale, series.marks)
    ticks = time_labels(series.marks[0].start, series.marks[-1].end, canvas.width)
    legend = [_legend(series, signs, bool(lines), width)] if has_legend else []
    return [
        *head,
        *framed(canvas, scale, series.label, lines),
        floor_row(gutter, canvas.width, "0", ticks),
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
    eighths, top = scale.eighths(value), scale.row_of(value)
    for column in columns:
        for row in range(top):
            canvas.put(column, row, _BLOCKS[-1])
        canvas.put(column, top, _BLOCKS[(eighths - 1) % EIGHTHS])
        if value > scale.high:
            canvas.put(column, top, BEYOND_SIGN, Role.WARN)
    return BEYOND_SIGN if value > scale.high else _BLOCKS[-1]


def _top(series: Series, known: Sequence[int]) -> int:
    """What the axis must reach: the largest value, unless it is far beyond the rest; a reference that is near."""
    largest, above_zero = max(known), [value for value in known if value > 0]
    if largest <= 0:
        return series.unit
    middle = median_low(above_zero)
    top = largest if largest <= _FAR * middle else _CEILING * middle
    reference = max(series.reference.values) if series.reference else 0
    return reference if top < reference <= _NEAR * top else top


def _unknown_sign(values: Sequence[int | Unknown]) -> str:
    reasons = {value.reason for value in values if isinstance(value, Unknown)}
    return NO_TOKENS_SIGN if reasons == {"no tokens"} else UNKNOWN_SIGN


def _in_words(series: Series) -> str:
    values = [mark.value for mark in series.marks]
    known = [value for value in values if not isinstance(value, Unknown)]
    if not known:
        return "nothing known"
    last = values[-1]
    told_last = _unknown_in_words(last) if isinstance(last, Unknown) else series.told(last)
    words = f"min {series.told(min(known))}  max {series.told(max(known))}  last {told_last}"
    missing = sum(isinstance(value, Unknown) and value.reason != "no tokens" for value in values)
    return f"{words}  {missing} of {len(values)} not known" if missing else words


def _unknown_in_words(value: Unknown) -> str:
    return value.reason if value.reason == "no tokens" else "—"


def _nothing(series: Series, width: int) -> list[Row]:
    reasons = dict.fromkeys(mark.value.reason for mark in series.marks if isinstance(mark.value, Unknown))
    shown = [f" — {reason}" for reason in reasons] or [" — no step yet"]
    return [clipped(line(text, Role.WARN), width) for text in shown[:3]]


def _legend(series: Series, signs: set[str], has_reference: bool, width: int) -> Row:
    texts = {
        UNKNOWN_SIGN: "not known",
        NO_TOKENS_SIGN: "no tokens",
        BEYOND_SIGN: "beyond the chart",
        BELOW_SIGN: "below zero",
    }
    parts = [f"{sign} {text}" for sign, text in texts.items() if sign in signs]
    if has_reference and series.reference is not None:
        parts.append(f"{REFERENCE_SIGN} {series.reference.name}")
    return clipped(line(f" {'  '.join(parts)}", Role.REFERENCE if has_reference else Role.MUTED), width)


def _filled(rows: list[Row], height: int) -> list[Row]:
    return [*rows, *[line("")] * height][:height]
