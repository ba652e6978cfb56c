"""A window in equal steps, for a chart: what each step was billed and what it made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import pairwise

from sqlmodel import Session

from store.figures import Figures
from store.figures_read import figures_of
from store.unknown import Unknown
from store.window import Edges, Window

_AT_ONCE = 48  # windows of one statement: the work of making it grows with them


@dataclass(frozen=True, slots=True)
class Point:
    """The step `[start, end)`; `edges`: the ticks that it used. Steps with known spend add up to the window's.

    `currency`: what its spend is in, where that is known.
    """

    start: datetime
    end: datetime
    edges: Edges | Unknown
    spend_nusd: int | Unknown
    prompt_tokens: int | Unknown
    completion_tokens: int | Unknown
    output_nusd_per_mtok: int | Unknown
    utilisation: Fraction | Unknown
    currency: str | None = None


def points_of(
    session: Session, tiers: Sequence[str], window: Window, count: int, then: datetime | None = None
) -> dict[str, tuple[Point, ...]]:
    """By tier, `window` in `count` steps, oldest first; `then`: as it was read at that past instant.

    The spend of a step that is shorter than what the bill moves by is Unknown; its tokens are not. Tiers with the
    same ticks are read together.
    """
    length = window.end - window.start
    borders = [*(window.start + length * k / count for k in range(count)), window.end]
    steps = [Window(start, end) for start, end in pairwise(borders)]
    found = figures_in(session, tiers, steps, then)
    return {tier: tuple(map(_point, found[tier])) for tier in tiers}


def figures_in(
    session: Session, tiers: Sequence[str], windows: Sequence[Window], then: datetime | None = None
) -> dict[str, list[Figures]]:
    """The figures of many windows, some at a time."""
    found: dict[str, list[Figures]] = {tier: [] for tier in tiers}
    for begin in range(0, len(windows), _AT_ONCE):
        for tier, some in figures_of(session, tiers, windows[begin : begin + _AT_ONCE], then).items():
            found[tier].extend(some)
    return found


def _point(one: Figures) -> Point:
    spend, usage = one.spend, one.usage
    return Point(
        start=one.window.start,
        end=one.window.end,
        edges=one.edges,
        spend_nusd=spend if isinstance(spend, Unknown) else spend.nusd,
        prompt_tokens=usage if isinstance(usage, Unknown) else usage.prompt_tokens,
        completion_tokens=usage if isinstance(usage, Unknown) else usage.completion_tokens,
        output_nusd_per_mtok=one.output_nusd_per_mtok,
        utilisation=one.utilisation,
        currency=one.currency,
    )
