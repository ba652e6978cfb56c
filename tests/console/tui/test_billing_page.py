"""The Billing screen as an engineer uses it."""

import asyncio
import csv
from pathlib import Path

from rich.cells import cell_len
from textual.pilot import Pilot

from console.tui.app import MtokApp
from console.tui.screens.billing import BillingPage
from console.tui.widgets.line_table import LineTable
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, ready, shown, text_of, until

NASTY = "HTTP 500 \x1b[2J[bold]漢字[/bold]"


def after_ticks(folder: Path, *problems: str | None) -> FleetWorld:
    world = fleet_world(folder)
    for problem in problems:
        world.tick(problem)
    world.clock.advance(-58)
    return world


async def billing_page(pilot: Pilot[None], sources: int = 4) -> MtokApp:
    """The app once it shows its sources."""
    app = await ready(pilot)
    await pilot.press("5")
    await until(
        pilot, lambda: isinstance(app.page, BillingPage) and app.page.query_one(LineTable).row_count == sources
    )
    return app


async def test_healthy_sources_stand_still_and_every_heading_is_whole(tmp_path: Path) -> None:
    world = after_ticks(tmp_path, *[None] * 5)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await billing_page(pilot)
        for text in ("SOURCE", "STATE", "LAST COMPLETE", "MED/P95 ms", "24h", "GAPS", "STEP", "LAG"):
            assert text in shown(app)
        for text in ("cloud", "h100-a", "● complete", "100%", "NO GAP", "a total over each resource's whole life"):
            assert text in shown(app)
        before = shown(app)
        world.clock.advance(45)
        app.read()
        await until(pilot, lambda: app.view.fleet is not None and app.view.fleet.at == world.clock.now())
        assert shown(app) == before
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "PROBLEM" in shown(app) and "KIND" in shown(app))


async def test_a_stale_provider_shows_its_age_its_problem_and_its_gaps(tmp_path: Path) -> None:
    world = after_ticks(tmp_path, None, None, NASTY, None, NASTY, NASTY, NASTY)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await billing_page(pilot)
        assert "! STALE 3 min" in shown(app)
        assert "\x1b" not in shown(app)
        detail = text_of(app, "detail")
        assert "! HTTP 500" in detail
        assert detail.count("HTTP 500") == 3
        assert "goes on" in detail
        assert max(map(cell_len, detail.splitlines())) <= 80
        world.clock.advance(600)
        app.read()
        await until(pilot, lambda: "! STALE 13 min" in shown(app))


async def test_a_provider_that_was_never_complete_is_not_called_late(tmp_path: Path) -> None:
    world = after_ticks(tmp_path, NASTY)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await billing_page(pilot)
        assert "— never yet" in shown(app)
        assert "last complete never; 0 of 1 ticks" in text_of(app, "detail")


async def test_a_sleeping_agent_is_no_trouble_and_the_export_is_of_what_is_shown(tmp_path: Path) -> None:
    world = after_ticks(tmp_path, None, "HTTP 500", None)
    world.asleep = frozenset({"l40"})
    world.clock.advance(58)
    world.tick()
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await billing_page(pilot)
        assert "○ asleep" in shown(app)
        await pilot.press("slash", *"cloud", "enter", "e")
        await until(pilot, lambda: "exported: " in text_of(app, "message"))
        (path,) = await asyncio.to_thread(lambda: list(tmp_path.glob("mtok-billing-*.csv")))
        rows = list(csv.DictReader(await asyncio.to_thread(lambda: path.read_text().splitlines())))
    assert [(row["name"], row["row"]) for row in rows] == [("cloud", "source"), ("cloud", "gap")]
    assert rows[1]["from"] == "2026-11-24T08:01:00Z"
    assert rows[1]["until"] == "2026-11-24T08:02:00Z"
