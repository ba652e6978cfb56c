"""How often a counter moves, as observed: the median of its last few intervals, never a guess."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

KEPT = 5
_ENOUGH = 3
SHORTEST_WINDOW_STEPS = 3
"""A window shorter than this many steps may begin and end within one of them."""


def moved(steps: str | None, before: datetime | None, at: datetime) -> str:
    """The intervals with the one that ends at `at`; the first movement has none."""
    if before is None:
        return steps or ""
    kept = [*_seconds(steps), (at - before).total_seconds()][-KEPT:]
    return " ".join(f"{seconds:.3f}".rstrip("0").rstrip(".") for seconds in kept)


def stated(step: timedelta | None) -> str | None:
    """The intervals of a counter whose source says how often it moves: they give way to those that are observed."""
    return None if step is None else " ".join([f"{step.total_seconds():g}"] * _ENOUGH)


def step_of(steps: str | None) -> timedelta | None:
    """The observed step, or None while too few movements were seen."""
    seconds = _seconds(steps)
    return timedelta(seconds=median(seconds)) if len(seconds) >= _ENOUGH else None


def is_moving(step: timedelta, moved_at: datetime | None, now: datetime) -> bool:
    """Whether the counter still moves at its step, or has come to rest: asleep, ended, free."""
    return moved_at is not None and now - moved_at <= SHORTEST_WINDOW_STEPS * step


def told(step: timedelta) -> str:
    """A step as a person says it: `5 min`, `1 h`, `90 s`."""
    seconds = round(step.total_seconds())
    if seconds >= 3600 and seconds % 3600 < 60:
        return f"{seconds // 3600} h"
    return f"{round(seconds / 60)} min" if seconds >= 120 else f"{seconds} s"


def _seconds(steps: str | None) -> Sequence[float]:
    return [float(text) for text in (steps or "").split()]
