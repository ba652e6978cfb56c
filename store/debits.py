"""Debits: the rises of a counter, added up. A credit does not lower them, and jitter does not raise them.

A counter that falls may be credited, or its provider's fields may not have been updated together. Which of the two
is known when it recovers within `PATIENCE_STEPS` of its steps, or does not; until then its debits stand, and the
gate reserves what has risen since.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

PATIENCE_STEPS = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """A counter's last sample, as far as its debits go."""

    at: datetime
    total_nusd: int
    debits_nusd: int
    fell_at: datetime | None


@dataclass(frozen=True, slots=True)
class Fall:
    """What a fall that is still open rests on: where it fell from, and every rise since."""

    peak_nusd: int
    rises_nusd: int


@dataclass(frozen=True, slots=True)
class Advance:
    """The debits after a new reading; `event` for the journal when the counter fell or a fall was decided."""

    debits_nusd: int
    fell_at: datetime | None = None
    event: str | None = None


def advance(
    last: Mark, at: datetime, total_nusd: int, step: timedelta, fall: Callable[[], Fall], *, is_final: bool = False
) -> Advance:
    """Debits once `total_nusd` has been read at `at`; `fall` tells of the open fall, and is asked only then.

    `is_final`: the provider says that the counter has ended; once it rests, there is nothing more to wait for.
    """
    rise = total_nusd - last.total_nusd
    if last.fell_at is None:
        if rise >= 0:
            return Advance(last.debits_nusd + rise)
        return Advance(last.debits_nusd, at, "fell")
    open_fall = fall()
    if at - last.fell_at > PATIENCE_STEPS * step or (is_final and rise == 0):
        return Advance(last.debits_nusd + open_fall.rises_nusd + max(rise, 0), None, "credited")
    if total_nusd >= open_fall.peak_nusd:
        return Advance(last.debits_nusd + total_nusd - open_fall.peak_nusd, None, "recovered")
    return Advance(last.debits_nusd, last.fell_at)
