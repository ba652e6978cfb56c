"""How far each alarm has come: which channels have taken it, and when the others are asked again.

It is in the memory of the leading collector alone: a new leader may tell something once more.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from store.clock import Clock

RATE_OVER_S = 600.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 60.0, 900.0  # whose network comes back hears of it within a quarter of an hour


@dataclass(slots=True)
class _Delivery:
    taken: set[str] = field(default_factory=set)
    pause_s: float = _FIRST_PAUSE_S
    again_at_s: float = -math.inf


class Deliveries:
    """By alarm, what has become of telling it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of: dict[int, _Delivery] = {}
        self._sent_s: list[float] = []

    def due(self, untold: Sequence[int]) -> list[int]:
        """What of `untold` is to be sent now, what was never tried before what was; all else is forgotten."""
        self._of = {id_: self._of[id_] for id_ in untold if id_ in self._of}
        now_s = self._clock.monotonic_s()
        again = [id_ for id_, one in self._of.items() if one.again_at_s <= now_s]
        return [*(id_ for id_ in untold if id_ not in self._of), *again]

    def left(self, id_: int, channels: Iterable[str]) -> list[str]:
        """Which of `channels` have not taken an alarm yet."""
        taken = self._of[id_].taken if id_ in self._of else ()
        return [name for name in channels if name not in taken]

    def sent(self, id_: int, channels: Collection[str], refused: Collection[str]) -> None:
        """An alarm was sent to `channels`, of which some have not taken it."""
        one, now_s = self._of.setdefault(id_, _Delivery()), self._clock.monotonic_s()
        one.taken.update(name for name in channels if name not in refused)
        if refused:
            one.again_at_s, one.pause_s = now_s + one.pause_s, min(2 * one.pause_s, _LONGEST_PAUSE_S)
        if channels:
            self._sent_s.append(now_s)

    def lately(self) -> int:
        """How many messages were sent within ten minutes, whether anybody took them or not."""
        since_s = self._clock.monotonic_s() - RATE_OVER_S
        self._sent_s = [at_s for at_s in self._sent_s if at_s > since_s]
        return len(self._sent_s)
