"""Windows: `[start, end)` in UTC, by name or by instants, and the ticks that their edges snap to."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

LENGTHS = {
    "5m": timedelta(minutes=5),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
WINDOWS = (*LENGTHS, "today", "month")


@dataclass(frozen=True, slots=True)
class Window:
    """`[start, end)`: start inclusive, end exclusive (FOCUS glossary, "Charge Period")."""

    start: datetime
    end: datetime
    name: str = ""


@dataclass(frozen=True, slots=True)
class Edges:
    """The complete ticks that a figure really used. `since`: the start moved forward to our first tick.

    `running_ms`: how long the tier's instances ran between them, added up over the instances.
    """

    start_at: datetime
    end_at: datetime
    since: bool
    running_ms: int = 0


def named_window(name: str, now: datetime, zone: ZoneInfo) -> Window:
    """The window `name` that ends at `now`; `today` and `month` begin in `zone`.

    Raises:
        KeyError: no such window.
    """
    if name == "today":
        return Window(day_start(now, zone), now, name)
    if name == "month":
        first = now.astimezone(zone).date().replace(day=1)
        return Window(datetime.combine(first, time(), zone).astimezone(UTC), now, name)
    return Window(now - LENGTHS[name], now, name)


def day_start(now: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the civil day of `now` began in `zone`: days of 23 and 25 hours included."""
    return datetime.combine(now.astimezone(zone).date(), time(), zone).astimezone(UTC)


def day_end(now: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the civil day of `now` ends in `zone`."""
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), zone).astimezone(UTC)


def day_name(now: datetime, zone: ZoneInfo) -> str:
    """The civil date of `now` in `zone`, as `2026-11-24`."""
    return now.astimezone(zone).date().isoformat()
