"""Nothing moves while nothing happens: every second of a screen that moves is bytes on somebody's line."""

import asyncio
import re
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.tui.app import MtokApp
from console.tui.keys import PAGES
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, ready, shown, text_of, until

_AGE = re.compile(r"\d+ (s|min) ago")


def world_of(folder: Path, limit: str = "200", ticks: int = 5) -> FleetWorld:
    """A world two seconds after its last tick."""
    world = fleet_world(folder, limit, minutes=ticks)
    world.clock.advance(-58)
    return world


async def read(pilot: Pilot[None], app: MtokApp) -> None:
    """Two readings, so that the second one answers what the first one made the screen ask."""
    for _ in range(2):
        await until(pilot, lambda: app._reading_since_s is None)
        app.read(is_wanted=True)
        await until(pilot, lambda: app._reading_since_s is None)


@pytest.mark.parametrize(("limit", "says"), [("200", "GATE OPEN"), ("0.50", "RESERVED")])
async def test_no_screen_moves_between_ticks(tmp_path: Path, limit: str, says: str) -> None:
    world = world_of(tmp_path, limit)
    async with app_of(world, tmp_path).run_test(size=(120, 60)) as pilot:
        app = await ready(pilot)
        for n, name in enumerate(PAGES, 1):
            await pilot.press(str(n))
            await until(pilot, lambda name=name: name == app.page.NAME)  # type: ignore[misc]
            await read(pilot, app)
            before = shown(app)
            assert says in before
            world.clock.advance(7)  # a cent of headroom, and with all screens less than a minute
            await read(pilot, app)
            assert shown(app) == before, name


async def test_only_its_age_moves_while_the_gate_is_dark(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.clock.advance(600)
    async with app_of(world, tmp_path).run_test(size=(120, 60)) as pilot:
        app = await ready(pilot)
        for n, name in enumerate(PAGES, 1):
            await pilot.press(str(n))
            await until(pilot, lambda name=name: name == app.page.NAME)  # type: ignore[misc]
            await read(pilot, app)
            before = shown(app)
            assert "DARK" in before
            world.clock.advance(1)
            await read(pilot, app)
            assert shown(app) != before
            assert _AGE.sub("", shown(app)) == _AGE.sub("", before), name


async def test_a_reset_is_seen_between_ticks(tmp_path: Path) -> None:
    world = world_of(tmp_path, "0.10")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        assert "of $0.10" in text_of(app, "gate")
        await asyncio.to_thread(world.service.reset_gate, 10**9, "launch")
        await read(pilot, app)
        assert "of $1.10" in text_of(app, "gate")
