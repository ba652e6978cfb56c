"""Where on a chart a value belongs, and which round numbers stand beside it. Whole numbers only: money is exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log10

EIGHTHS = 8  # a cell's height, in the bars that a terminal has
_LOG_FROM = 20  # a spread beyond this leaves nothing to see of the small values on an even scale
_TICK_EVERY_ROWS = 2
_TIME_STEPS = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 10080, 14400)
)


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` on `height` rows, counted from the bottom; `ticks` are round values between."""

    low: int
    high: int
    height: int
    ticks: tuple[int, ...]
    is_log: bool = False

    def eighths(self, value: int) -> int:
        """How high a value stands, in eighths of a row from the bottom; what is beyond stands at the edge."""
        whole, inside = self.height * EIGHTHS, min(max(value, self.low), self.high)
        if self.is_log:
            return round(whole * log10(inside / self.low) / log10(self.high / self.low))
        return -(-(inside - self.low) * whole // (self.high - self.low))

    def row_of(self, value: int) -> int:
        """The row that a value belongs to; one on the border of two belongs to the lower."""
        return max(-(-self.eighths(value) // EIGHTHS) - 1, 0)


def even_scale(top: int, height: int) -> Scale:
    """From zero to a round number at or above `top`."""
    most = max(height // _TICK_EVERY_ROWS, 1)
    step = next(step for step in _round_numbers(max(top // most, 1)) if step * most >= top)
    count = max(-(-top // step), 1)
    return Scale(0, step * count, height, tuple(step * n for n in range(1, count + 1)))


def log_scale(low: int, high: int, height: int) -> Scale:
    """From a round number at or below `low`, which is above zero, to one at or above `high`."""
    below = max(number for number in _rounds_within(low // 10 or 1, low))
    above = min(number for number in _rounds_within(high, high * 10))
    above = above if above > below else below * 10
    scale = Scale(below, above, height, (), is_log=True)
    ticks: list[int] = []
    for number in [*_tens_within(below + 1, above), *_rounds_within(below + 1, above)]:
        rows = [scale.row_of(tick) for tick in ticks]
        if all(abs(scale.row_of(number) - row) >= _TICK_EVERY_ROWS for row in rows):
            ticks.append(number)
    return Scale(below, above, height, tuple(sorted(ticks)), is_log=True)


def is_far_apart(values: Sequence[int]) -> bool:
    """Whether an even scale would press the small values flat."""
    above_zero = [value for value in values if value > 0]
    return bool(above_zero) and max(above_zero) > _LOG_FROM * min(above_zero)


def time_ticks(start: datetime, end: datetime, most: int) -> list[datetime]:
    """Round instants in `[start, end)`, at most `most` of them: whole minutes, hours or days, in UTC."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for step in _TIME_STEPS:
        if (end - start) / step <= max(most, 1):
            at, found = epoch + -(-(start - epoch) // step) * step, []
            while at < end:
                found.append(at)
                at += step
            return found[: max(most, 1)]
    return [start]


def _round_numbers(start: int) -> list[int]:
    """1, 2 and 5 times powers of ten, from the first at or above `start`."""
    return _rounds_within(start, start * 100)


def _rounds_within(low: int, high: int) -> list[int]:
    found, ten = [], 10 ** max(len(str(max(low, 1))) - 1, 0)
    while ten <= high:
        found += [ten * digit for digit in (1, 2, 5) if low <= ten * digit <= high]
        ten *= 10
    return found


def _tens_within(low: int, high: int) -> list[int]:
    return [number for number in _rounds_within(low, high) if str(number).strip("0") == "1"]
