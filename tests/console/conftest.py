"""What tests of the console share, wherever they are."""

from pathlib import Path

import pytest

from store.database import Database
from store.leader import acquire
from tests.console.fleet_world import FleetWorld, fleet_world


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    """Three tiers after seven minutes, two seconds after the last tick."""
    made = fleet_world(tmp_path, minutes=7)
    made.clock.advance(-58)
    return made


@pytest.fixture
def fence(database: Database) -> int:
    """What the leader writes with."""
    taken = acquire(database, "test", 600)
    assert taken is not None
    return taken
