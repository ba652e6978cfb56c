"""The Gate screen as an engineer uses it."""

import asyncio
import csv
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from rich.cells import cell_len
from sqlmodel import col, select
from textual.pilot import Pilot

from console.tui.app import MtokApp
from console.tui.screens.gate import GatePage
from store.gate import Reason
from store.tables import BillCounter
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, ready, shown, text_of, until


def after_ticks(folder: Path, count: int = 5, limit: str = "200") -> FleetWorld:
    """A world two seconds after its last tick."""
    world = fleet_world(folder, limit, minutes=count)
    world.clock.advance(-58)
    return world


def unsettle(world: FleetWorld) -> None:
    with world.database.write() as session:
        counter = session.exec(select(BillCounter).order_by(col(BillCounter.id))).first()
        assert counter is not None
        counter.unsettled_at = world.clock.now()
        session.add(counter)
    world.tick()


def ticks(world: FleetWorld, count: int, *, bills_rise: bool = True) -> None:
    for _ in range(count):
        world.tick()
        world.ticks -= not bills_rise


STAGES: dict[Reason, Callable[[FleetWorld], None]] = {
    Reason.UNOBSERVED: lambda _: None,
    Reason.RESERVED: lambda world: ticks(world, 2),
    Reason.MANUAL: lambda world: world.service.close_gate("\x1b[2J[bold]漢字 leak[/bold]"),
    Reason.EXHAUSTED: lambda world: ticks(world, 8),
    Reason.FROZEN: lambda world: ticks(world, 20, bills_rise=False),
    Reason.UNSETTLED: unsettle,
    Reason.DARK: lambda world: world.clock.advance(600),
}


async def gate_page(pilot: Pilot[None]) -> MtokApp:
    """The app once it shows the gate's inputs."""
    app = await ready(pilot)
    await pilot.press("4")
    await until(pilot, lambda: isinstance(app.page, GatePage) and "INPUTS" in text_of(app, "gate-text"))
    return app


def widest(app: MtokApp) -> int:
    return max(map(cell_len, text_of(app, "gate-text").splitlines()))


async def test_each_reason_comes_onto_the_first_screen_and_says_what_opens_it(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, limit="0.50")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await gate_page(pilot)
        for reason, happens in STAGES.items():
            happens(world)
            app.read()
            await until(pilot, lambda reason=reason: f"! {reason.upper()}" in shown(app))  # type: ignore[misc]
            assert " opens " in shown(app)
            assert "\x1b" not in shown(app)
            assert widest(app) <= 80


async def test_80x24_shows_verdict_budget_curve_and_main_inputs_and_the_rest_scrolls(tmp_path: Path) -> None:
    world = after_ticks(tmp_path)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await gate_page(pilot)
        for text in (
            "OPEN  ",
            "closes when",
            "# spent",
            "= not billed yet",
            "SPENT 2026-11-24",
            "INPUTS",
            "limit of today",
        ):
            assert text in shown(app)
        await pilot.press("end")
        await until(pilot, lambda: "VERDICTS, newest first" in shown(app))
        for heading in ("FROM", "UNTIL", "VERDICT", "LASTED"):
            assert heading in shown(app)
        await pilot.resize_terminal(120, 40)
        await pilot.press("end")
        await until(pilot, lambda: "ALLOWANCES OF TODAY" in shown(app))
        assert 80 < widest(app) <= 120
        await pilot.resize_terminal(60, 16)
        await until(pilot, lambda: widest(app) <= 60)


async def test_nothing_moves_until_a_tick_a_reset_or_a_verdict(tmp_path: Path) -> None:
    world = after_ticks(tmp_path, limit="0.10")
    async with app_of(world, tmp_path).run_test(size=(120, 40)) as pilot:
        app = await gate_page(pilot)
        before = text_of(app, "gate-text")
        world.clock.advance(20)
        app.read()
        await until(pilot, lambda: app.view.fleet is not None and app.view.fleet.at == world.clock.now())
        assert text_of(app, "gate-text") == before
        world.service.reset_gate(50 * 10**9, "launch \x1b[31m[red]")
        app.read()
        await until(pilot, lambda: "launch" in text_of(app, "gate-text"))
        assert "+$50.00" in text_of(app, "gate-text")
        assert "\x1b[31m" not in shown(app)


async def test_the_export_has_inputs_terms_curve_allowances_and_verdicts(tmp_path: Path) -> None:
    world = after_ticks(tmp_path, limit="0.10")
    world.service.reset_gate(50 * 10**9, "launch")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await gate_page(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "exported: " in text_of(app, "message"))
        (path,) = await asyncio.to_thread(lambda: list(tmp_path.glob("mtok-gate-*.csv")))
        rows = list(csv.DictReader(await asyncio.to_thread(lambda: path.read_text().splitlines())))
    assert {row["kind"] for row in rows} == {"input", "headroom", "spent", "allowance", "verdict"}
    values = {(row["kind"], row["name"]): row["value"] for row in rows}
    assert values["input", "limit_usd"] == "50.100000000"
    assert values["allowance", "usd"] == "50.000000000"


async def test_a_past_minute_says_what_was_not_recorded(tmp_path: Path) -> None:
    world = after_ticks(tmp_path)
    app = app_of(world, tmp_path)
    app.view.at = world.clock.now() - timedelta(minutes=2)
    async with app.run_test(size=(80, 24)) as pilot:
        await gate_page(pilot)
        text = text_of(app, "gate-text")
        assert "INPUTS of 11-24 08:02:02 UTC" in text
        for what in ("not billed yet", "beyond the limit", "HEADROOM:"):
            assert any(what in one and "not recorded" in one for one in text.splitlines())
        assert "complete in a row     not recorded" in text


async def test_at_midnight_a_new_day_is_shown_though_no_tick_has_come(tmp_path: Path) -> None:
    world = fleet_world(tmp_path)
    world.clock.advance(15 * 3600 + 55 * 60)
    ticks(world, 5)
    world.clock.advance(-10)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await gate_page(pilot)
        assert "SPENT 2026-11-24" in text_of(app, "gate-text")
        world.clock.advance(20)
        app.read()
        await until(pilot, lambda: "SPENT 2026-11-25" in text_of(app, "gate-text"))
        for text in (text_of(app, "gate-text").partition("INPUTS")[0], text_of(app, "gate")):
            assert "no complete tick since 2026-11-24T23:59:00Z" in text
            assert "$0.0000" not in text
        assert app.page.view.fleet is not None
        assert app.page.view.fleet.verdict.is_open
