"""Two figures against each other as text: a share of 0 to 100 % along, an amount up; denser where more meet."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

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
    titled,
)
from console.tui.render.scale import Scale, even_scale, is_far_apart, log_scale

ONE_SIGN, SOME_SIGN, MANY_SIGN = "·", "○", "●"
_MANY_FROM = 5
_LEGEND = f"{ONE_SIGN} one hour  {SOME_SIGN} 2 to {_MANY_FROM - 1}  {MANY_SIGN} {_MANY_FROM} or more"


@dataclass(frozen=True, slots=True)
class Dot:
    """A share, 0 to 1, and an amount."""

    share: Fraction
    value: int


@dataclass(frozen=True, slots=True)
class Cloud:
    """`x_name` says what the share is of; `words`: what is to be said beside the title."""

    title: str
    words: str
    x_name: str
    dots: Sequence[Dot]
    label: Label
    reference: Reference | None = None


def scatter_chart(cloud: Cloud, width: int, height: int) -> list[Row]:
    """The dots in exactly `height` rows, none wider than `width` cells; at least 9 by 40 of them."""
    scale = scale_for(cloud, 1)
    head = titled(cloud.title + (", log scale" if scale.is_log else ""), cloud.words, width)
    rows = max(height - len(head) - 3 - bool(cloud.reference), 2)
    scale = scale_for(cloud, rows)
    references = cloud.reference.values if cloud.reference else ()
    lines = [value for value in references if scale.low <= value <= scale.high]
    gutter = gutter_of(scale, cloud.label, lines)
    canvas = Canvas(width - gutter - 1, rows)
    for value in lines:
        canvas.across(scale.row_of(value))
    for (column, row), count in Counter(_cell(dot, scale, canvas.width) for dot in cloud.dots).items():
        canvas.put(column, row, _sign(count), Role.STRONG)
    ticks = {_column(Fraction(part, 4), canvas.width): f"{part * 25}%" for part in range(4)}
    low = cloud.label(scale.low) if scale.is_log else "0"
    return [
        *head,
        *framed(canvas, scale, cloud.label, lines),
        floor_row(gutter, canvas.width, low if len(low) <= gutter - 2 else "", ticks),
        ticks_row(gutter, canvas.width, {**ticks, canvas.width - 4: "100%"}),
        clipped(line(f"{' ' * gutter}{cloud.x_name}   {_LEGEND}", Role.MUTED), width),
        *([reference_row(cloud.reference, width)] if cloud.reference else []),
    ]


def scale_for(cloud: Cloud, height: int) -> Scale:
    """Even where it can be, and tenfold for tenfold where the amounts are too far apart; the reference is on it."""
    values = [dot.value for dot in cloud.dots]
    everything = [*values, *(cloud.reference.values if cloud.reference else ())]
    if is_far_apart(values):
        return log_scale(min(value for value in everything if value > 0), max(everything), height)
    return even_scale(max(everything), height)


def _cell(dot: Dot, scale: Scale, width: int) -> tuple[int, int]:
    return _column(dot.share, width), scale.row_of(dot.value)


def _column(share: Fraction, width: int) -> int:
    return int(min(max(share, Fraction(0)), Fraction(1)) * (width - 1))


def _sign(count: int) -> str:
    if count == 1:
        return ONE_SIGN
    return SOME_SIGN if count < _MANY_FROM else MANY_SIGN
