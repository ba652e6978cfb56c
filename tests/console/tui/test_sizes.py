"""Every size of terminal: too small ones are told so, on the smallest that will do dialogs can be answered."""

import asyncio
import re
import time
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from console.demo.world import greeting_of
from console.tui.app import MtokApp
from console.tui.keys import PAGES
from console.tui.screens.dialogs import ConfirmDialog, Dialog
from store.phases import OperationKind
from store.tables import Leadership
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, ready, shown, text_of, until

NEEDS = "mtok needs 60x16; this terminal is"


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    """Two tiers serve, one sleeps; two seconds after a tick."""
    made = fleet_world(tmp_path, minutes=6)
    made.asleep = frozenset({"a100"})
    made.tick()
    made.clock.advance(-58)
    return made


async def resized(pilot: Pilot[None], width: int, height: int) -> MtokApp:
    await pilot.resize_terminal(width, height)
    app = pilot.app
    assert isinstance(app, MtokApp)
    await until(pilot, lambda: tuple(app.size) == (width, height))
    return app


async def test_a_small_terminal_is_told_what_is_needed_and_recovers(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(40, 10)) as pilot:
        app = await ready(pilot)
        await until(pilot, lambda: shown(app).strip() == f"{NEEDS} 40x10"[:40].strip() or NEEDS[:30] in shown(app))
        assert "40x10" in shown(app)
        assert "TIER" not in shown(app)
        for n in range(1, len(PAGES) + 1):
            await pilot.press(str(n))
            await until(pilot, lambda: "40x10" in shown(app))
        await pilot.press("1")
        for size in ((20, 5), (300, 80), (59, 16), (60, 15), (1, 1)):
            await resized(pilot, *size)
            if size != (1, 1):
                await until(pilot, lambda size=size: ("TIER" in shown(app)) == (size == (300, 80)))  # type: ignore[misc]
        await resized(pilot, 60, 16)
        await until(pilot, lambda: "h100" in shown(app) and NEEDS not in shown(app))
        await pilot.press("j")
        assert app.view.tier == "l40"


async def test_a_dialog_that_cannot_be_seen_does_not_act(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        app.view.tier = "a100"
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, Dialog))
        await resized(pilot, 40, 10)
        await until(pilot, lambda: app.screen.query_one("#act", Button).disabled)
        await resized(pilot, 80, 24)
        await until(pilot, lambda: not app.screen.query_one("#act", Button).disabled)


@pytest.mark.parametrize("size", [(80, 24), (60, 16)])
async def test_every_dialog_shows_its_title_its_state_and_its_buttons(
    world: FleetWorld, tmp_path: Path, size: tuple[int, int]
) -> None:
    dialogs = {
        "h": ("h100", "Hibernate h100: 3 requests in flight, quoted $2.00/h", "type h100 to go on"),
        "w": ("a100", "Wake a100: billed in full before it serves", "Tab to the button"),
        "c": ("h100", "Close the gate: new requests to 2 serving tiers get 503", "a reason is needed"),
    }
    async with app_of(world, tmp_path).run_test(size=size) as pilot:
        app = await ready(pilot)
        for key, (tier, title, state) in dialogs.items():
            app.view.tier = tier
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, Dialog) and "Cancel" in shown(app))
            for text in (title, state, "Cancel", title.split()[0]):
                assert text in " ".join(shown(app).replace("│", " ").split()), text
            text = shown(app)
            assert "╭" in text
            assert "╰" in text
            assert not any("…" in row for row in text.splitlines() if row.count("│") == 2)
            await asyncio.sleep(0.35)
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, Dialog))


async def test_what_a_low_terminal_has_no_room_for_scrolls(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(60, 16)) as pilot:
        app = await ready(pilot)
        await app.push_screen(ConfirmDialog("Hibernate h100", "\n".join(f"line {n}." for n in range(30)), "h100"))
        await until(pilot, lambda: "line 0." in shown(app))
        assert "line 29." not in shown(app)
        for text in ("type h100 to go on", "Cancel"):
            assert text in shown(app)
        await asyncio.sleep(0.35)
        await pilot.press(*["down"] * 30)
        await until(pilot, lambda: "line 29." in shown(app))
        assert "Cancel" in shown(app)


async def test_an_operation_under_way_stands_in_the_state_of_its_tier(world: FleetWorld, tmp_path: Path) -> None:
    tier = world.service.fleet().tier("h100")
    assert tier is not None
    world.service.ask(OperationKind.HIBERNATE, "h100", seen=tier.seen)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        (row,) = [row for row in shown(app).splitlines() if row.startswith("h100")]
        assert "▼ asked" in row
        assert "HIBERNATE 0:00  requested" in text_of(app, "detail")


async def test_a_dead_collector_is_told_whole_on_80_columns(world: FleetWorld, tmp_path: Path) -> None:
    with world.database.write() as session:
        led = session.get(Leadership, 1)
        assert led is not None
        session.delete(led)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        said = " ".join(text_of(app, "banners").split())
        assert re.search(
            r"COLLECTOR DEAD: nobody reads the bills, start mtok collect; last tick \d+ s ago, at 08:\d\d:00\. ",
            said,
        )
        assert "Estimate by quoted rates: $2.80/h for 2 tiers" in said
        assert max(map(len, text_of(app, "banners").splitlines())) <= 80


async def test_a_console_that_begins_to_collect_calls_nobody_dead_until_it_would_lead(
    world: FleetWorld, tmp_path: Path
) -> None:
    with world.database.write() as session:
        session.delete(session.get_one(Leadership, 1))
    app = app_of(world, tmp_path)
    app.view.collects_from_s = time.monotonic()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        said = " ".join(text_of(app, "banners").split())
        assert said.startswith("NO COLLECTOR YET: this console begins to collect; last tick ")
        assert "Estimate by quoted rates: $2.80/h for 2 tiers" in said
        app.view.collects_from_s -= 11
        await until(pilot, lambda: "COLLECTOR DEAD" in text_of(app, "banners"))


async def test_a_message_that_must_be_cut_says_so_on_every_screen(world: FleetWorld, tmp_path: Path) -> None:
    greeting = greeting_of(Path("/tmp/mtok-demo-12345678"))
    notes = {
        greeting: greeting,
        "x" * 79: "x" * 79,
        "x" * 80: "x" * 78 + "…",
        "字" * 50: "字" * 39 + "…",
        "a\x1b[31mb": "a\N{REPLACEMENT CHARACTER}[31mb",
    }
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for number in range(1, len(PAGES) + 1):
            await pilot.press(str(number))
            for app.view.note, shown_as in notes.items():
                app.page.show()
                assert text_of(app, "message").strip() == shown_as
