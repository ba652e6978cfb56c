"""What all screens share: which window, which tier, whether time stands still, and what has been read last."""

from dataclasses import dataclass
from datetime import datetime

from store.fleet_view import Fleet, TierView
from store.window import LENGTHS

_IN_TURN = tuple(LENGTHS)  # today and this month are shown beside each of them


@dataclass(slots=True)
class View:
    """`at`: the past minute that a replay shows. `read_s`: when the store last answered, by the monotonic clock."""

    actor: str
    is_read_only: bool = False
    at: datetime | None = None
    is_paused: bool = False
    window: str = _IN_TURN[0]
    tier: str | None = None
    fleet: Fleet | None = None
    read_s: float | None = None
    problem: str | None = None
    note: str = ""
    note_is_problem: bool = False

    @property
    def chosen(self) -> TierView | None:
        """The tier that the engineer looks at; the first one until they have chosen."""
        if self.fleet is None or not self.fleet.tiers:
            return None
        return (self.fleet.tier(self.tier) if self.tier else None) or self.fleet.tiers[0]

    def turn_window(self, step: int) -> None:
        """The next window, or the one before."""
        self.window = _IN_TURN[(_IN_TURN.index(self.window) + step) % len(_IN_TURN)]
