"""Waking hours: when a tier is kept awake though it is idle, in the hours of a place."""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHAPE = re.compile(r"(?P<days>[A-Za-z,-]+) (?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d) (?P<zone>\S+)")
_HOW = "write it such as 'Mon-Fri 08:00-18:00 Europe/Berlin'"


@dataclass(frozen=True, slots=True)
class WakingHours:
    """Days of the week (Monday is 0) and hours of the day; an end at or before the start is on the next day."""

    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo

    def holds(self, at: datetime) -> bool:
        """Whether the instant lies inside: the start does, the end does not."""
        local = at.astimezone(self.zone)
        now = local.time().replace(tzinfo=None)
        if self.start < self.end:
            return local.weekday() in self.days and self.start <= now < self.end
        yesterday = (local.date() - timedelta(days=1)).weekday()
        return (local.weekday() in self.days and now >= self.start) or (yesterday in self.days and now < self.end)


def parse_waking_hours(text: str) -> WakingHours:
    """Waking hours written as `Mon-Fri 08:00-18:00 Europe/Berlin`; days as `Mon,Wed` or `daily` too.

    Raises:
        ValueError: they are not.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        msg = f"{text!r} names no waking hours; {_HOW}"
        raise ValueError(msg)
    try:
        start, end = (_time(match[name]) for name in ("start", "end"))
        return WakingHours(_days(match["days"]), start, end, ZoneInfo(match["zone"]))
    except ZoneInfoNotFoundError:
        msg = f"{text!r}: there is no time zone {match['zone']!r}; {_HOW}"
        raise ValueError(msg) from None


def _time(text: str) -> time:
    """A time of the day; 24:00 is midnight."""
    return time(0) if text == "24:00" else time.fromisoformat(text)


def _days(text: str) -> frozenset[int]:
    if text.lower() == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = _day(first), _day(last or first)
        days |= {day % 7 for day in range(begin, (end if end >= begin else end + 7) + 1)}
    return frozenset(days)


def _day(name: str) -> int:
    if name.lower() not in _DAYS:
        msg = f"there is no day {name!r}; {_HOW}"
        raise ValueError(msg)
    return _DAYS.index(name.lower())
