"""Each question of a screen is answered of now and of a past minute, from the same store."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from store.unknown import Unknown
from store.window import Window
from tests.console.fleet_world import START, FleetWorld, fleet_world

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FleetWorld]:
    """Three tiers, eight minutes."""
    world = fleet_world(tmp_path, minutes=8)
    world.clock.advance(-60)  # the instant of the last tick
    yield world
    world.database.close()


def test_a_named_window_ends_now_or_then(world: FleetWorld) -> None:
    service, last = world.service, START + 7 * MINUTE
    assert service.points("h100", "5m", 1)[-1].end == last
    assert service.points("h100", "5m", 1, last - MINUTE)[-1].end == last - MINUTE
    assert service.points("h100", Window(START, last), 1)[0].start == START
    assert set(service.points_of(["h100", "l40"], "5m", 1)) == {"h100", "l40"}


def test_a_past_point_is_what_the_fleet_showed_then(world: FleetWorld) -> None:
    at = START + 6 * MINUTE
    (point,) = world.service.points("h100", "5m", 1, at)
    shown = world.service.fleet_at(at).tiers[0].figures["5m"]
    assert (point.edges, point.output_nusd_per_mtok) == (shown.edges, shown.output_nusd_per_mtok)


def test_bands_are_of_the_settings_tiers_unless_others_are_named(world: FleetWorld) -> None:
    assert [band.tier for band in world.service.bands(1)] == ["h100", "l40", "a100"]
    (band,) = world.service.bands(1, tiers=["l40"])
    assert isinstance(band.output, Unknown)


def test_sources_are_the_settings_providers_and_the_agents(world: FleetWorld) -> None:
    found = [(one.kind, one.name, one.complete) for one in world.service.sources()]
    assert found == [("provider", "cloud", 8), *(("agent", f"{name}-a", 8) for name in ("a100", "h100", "l40"))]
    assert [one.complete for one in world.service.sources(START + 2 * MINUTE)] == [3, 3, 3, 3]


def test_the_journal_is_read_up_to_a_past_minute(world: FleetWorld) -> None:
    world.service.close_gate("lunch")
    assert world.service.journal(1)[0].what == "gate close"
    assert world.service.journal(1, text="lunch")[0].actor == "ada@192.0.2.7"
    assert world.service.journal(5, text="lunch", at=START + MINUTE) == ()
