"""A fleet that nobody leads, and a console whose own collector leads."""

import asyncio
from pathlib import Path

import pytest

from console.tui.screens.dialogs import ConfirmDialog
from console.tui.screens.fleet import FleetPage
from store.process import this_process
from store.tables import Leadership
from tests.console.fleet_world import FleetWorld
from tests.console.tui.screen import app_of, ready, shown, text_of, until


async def test_while_nobody_leads_no_tier_serves_and_a_wish_is_told_to_wait(
    world: FleetWorld, tmp_path: Path
) -> None:
    with world.database.write() as session:
        session.delete(session.get_one(Leadership, 1))
    world.clock.advance(200)  # longer than any lease
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        (row,) = [row for row in shown(app).splitlines() if row.startswith("h100")]
        assert "◐ running" in row
        assert "in flight —" in text_of(app, "detail")
        await pilot.press("h")
        await until(pilot, lambda: "COLLECTOR DEAD: nobody carries it out, it stays asked for" in shown(app))
        await asyncio.sleep(0.35)
        await pilot.press("tab", "enter")
        await until(pilot, lambda: "hibernate of h100 asked; COLLECTOR DEAD" in text_of(app, "message"))


@pytest.mark.parametrize("leads", [True, False])
async def test_who_quits_the_collector_that_leads_is_asked(world: FleetWorld, tmp_path: Path, leads: bool) -> None:
    with world.database.write() as session:
        led = session.get_one(Leadership, 1)
        led.owner = f"{this_process()}:1" if leads else "elsewhere:1:1"
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        assert ("this console leads" in text_of(app, "health")) is leads
        await pilot.press("q")
        if leads:
            await until(pilot, lambda: "answers 503 170 s after" in shown(app))
            await asyncio.sleep(0.35)
            await pilot.press("n")
            await until(pilot, lambda: isinstance(app.screen, FleetPage))
            assert not app._exit
            await pilot.press("q")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await asyncio.sleep(0.35)
            await pilot.press("tab", "enter")
        await until(pilot, lambda: app._exit)
