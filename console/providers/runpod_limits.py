"""RunPod's rate limit, as each answer states it: whoever has used up a window asks again when it is over.

`RateLimit: "minute";r=0;t=12, "hour";r=2800;t=1812` has what is left of every window and the seconds until it
begins anew; `Retry-After` comes with a 429. Source: the OpenAPI document (2026-08-18).
"""

import math
import re
from collections.abc import Mapping

from store.clock import Clock

_UNSTATED_S = 60.0  # a 429 that states no wait: its shortest window is a minute
_LONGEST_S = 86_400.0  # the longest window: a wait beyond it is a fault of the header
_WINDOW = re.compile(r'"([^"]{1,20})"((?:\s*;\s*[a-z]+=\d{1,12})+)')


class Quota:
    """Until when nothing may be asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_at_s = -math.inf
        self._window = ""

    def wait_s(self) -> float:
        """For how many seconds more nothing may be asked; 0 when it may."""
        return max(self._free_at_s - self._clock.monotonic_s(), 0.0)

    @property
    def problem(self) -> str | None:
        """Why nothing may be asked now, in one line."""
        left_s = self.wait_s()
        return None if left_s <= 0 else f"rate limit{self._window}: asks again in {math.ceil(left_s)} s"

    def learn(self, status: int, headers: Mapping[str, str]) -> None:
        """Take in what an answer says."""
        used_up = {name: left_s for name, left_s in windows(headers.get("RateLimit", "")).items() if left_s > 0}
        if used_up:
            name = max(used_up, key=lambda one: used_up[one])
            self._hold(used_up[name], f" of the {name}")
        if status == 429:
            told = headers.get("Retry-After", "")
            self._hold(float(told) if told.isascii() and told.isdigit() else _UNSTATED_S, "")

    def _hold(self, seconds: float, window: str) -> None:
        until_s = self._clock.monotonic_s() + min(seconds, _LONGEST_S)
        if until_s > self._free_at_s:
            self._free_at_s, self._window = until_s, window


def windows(header: str) -> dict[str, float]:
    """The windows of a `RateLimit` header that are used up, and in how many seconds each begins anew."""
    found = {}
    for name, text in _WINDOW.findall(header):
        parts = dict(part.strip().split("=") for part in text.split(";") if "=" in part)
        if parts.get("r", "").isdigit() and int(parts["r"]) == 0:
            found[name] = float(parts.get("t", _UNSTATED_S))
    return found
