"""Time as an argument: wall clock for records, monotonic clock for ages."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The instant, aware, in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never jump."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


class SetClock:
    """A clock that stands until it is moved: for tests, and for looking at a past minute."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return self._at

    def monotonic_s(self) -> float:
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Move both clocks on together."""
        self._at += timedelta(seconds=seconds)
        self._elapsed_s += seconds

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator or a bad NTP server would."""
        self._at += timedelta(seconds=seconds)


def rfc3339(instant: datetime) -> str:
    """`2026-11-24T08:00:00Z`; microseconds only where there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
