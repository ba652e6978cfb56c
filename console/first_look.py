"""What the screen shows first: read by a second process, which needs neither the settings' file nor Textual."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

    from store.fleet_view import TierSpec
    from store.gate import GatePolicy


@dataclass(frozen=True, slots=True)
class FirstLook:
    """Which store, and what the settings say of its fleet."""

    url: str
    is_read_only: bool
    specs: "tuple[TierSpec, ...]"
    policy: "GatePolicy"
    trend_step: "timedelta"


def warm() -> None:
    """Import all that `looked` needs."""
    import store.fleet_reader  # noqa: F401


def looked(first: FirstLook) -> Iterator[object]:
    """Whether the store may only be read, then its fleet. One that would have to be made or upgraded is not read.

    Raises:
        StoreError: it cannot be used.
    """
    from store.clock import SystemClock
    from store.database import open_database
    from store.fleet_reader import FleetReader

    database = open_database(first.url, read_only=first.is_read_only, may_upgrade=False)
    yield database.is_read_only
    yield FleetReader(database, first.specs, first.policy, first.trend_step).read(SystemClock().now())
