"""What an engineer can look at: each question is one consistent view of the store, of now or of a past minute."""

from datetime import datetime, timedelta

from console.settings import Settings
from store.clock import Clock
from store.database import Database
from store.fleet import Fleet
from store.fleet_reader import FleetReader
from store.replay import read_fleet_at, tick_after, tick_before


class Reading:
    """The reading half of the engineer's side of one store. `at` left out is now.

    Every method raises StoreUnreachable when the store does not answer.
    """

    def __init__(self, database: Database, settings: Settings, clock: Clock) -> None:
        self.database, self.settings, self.clock = database, settings, clock
        self._reader = FleetReader(database, settings.tier_specs, settings.gate_policy, self._trend_step)

    def fleet(self) -> Fleet:
        """The fleet now; nearly free while nothing has changed since the last time."""
        return self._reader.read(self.clock.now())

    def fleet_at(self, at: datetime) -> Fleet:
        """The fleet as it was known at a past instant.

        Raises:
            NothingRecorded: no tick had come by then.
        """
        specs, policy = self.settings.tier_specs, self.settings.gate_policy
        return read_fleet_at(self.database, specs, policy, at, self._trend_step)

    def minute_before(self, at: datetime) -> datetime | None:
        """The instant of the tick before `at`; None where nothing older is recorded."""
        with self.database.read() as session:
            return tick_before(session, at)

    def minute_after(self, at: datetime) -> datetime | None:
        """The instant of the tick after `at`; None where there is no newer one yet."""
        with self.database.read() as session:
            return tick_after(session, at)

    @property
    def _trend_step(self) -> timedelta:
        return timedelta(seconds=max(self.settings.collector.every.total_seconds() * 2, 4.0))
