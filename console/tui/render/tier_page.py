"""One tier on a screen of its own: charts, figures and problems first, then what it has and what it did."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.tui.cells import Role, Row, Span, line, text_of
from console.tui.render.canvas import clipped
from console.tui.render.figures import UNKNOWN, rate
from console.tui.render.flow import beside, flowed, sentences
from console.tui.render.resources import resource_rows
from console.tui.render.series import output_chart, tokens_chart
from console.tui.render.states import state_role, state_text
from console.tui.render.tier import figures_table, key_line, operation_rows, unknown_reasons
from console.tui.render.wakes import wake_rows
from store.anatomy import Anatomy
from store.figures import NO_TOKENS
from store.fleet_view import TierView
from store.points import Point
from store.printable import printable
from store.resources import ResourceView
from store.unknown import Unknown
from store.window import WINDOWS

TWO_COLUMNS_FROM = 118
_LEFT_AT_LEAST = 72  # the table of figures
_CHART_LOWEST, _CHART_HIGHEST = 7, 24
_TOKENS_LOWEST, _TOKENS_HIGHEST = 7, 12
_GLIMPSE = 2  # rows of what follows, so that one sees that more follows


@dataclass(frozen=True, slots=True)
class TierAnswer:
    """What has been read of one tier. `drawn`: the window that `points` are of; `model`: what its agents run."""

    tier: str
    drawn: str
    points: tuple[Point, ...]
    resources: tuple[ResourceView, ...]
    wakes: tuple[Anatomy, ...]
    model: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """The cells that there are, and the key that follows the log of a host."""

    width: int
    height: int
    logs_key: str = "l"


def left_width(width: int) -> int:
    """How wide the charts are on a screen of `width` cells."""
    return width if width < TWO_COLUMNS_FROM else max(width * 3 // 5, _LEFT_AT_LEAST)


def tier_rows(
    tier: TierView,
    answer: TierAnswer | None,
    window: str,
    now: datetime,
    room: Room,
    closed: str | None = None,
    *,
    patience: timedelta,
) -> list[Row]:
    """All about `tier`, as far as it has been read.

    `closed`: why it may not serve though others may; `patience`: see `figures_table`.
    """
    width = left_width(room.width)
    above = _above(tier, now, room.width, closed)
    figures = _figures(tier, answer, figures_table(tier, WINDOWS, now, patience), width)
    if room.width < TWO_COLUMNS_FROM:
        left = _charts_and_figures(tier, answer, figures, Room(width, room.height - len(above)), has_tokens=False)
        rest = [*_service(tier, answer, window, room), *_tokens(answer, Room(width, _TOKENS_LOWEST * 2))]
        return [*above, *left, *rest, *_belongings(answer, tier, width)]
    left = _charts_and_figures(tier, answer, figures, Room(width, room.height - len(above)), has_tokens=True)
    narrow = Room(room.width - width - 1, room.height, room.logs_key)
    right = [*_service(tier, answer, window, narrow), line(""), *_belongings(answer, tier, narrow.width)]
    return [*above, *beside(left, right, width, room.width)]


def _above(tier: TierView, now: datetime, width: int, closed: str | None) -> list[Row]:
    spec, quoted = tier.spec, rate(tier.rate_nusd_per_hour, tier.currency)
    rows = [
        clipped(
            (
                Span(f" {spec.name}  ", Role.STRONG),
                Span(f"{state_text(tier.state)}  ", state_role(tier.state)),
                Span(f"{spec.gpu}, {spec.market}, {spec.provider}, {quoted}/h quoted"),
            ),
            width,
        )
    ]
    if tier.operation is not None:
        for row in operation_rows(tier.operation, now):
            rows += sentences([text_of(row).strip()], width, row[0].role)
    return rows + sentences([f"GATE CLOSED for {closed}"] if closed else [], width, Role.BAD, "!")


def _figures(tier: TierView, answer: TierAnswer | None, table: Sequence[str], width: int) -> list[Row]:
    heading, *lines = (line(_without_from(text, width)) for text in table)
    rows = [line(text_of(heading), Role.HEADING), *lines]
    reasons = [*unknown_reasons(tier), *(_chart_reason(answer) if answer else ())]
    return [clipped(row, width) for row in rows] + sentences(reasons, width, Role.WARN, UNKNOWN)


def _without_from(text: str, width: int) -> str:
    """A row of the figures; where it does not fit, without what it is from."""
    return text if len(text) <= width else text.rpartition("  ")[0]


def _chart_reason(answer: TierAnswer) -> list[str]:
    """Why steps of the chart are not known, where some are: the reason that most of them have."""
    values = [point.output_nusd_per_mtok for point in answer.points]
    reasons = Counter(value.reason for value in values if isinstance(value, Unknown) and value != NO_TOKENS)
    return [f"{count} of {len(values)} steps: {reason}" for reason, count in reasons.most_common(1)]


def _charts_and_figures(
    tier: TierView, answer: TierAnswer | None, figures: list[Row], room: Room, *, has_tokens: bool
) -> list[Row]:
    """The charts take what the figures and the problems leave of the first screenful."""
    left = room.height - len(figures)
    if answer is None:
        return [line(" reading…", Role.MUTED), *figures]
    tokens = min(max(left // 4, _TOKENS_LOWEST), _TOKENS_HIGHEST) * 2 if has_tokens else 0
    height = min(max(left - (tokens or _GLIMPSE), _CHART_LOWEST), _CHART_HIGHEST)
    chart = output_chart(answer.drawn, answer.points, room.width, height, tier.currency)
    return [*chart, *figures, *(_tokens(answer, Room(room.width, tokens)) if has_tokens else ())]


def _tokens(answer: TierAnswer | None, room: Room) -> list[Row]:
    if answer is None:
        return []
    return [
        row
        for name in ("OUT", "IN")
        for row in tokens_chart(name, answer.drawn, answer.points, room.width, room.height // 2)
    ]


def _service(tier: TierView, answer: TierAnswer | None, window: str, room: Room) -> list[Row]:
    """What serves, and what was asked of it."""
    rows = [line(" SERVICE", Role.HEADING), *flowed(_requests(tier, window), room.width)]
    engine = tier.engine or "engine not known yet"
    rows += sentences([engine, *(answer.model if answer else ())], room.width)
    rows += [line(" KEYS, since their ledgers began", Role.HEADING)] if tier.keys else []
    rows += [clipped(line(printable(key_line(label, used))), room.width) for label, used in tier.keys.items()]
    logs = [line(f" {room.logs_key}: the log of its host, over SSH", Role.MUTED)] if room.logs_key else []
    return [*rows, *(clipped(row, room.width) for row in logs)]


def _requests(tier: TierView, window: str) -> Sequence[str]:
    usage = tier.figures[window].usage
    flight = UNKNOWN if isinstance(tier.in_flight, Unknown) else str(tier.in_flight)
    if isinstance(usage, Unknown):
        return [f"{window}: requests {UNKNOWN} ({usage.reason})", f"in flight {flight}"]
    minutes = (usage.edges.end_at - usage.edges.start_at).total_seconds() / 60
    pieces = [f"{window}: {usage.requests:,} requests"]
    if usage.requests:
        pieces += [
            f"{usage.requests / minutes:.1f} a minute",
            f"mean prompt {usage.prompt_tokens / usage.requests:,.0f} tokens",
            f"mean answer {usage.completion_tokens / usage.requests:,.0f}",
        ]
    return [*pieces, f"in flight {flight}"]


def _belongings(answer: TierAnswer | None, tier: TierView, width: int) -> list[Row]:
    if answer is None:
        return []
    losses = [f"asleep it goes on billing: {tier.sleep.bills}"] if tier.sleep else []
    if tier.sleep and tier.sleep.loses:
        losses.append(f"and loses: {', '.join(tier.sleep.loses)}")
    return [
        *resource_rows(answer.resources, width, tier.currency),
        *flowed(losses, width, role=Role.MUTED),
        line(""),
        *wake_rows(answer.wakes, width),
    ]
