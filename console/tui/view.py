"""What all screens share: which window, which tier, whether time stands still, and what has been read last."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from store.fleet_view import Fleet, TierView
from store.process import this_process
from store.window import LENGTHS

_LEADS_WITHIN_S = 10.0
_IN_TURN = tuple(LENGTHS)  # today and this month are shown beside each of them


@dataclass(slots=True)
class View:
    """`at`: the past minute that a replay shows. `read_s`: when the store last answered, by the monotonic clock.

    `fleet`: whose figures are shown; `latest`: the same, or a newer one while figures stand still.
    `collects_from_s`: when this console's own collector began, by the same clock; None where it has none.
    """

    actor: str
    is_read_only: bool = False
    at: datetime | None = None
    is_paused: bool = False
    window: str = _IN_TURN[0]
    tier: str | None = None
    fleet: Fleet | None = None
    latest: Fleet | None = None
    read_s: float | None = None
    problem: str | None = None
    note: str = ""
    note_is_problem: bool = False
    collects_from_s: float | None = None

    @property
    def chosen(self) -> TierView | None:
        """The tier that the engineer looks at; the first one until they have chosen."""
        if self.fleet is None or not self.fleet.tiers:
            return None
        return (self.fleet.tier(self.tier) if self.tier else None) or self.fleet.tiers[0]

    def aged(self, now_s: float) -> Fleet | None:
        """The latest fleet, as of now: what was read grows old, too, while the store does not answer."""
        if self.latest is None or self.read_s is None or self.problem is None or self.at is not None:
            return self.latest
        return replace(self.latest, at=self.latest.at + timedelta(seconds=now_s - self.read_s))

    @property
    def leads(self) -> bool:
        """Whether the collector that leads is this console's own."""
        led_by = self.latest.led_by if self.latest is not None else None
        return led_by is not None and led_by.startswith(f"{this_process()}:")

    def is_about_to_lead(self, now_s: float) -> bool:
        """Whether this console's own collector has only just begun: until it leads, nobody may."""
        return self.collects_from_s is not None and now_s - self.collects_from_s < _LEADS_WITHIN_S

    def turn_window(self, step: int) -> None:
        """The next window, or the one before."""
        self.window = _IN_TURN[(_IN_TURN.index(self.window) + step) % len(_IN_TURN)]
