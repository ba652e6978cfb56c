"""Keys beyond acting: filter, sort, pause, copy, palette, remapping; and what read-only takes away."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from textual.app import App
from textual.command import CommandPalette
from textual.widgets import Input

from console.service import ReadOnly
from console.tui.app import MtokApp
from console.tui.clipboard import MOST_BYTES, osc52
from console.tui.keys import BINDINGS, PAGES, check_keys
from console.tui.look import Look
from console.tui.pages import page_keys
from console.tui.screens.dialogs import ConfirmDialog
from console.tui.screens.fleet import FleetPage
from console.tui.screens.help import HelpPage
from console.tui.widgets.line_table import LineTable
from store.errors import SettingsError
from store.phases import OperationKind
from store.tables import OperationRow
from tests.console.fleet_world import FleetWorld
from tests.console.tui.screen import app_of, ready, shown, text_of, until


def order(table: LineTable) -> list[str]:
    return [entry.key for entry in table._entries]


async def test_a_filter_follows_each_letter_and_the_export_respects_it(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        table = app.page.query_one(LineTable)
        await pilot.press("slash", "l", "4")
        await until(pilot, lambda: order(table) == ["l40"])
        assert "filter: l4   1 of 3" in text_of(app, "filter")
        await pilot.press("enter", "e")
        await until(pilot, lambda: "exported: " in text_of(app, "message"))
        (path,) = await asyncio.to_thread(lambda: list(tmp_path.glob("mtok-fleet-*.csv")))
        written = await asyncio.to_thread(path.read_text)
        assert "l40" in written
        assert "h100" not in written
        await pilot.press("escape")
        await until(pilot, lambda: table.row_count == 3)
        assert text_of(app, "filter") == ""
        await pilot.press("slash", "exclamation_mark", "l", "4", "0")
        await until(pilot, lambda: order(table) == ["h100", "a100"])


async def test_letters_typed_into_the_filter_do_nothing_else(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("slash", "h", "w", "r", "q", "1")
        assert isinstance(app.screen, FleetPage)
        assert app.page.query_one("#needle", Input).value == "hwrq1"


async def test_a_sort_keeps_the_cursor_on_its_tier(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        table = app.page.query_one(LineTable)
        await pilot.press("j")
        assert table.key == "l40"
        await pilot.press("s")
        prompt = text_of(app, "message")
        assert "r $/h" in prompt
        assert prompt.endswith("u UTIL")
        assert len(prompt) <= 80
        await pilot.press("r")
        await until(pilot, lambda: order(table) == ["l40", "a100", "h100"])
        await pilot.press("s", "r")
        await until(pilot, lambda: order(table) == ["h100", "a100", "l40"])
        assert "$/h↓" in shown(app)
        assert table.key == "l40"
        await pilot.press("s", "escape")
        assert order(table) == ["h100", "a100", "l40"]


async def test_pause_lets_figures_stand_still_and_says_so(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("p")
        await until(pilot, lambda: "PAUSED" in text_of(app, "header"))
        before = text_of(app, "detail")
        world.clock.advance(58)
        world.tick()
        await asyncio.sleep(1.2)
        assert text_of(app, "detail") == before
        assert "GATE OPEN" in text_of(app, "gate")
        world.service.close_gate("leak")  # what is wrong is told all the same
        await until(pilot, lambda: "GATE CLOSED  MANUAL" in text_of(app, "gate"))
        assert text_of(app, "detail") == before
        await pilot.press("p")
        await until(pilot, lambda: text_of(app, "detail") != before)
        assert "PAUSED" not in text_of(app, "header")


@pytest.mark.parametrize("key", ["h", "w", "r", "c", "o"])
async def test_nothing_is_asked_by_old_figures(world: FleetWorld, tmp_path: Path, key: str) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        assert app.why_not("hibernate") is None
        await pilot.press("p")
        assert app.why_not("hibernate") is not None  # the line of keys shows it muted
        await pilot.press(key)
        await until(pilot, lambda: "paused: what is shown is old; p goes on, then again" in text_of(app, "message"))
        assert isinstance(app.screen, FleetPage)
        await pilot.press("p")
        assert app.why_not("hibernate") is None


async def test_copy_names_what_was_copied(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("y")
        assert "copied: h100" in text_of(app, "message")
        await pilot.press("Y")
        assert "copied: h100     ● serving" in text_of(app, "message")


@pytest.mark.parametrize("environ", [{}, {"TMUX": "/tmp/tmux"}, {"TERM": "screen"}])
def test_what_is_copied_can_be_decoded_by_the_terminal(environ: dict[str, str]) -> None:
    sequence = osc52("h100 → 世界", environ)
    assert sequence is not None
    inner = sequence.replace("\x1b\x1b", "\x1b").removeprefix("\x1bPtmux;").removeprefix("\x1bP")
    encoded = inner.removeprefix("\x1b]52;c;").split("\a")[0]
    assert base64.b64decode(encoded).decode() == "h100 → 世界"
    assert osc52("x" * MOST_BYTES, environ) is None


@pytest.mark.parametrize("key", ["colon", "ctrl+p"])
async def test_the_palette_opens_and_knows_every_key(world: FleetWorld, tmp_path: Path, key: str) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        names = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Hibernate", "Wake", "Close gate", "Tier h100", "Journal", "Quit"} <= names
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetPage))


async def test_the_palette_does_what_the_key_does(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)

        async def choose(name: str) -> None:
            await pilot.press("colon")
            await until(pilot, lambda: isinstance(app.screen, CommandPalette))
            await pilot.press(*name)
            await asyncio.sleep(0.5)  # it looks for what has been typed behind the screen
            await pilot.press("enter")

        await choose("Pause")
        await until(pilot, lambda: app.view.is_paused)
        await choose("Pause")
        await until(pilot, lambda: not app.view.is_paused)
        await choose("Journal")
        await until(pilot, lambda: app.page.NAME == "Journal")
        await choose("Hibernate")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))


async def test_every_command_of_the_palette_finds_what_it_is_to_do(
    world: FleetWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[bool] = []
    run_action = App.run_action

    async def heard(self: App[None], action: Any, node: Any = None, namespaces: Any = None) -> bool:
        done.append(await run_action(self, action, node, namespaces))
        return done[-1]

    monkeypatch.setattr(MtokApp, "run_action", heard)
    monkeypatch.setattr("console.tui.screens.dialogs._DEAF_S", 0.0)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for command in app.get_system_commands(app.screen):
            if command.title != "Quit" and not command.title.startswith("Tier "):
                done.clear()
                await command.callback()
                assert done[-1], command.title
                await pilot.press("escape")  # a dialog, where it asks first


async def test_a_click_on_the_line_of_keys_is_the_key(
    world: FleetWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.tui.screens.dialogs._DEAF_S", 0.0)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.click("#keys", offset=(text_of(app, "keys").index("Hibernate"), 0))
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetPage))
        await pilot.click("#keys", offset=(text_of(app, "keys").index("Help"), 0))
        await until(pilot, lambda: isinstance(app.screen, HelpPage))


async def test_a_remapped_key_acts_and_the_help_shows_it(world: FleetWorld, tmp_path: Path) -> None:
    look = Look(keys={"tier.hibernate": "ctrl+h", "app.help": "f1"})
    async with app_of(world, tmp_path, look).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("h")
        assert isinstance(app.screen, FleetPage)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpPage))
        assert "ctrl+h" in text_of(app, "help")
        await pilot.press("ctrl+h")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))


async def test_a_key_of_another_screen_can_be_remapped_before_anyone_looks_at_it(
    world: FleetWorld, tmp_path: Path
) -> None:
    look = Look(keys={"page.margin": "f5", "page.tier-next": "n", "table.down": "f6"})
    async with app_of(world, tmp_path, look).run_test(size=(140, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("f6")
        assert app.view.tier == "l40"
        await pilot.press("3")
        await until(pilot, lambda: "f5 Margin" in text_of(app, "keys"))
        await pilot.press("m", "f5")
        await until(pilot, lambda: text_of(app, "message") == " margin: 40 %")
        await pilot.press("2")
        await until(pilot, lambda: app.page.NAME == "Tier" and "n Tier" in text_of(app, "keys"))
        await pilot.press("n")
        await until(pilot, lambda: app.view.tier == "a100")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpPage))
        assert "f5              Band: the price" in text_of(app, "help")


async def test_the_palette_does_what_is_another_screens_there(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        (margin,) = [one for one in app.get_system_commands(app.screen) if one.title == "Margin"]
        assert "Band: the price of another margin" in margin.help
        await margin.callback()
        assert app.page.NAME == "Band"
        await until(pilot, lambda: text_of(app, "message") == " margin: 40 %")


def test_a_key_that_a_screen_has_already_is_refused(world: FleetWorld, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is also the key of page\.margin"):
        app_of(world, tmp_path, Look(keys={"tier.wake": "m"}))
    with pytest.raises(SettingsError, match=r"is also the key of table\.down"):
        app_of(world, tmp_path, Look(keys={"tier.wake": "j"}))


@pytest.mark.parametrize(
    ("keys", "says"), [({"tier.hibernat": "x"}, "there is no such key"), ({"tier.wake": "h"}, "is also the key of")]
)
def test_a_wrong_key_in_the_settings_is_named(keys: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        check_keys(keys, BINDINGS)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["h", "w", "r", "c", "o"])
async def test_a_read_only_console_has_no_key_that_acts(world: FleetWorld, tmp_path: Path, key: str) -> None:
    async with app_of(world, tmp_path, is_read_only=True).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        assert "READ-ONLY" in text_of(app, "header")
        assert "Hibernate" not in text_of(app, "keys")
        await pilot.press(key)
        await pilot.pause(0.1)
        assert isinstance(app.screen, FleetPage)
        names = {command.title for command in app.get_system_commands(app.screen)}
        assert not names & {"Hibernate", "Wake", "Reset", "Close gate", "Open gate"}


def test_a_read_only_service_refuses_whatever_would_change_something(world: FleetWorld) -> None:
    service = world.service
    service.is_read_only = True
    for act in (
        lambda: service.ask(OperationKind.HIBERNATE, "h100", seen="ACTIVE"),
        lambda: service.reset_gate(10**9, "launch"),
        lambda: service.close_gate("leak"),
        lambda: service.open_gate("mended"),
    ):
        with pytest.raises(ReadOnly, match="read-only; nothing was changed"):
            act()
    with world.database.read() as session:
        assert session.exec(select(OperationRow)).all() == []


async def test_only_pages_that_can_be_sorted_bind_the_key_and_are_listed_with_it(
    world: FleetWorld, tmp_path: Path
) -> None:
    (sort,) = [key for key in page_keys() if key.binding.id == "page.sort"]
    assert sort.pages == ("Fleet", "Band", "Billing")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for number, page in enumerate(PAGES, 1):
            await pilot.press(str(number))
            await until(pilot, lambda page=page: page == app.page.NAME)  # type: ignore[misc]
            bound = [active.binding.id for active in app.page.active_bindings.values()]
            assert ("page.sort" in bound) == (page in sort.pages)


async def test_the_help_offers_no_export(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert "e Export" in text_of(app, "keys")
        await pilot.press("question_mark")
        await until(pilot, lambda: app.page.NAME == "Help")
        assert "Export" not in text_of(app, "keys")
        before = text_of(app, "message")
        await pilot.press("e")
        assert text_of(app, "message") == before
