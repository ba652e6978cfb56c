"""The app as a pilot drives it: a real store, a real service, keys."""

import asyncio
import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.tui.app import MtokApp
from console.tui.look import Look
from console.tui.view import View
from console.tui.widgets.line_table import LineTable
from console.tui.widgets.lines import Lines
from tests.console.fleet_world import FleetWorld


def app_of(world: FleetWorld, folder: Path, look: Look | None = None, *, is_read_only: bool = False) -> MtokApp:
    service = world.service
    service.is_read_only = is_read_only
    view = View(service.actor, is_read_only=is_read_only, note="hello")
    return MtokApp(service, view, folder, look)


def text_of(app: MtokApp, name: str) -> str:
    return app.page.query_one(f"#{name}", Lines).text


def shown(app: MtokApp) -> str:
    """All that the terminal shows."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line).ljust(width) for line in lines[:height])


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    for _ in range(100):
        await pilot.pause()
        if holds():
            return
        await asyncio.sleep(0.03)
    pytest.fail("did not come to hold")


async def ready(pilot: Pilot[None], tiers: int = 3) -> MtokApp:
    """The app once it has shown a fleet."""
    app = pilot.app
    assert isinstance(app, MtokApp)
    await until(pilot, lambda: app.screen_stack[0].query_one(LineTable).row_count == tiers)
    return app


def read_csv(folder: Path, pattern: str) -> list[dict[str, str]]:
    """The rows of the one exported file that `pattern` names."""
    (path,) = folder.glob(pattern)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
