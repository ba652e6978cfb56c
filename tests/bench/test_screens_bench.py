"""What the screens read, over a month of minutes. Only printed: nothing can fail for being slow."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlmodel import Session

from store.budget_curve import budget_curve
from store.database import Database
from store.fleet_view import TierSpec
from store.gate import GatePolicy
from store.hours import bands
from store.points import points_of
from store.replay import read_fleet_at
from store.resources import resources
from store.sources import sources
from store.window import named_window
from store.words import Market
from tests.bench.test_store_bench import END, NAMES, RESOURCES, TIERS, ZONE, filled, median_ms

DAYS = 31
POLICY = GatePolicy(10**15, ZONE, timedelta(seconds=170))
PAST = END - timedelta(days=20, minutes=7)
READS: dict[str, Callable[[Session], object]] = {
    "points: a day of one tier in 96 steps": lambda session: points_of(
        session, ["t3"], named_window("24h", END, ZONE), 96
    ),
    "points: 30 days of one tier in 120 steps": lambda session: points_of(
        session, ["t3"], named_window("30d", END, ZONE), 120
    ),
    "the same, as of 20 days ago": lambda session: points_of(
        session, ["t3"], named_window("7d", PAST, ZONE), 120, then=PAST
    ),
    "bands: 7 days of every tier by the hour": lambda session: bands(session, NAMES, END, 7),
    "bands: 30 days of one tier by the hour": lambda session: bands(session, ["t3"], END, 30),
    "resources of a tier": lambda session: resources(session, "t3"),
    "the day's budget in 96 steps": lambda session: budget_curve(session, POLICY, END, 96),
    "sources": lambda session: sources(session, ["cloud"], END),
}


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """50 resources in 10 tiers, 31 days of minutes."""
    database = filled(tmp_path_factory.mktemp("screens") / "month.db", DAYS)
    yield database
    database.close()


def test_what_screens_read(month: Database) -> None:
    print(f"\n\n{RESOURCES} resources in {TIERS} tiers, {DAYS} days of minutes")
    with month.read() as session:
        for what, read in READS.items():
            took = median_ms(lambda read=read: read(session), rounds=3)  # type: ignore[misc]
            print(f"{what:<60}{took:>10.1f} ms")
    specs = [TierSpec(name, "cloud", "H100", Market.SPOT) for name in NAMES]
    past = median_ms(lambda: read_fleet_at(month, specs, POLICY, PAST, timedelta(minutes=2)), rounds=3)
    print(f"{'the whole fleet as of 20 days ago':<60}{past:>10.1f} ms")
