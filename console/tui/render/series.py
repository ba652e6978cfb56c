"""A tier's points over a window as charts: $/Mtok of output, and tokens out and in."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from fractions import Fraction
from functools import partial

from console.tui.cells import Row
from console.tui.render.band import BAND
from console.tui.render.chart import Mark, Series, column_chart
from console.tui.render.exact import exact, ratio, whole
from console.tui.render.figures import axis_money, mtok_in, per_mtok, short
from store.clock import rfc3339
from store.money import USD
from store.points import Point
from store.steps import told
from store.unknown import Unknown

# how many steps a window is drawn in, the finest first; the last window of five minutes is shown within its hour
_DRAWN = {
    "5m": ("1h", (12, 4)),
    "1h": ("1h", (60, 30, 12, 4)),
    "24h": ("24h", (96, 48, 24, 8)),
    "7d": ("7d", (168, 84, 56, 28, 7)),
    "30d": ("30d", (120, 90, 60, 30)),
}
_AXIS_ROOM = 12  # cells that the labels of an axis may take
_ENOUGH = Fraction(9, 10)  # of the steps known: finer than this needs no comparing
_NEARLY = Fraction(2, 3)  # of what coarser steps know is worth the finer picture

ReadPoints = Callable[[str, int], Sequence[Point]]


def points_that_resolve(window: str, width: int, read: ReadPoints) -> tuple[str, Sequence[Point]]:
    """The window that is drawn for `window`, and its points: as many as fit and as the bill can tell apart.

    `read` answers the points of a window by its name and their count.
    """
    drawn, counts = _DRAWN[window]
    fitting = [count for count in counts if count + _AXIS_ROOM <= width] or [counts[-1]]
    tried: list[Sequence[Point]] = []
    for count in fitting:
        tried.append(read(drawn, count))
        if _known_share(tried[-1]) >= _ENOUGH:
            return drawn, tried[-1]
    most = max(map(_known_share, tried))
    return drawn, next(points for points in tried if _known_share(points) >= most * _NEARLY)


def _known_share(points: Sequence[Point]) -> Fraction:
    """How much of the time that was watched has a known spend: less when steps are too fine for the bill."""
    watched = [point for point in points if not isinstance(point.edges, Unknown)]
    known = sum(not isinstance(point.spend_nusd, Unknown) for point in watched)
    return Fraction(known, max(len(watched), 1))


def output_chart(window: str, points: Sequence[Point], width: int, height: int, currency: str = USD) -> list[Row]:
    """What a million tokens of output cost in `currency`; dollars beside the published band, which is in them."""
    marks = [Mark(point.start, point.end, _output_in(currency, point)) for point in points]
    series = Series(
        f"{mtok_in(currency)} OUT {_by(window, points)}",
        marks,
        label=partial(axis_money, currency=currency),
        told=partial(per_mtok, currency=currency),
        unit=10**7,
        may_be_log=True,
        reference=BAND if currency == USD else None,
    )
    return column_chart(series, width, height)


def _output_in(currency: str, point: Point) -> int | Unknown:
    """One axis has one currency: what was billed in another has no place on it."""
    if point.currency in (None, currency) or isinstance(point.output_nusd_per_mtok, Unknown):
        return point.output_nusd_per_mtok
    return Unknown(f"billed in {point.currency}")


def tokens_chart(name: str, window: str, points: Sequence[Point], width: int, height: int) -> list[Row]:
    """Tokens generated where `name` is OUT, tokens of prompts where it is IN."""
    values = [point.completion_tokens if name == "OUT" else point.prompt_tokens for point in points]
    marks = [Mark(point.start, point.end, value) for point, value in zip(points, values, strict=True)]
    return column_chart(Series(f"TOKENS {name} {_by(window, points)}", marks, short, short), width, height)


POINT_COLUMNS = (
    "tier",
    "start",
    "end",
    "from_tick",
    "to_tick",
    "currency",
    "spend",
    "prompt_tokens",
    "completion_tokens",
    "per_mtok_output",
    "utilisation",
    "unknown",
)


def point_cells(tier: str, point: Point) -> list[str]:
    """A point in the order of `POINT_COLUMNS`: RFC 3339, exact amounts, and why something is not known."""
    edges, utilisation = point.edges, point.utilisation
    known = (point.spend_nusd, point.completion_tokens, point.output_nusd_per_mtok)
    reasons = dict.fromkeys(value.reason for value in known if isinstance(value, Unknown))
    return [
        tier,
        rfc3339(point.start),
        rfc3339(point.end),
        "" if isinstance(edges, Unknown) else rfc3339(edges.start_at),
        "" if isinstance(edges, Unknown) else rfc3339(edges.end_at),
        point.currency or "",
        exact(point.spend_nusd),
        whole(point.prompt_tokens),
        whole(point.completion_tokens),
        exact(point.output_nusd_per_mtok),
        ratio(utilisation),
        "; ".join(reasons),
    ]


def _by(window: str, points: Sequence[Point]) -> str:
    step = points[0].end - points[0].start if points else timedelta(0)
    return f"{window} by {told(step)}" if step else window
