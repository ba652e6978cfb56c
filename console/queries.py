"""What an engineer can look at: each question is one consistent view of the store, of now or of a past minute.

What reads the store is imported when it is asked: the screen draws before SQLAlchemy is loaded.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from console.loading import load_store
from console.settings import Settings
from store.clock import Clock
from store.gate import FLEET
from store.window import Window, named_window

if TYPE_CHECKING:
    from store.budget_curve import BudgetCurve, VerdictChange
    from store.database import Database
    from store.fleet_reader import FleetReader
    from store.fleet_view import Fleet
    from store.hours import Band
    from store.journal_read import Entry
    from store.points import Point
    from store.resources import ResourceView
    from store.sources import SourceHealth


class Queries:
    """The asking half of the engineer's side of one store. `at` left out is now.

    Every method raises StoreUnreachable when the store does not answer.
    """

    def __init__(self, database: "Database | Callable[[], Database]", settings: Settings, clock: Clock) -> None:
        self._database = None if callable(database) else database
        self._open = database if callable(database) else None
        self._opening = threading.Lock()
        self.settings, self.clock = settings, clock
        self._first: Callable[[], Fleet | None] | None = None

    @property
    def database(self) -> "Database":
        """The store; one that was given as what opens it is opened now.

        Raises:
            StoreError: it cannot be used; whoever asks next tries again.
        """
        with self._opening:
            if self._database is None:
                assert self._open is not None
                self._database = self._open()
            return self._database

    def close(self) -> None:
        """Give the store back, where it was opened."""
        with self._opening:
            if self._database is not None:
                self._database.close()

    def looked_ahead(self, first: "Callable[[], Fleet | None]") -> None:
        """The fleet is what `first` answers when it is asked next; where that is None, it is read here."""
        self._first = first

    def fleet(self) -> "Fleet":
        """The fleet now; nearly free while nothing has changed since the last time."""
        first, self._first = self._first, None
        fleet = None if first is None else first()
        return self._reader.read(self.clock.now()) if fleet is None else fleet

    def fleet_at(self, at: datetime) -> "Fleet":
        """The fleet as it was known at a past instant.

        Raises:
            NothingRecorded: no tick had come by then.
        """
        from store.replay import read_fleet_at

        specs, policy = self.settings.tier_specs, self.settings.gate_policy
        return read_fleet_at(self.database, specs, policy, at, self.settings.trend_step)

    def minute_before(self, at: datetime) -> datetime | None:
        """The instant before `at` of a tick, or at which it became dark; None where nothing is older."""
        from store.replay import step_before

        with self.database.read() as session:
            return step_before(session, at, self.settings.gate_policy)

    def minute_after(self, at: datetime) -> datetime | None:
        """The instant after `at` of a tick, or at which it became dark; None where nothing is newer."""
        from store.replay import step_after

        with self.database.read() as session:
            return step_after(session, at, self.settings.gate_policy, self.clock.now())

    def points(
        self, tier: str, window: Window | str, count: int, at: datetime | None = None
    ) -> tuple["Point", ...]:
        """A window of one tier in `count` steps; one given by its name ends at `at`."""
        return self.points_of([tier], window, count, at)[tier]

    def points_of(
        self, tiers: Sequence[str], window: Window | str, count: int, at: datetime | None = None
    ) -> Mapping[str, tuple["Point", ...]]:
        """The same window of several tiers."""
        from store.points import points_of

        if isinstance(window, str):
            window = named_window(window, at or self.clock.now(), self.settings.gate_policy.zone)
        with self.database.read() as session:
            return points_of(session, tiers, window, count, at)

    def bands(
        self, days: int, at: datetime | None = None, tiers: Sequence[str] | None = None
    ) -> tuple["Band", ...]:
        """Each whole hour of the last days, of `tiers` or of all that the settings name."""
        from store.hours import bands

        names = tiers if tiers is not None else [spec.name for spec in self.settings.tier_specs]
        with self.database.read() as session:
            return bands(session, names, at or self.clock.now(), days, at)

    def resources(self, tier: str, at: datetime | None = None) -> tuple["ResourceView", ...]:
        """A tier's instances and volumes with their bills."""
        from store.resources import resources

        with self.database.read() as session:
            return resources(session, tier, at)

    def budget_curve(self, count: int, at: datetime | None = None, scope: str = FLEET) -> "BudgetCurve":
        """A day's debits against its limit; of a past instant the limit is the one that was recorded."""
        from store.budget_curve import budget_curve, limit_at

        policy = self.settings.gate_policy
        with self.database.read() as session:
            limit = None if at is None else limit_at(session, policy, at, scope)
            return budget_curve(session, policy, at or self.clock.now(), count, scope, limit)

    def verdict_changes(self, count: int, at: datetime | None = None) -> tuple["VerdictChange", ...]:
        """The last verdicts, newest first."""
        from store.budget_curve import verdict_changes

        with self.database.read() as session:
            return verdict_changes(session, self.settings.gate_policy, at or self.clock.now(), count)

    def sources(self, at: datetime | None = None) -> tuple["SourceHealth", ...]:
        """How every provider and every agent answers."""
        from store.sources import sources

        with self.database.read() as session:
            return sources(session, sorted(self.settings.providers), at or self.clock.now())

    def journal(
        self, count: int, *, before_id: int | None = None, text: str = "", at: datetime | None = None
    ) -> tuple["Entry", ...]:
        """Entries of the journal, newest first; see `store.journal_read.entries`."""
        from store.journal_read import entries

        with self.database.read() as session:
            return entries(session, count, before_id=before_id, text=text, until=at)

    @cached_property
    def _reader(self) -> "FleetReader":
        load_store()
        from store.fleet_reader import FleetReader

        specs, policy = self.settings.tier_specs, self.settings.gate_policy
        return FleetReader(self.database, specs, policy, self.settings.trend_step)
