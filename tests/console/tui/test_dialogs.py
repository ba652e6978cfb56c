"""Dialogs while the store is read on: what they ask about is followed, from the moment they are asked for."""

from pathlib import Path

import pytest

from console.tui.screens.dialogs import ConfirmDialog
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, ready, shown, until


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    made = fleet_world(tmp_path)
    for _ in range(7):
        made.tick()
    made.clock.advance(-58)  # two seconds after the last tick
    return made


async def test_a_reading_that_comes_before_the_dialog_is_drawn_is_said_in_it(
    world: FleetWorld, tmp_path: Path
) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        dialog = ConfirmDialog("Hibernate h100", "It ends.", "h100", lambda _: "h100 is asleep now")
        app.push_screen(dialog)
        assert app.view.fleet is not None
        dialog.follow(app.view.fleet)
        await until(pilot, lambda: "h100 is asleep now: close this" in shown(app))
