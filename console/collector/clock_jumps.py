"""Our own wall clock: whether it has jumped, and whether a provider has vouched for it since."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from store.clock import Clock

_JUMP_S = 5.0  # NTP slews; a step of seconds is an administrator or a fault


class ClockJumps:
    """Notices that the wall clock moved and the monotonic one did not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before: tuple[datetime, float] | None = None

    def look(self) -> float:
        """By how many seconds the wall clock has jumped since the last look; 0 for less than five."""
        now, now_s = self._clock.now(), self._clock.monotonic_s()
        before, self._before = self._before, (now, now_s)
        if before is None:
            return 0.0
        jump_s = (now - before[0]).total_seconds() - (now_s - before[1])
        return jump_s if abs(jump_s) >= _JUMP_S else 0.0


class ClockTrust:
    """Whether to date anything by our clock: once a provider's own has agreed with it, until it jumps."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._jumps = clock, ClockJumps(clock)
        self._is_vouched_for = False
        self._jumped_s: float | None = None

    def look(self) -> None:
        """Notice a jump, if there was one since the last look."""
        if self._jumps.look():
            self._is_vouched_for, self._jumped_s = False, self._clock.monotonic_s()

    def doubt(self, agreed: bool, apart: Sequence[timedelta]) -> str | None:
        """Why nothing may be dated by our clock now, or None.

        `agreed`: a provider's clock was read and agrees; `apart`: how far off those that do not are. A provider
        whose clock alone is wrong, while ours has not jumped, is the provider's problem.
        """
        self.look()
        if agreed:
            self._is_vouched_for, self._jumped_s = True, None
        if self._is_vouched_for:
            return None
        if apart:
            return f"is {apart[0].total_seconds():.0f} s away from every provider's"
        return "has been vouched for by no provider yet: none answers"

    def doubted_for(self) -> timedelta | None:
        """For how long a jump has gone without anybody's vouching for the clock; None without one."""
        return None if self._jumped_s is None else timedelta(seconds=self._clock.monotonic_s() - self._jumped_s)
