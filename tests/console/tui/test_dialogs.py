"""Dialogs while the store is read on: what they ask about is followed, from the moment they are asked for."""

import asyncio
from pathlib import Path

from sqlmodel import select
from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.widgets import Button, Input

from console.tui.app import MtokApp
from console.tui.screens.dialogs import ConfirmDialog, Dialog, ReasonDialog
from store.phases import OperationKind
from store.tables import GateClosure
from tests.console.fleet_world import FleetWorld
from tests.console.tui.screen import app_of, ready, shown, text_of, until


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


async def test_another_closing_by_hand_is_not_opened_by_who_has_not_seen_it(
    world: FleetWorld, tmp_path: Path
) -> None:
    world.service.close_gate("trying the runbook")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("o")
        await until(pilot, lambda: "Closed by ada@192.0.2.7 (trying the runbook)." in shown(app))
        world.service.open_gate("tried")
        world.service.close_gate("keys leaked: do not open")
        app.screen.query_one("#reason", Input).value = "the runbook works"
        says = "it is closed by ada@192.0.2.7 (keys leaked: do not open) now: close"
        await until(pilot, lambda: says in " ".join(shown(app).replace("│", "").split()))
        assert app.screen.query_one("#act", Button).disabled
    with world.database.read() as session:
        assert [row.opened_reason for row in session.exec(select(GateClosure)).all()] == ["tried", None]


async def test_a_gate_that_somebody_closes_meanwhile_is_not_closed_twice(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ReasonDialog))
        world.service.close_gate("leak")
        await until(pilot, lambda: "it is closed by ada@192.0.2.7 (leak) now" in shown(app))


async def test_a_dialog_is_followed_while_time_stands_still(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        app.view.is_paused = True  # as by a `p` right behind a `w`, whose dialog comes later
        await until(pilot, lambda: app._reading_since_s is None)
        before = app.view.fleet
        world.service.ask(OperationKind.HIBERNATE, "h100", seen="8429=ACTIVE")
        await until(pilot, lambda: "a hibernate of h100 has been asked for meanwhile" in shown(app))
        assert app.view.fleet is before


async def focused(pilot: Pilot[None], app: MtokApp, dialog: type[Dialog], name: str) -> Input:
    """A dialog's field, once the keys go there."""
    await until(pilot, lambda: isinstance(app.screen, dialog))
    field = app.screen.query_one(name, Input)
    field.focus()
    await until(pilot, lambda: app.focused is field)
    return field


async def test_a_name_that_has_to_be_typed_cannot_be_pasted(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("h")
        field = await focused(pilot, app, ConfirmDialog, "#name")
        app.post_message(Paste("h100"))
        await until(pilot, lambda: "a pasted name does not count: type it" in shown(app))
        app.copy_to_clipboard("h100")
        field.action_paste()
        assert field.value == ""
        assert app.screen.query_one("#act", Button).disabled


async def test_a_reason_can_be_pasted(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("c")
        await focused(pilot, app, ReasonDialog, "#reason")
        app.post_message(Paste("https://example.org/incidents/7"))
        await until(pilot, lambda: "ready: Enter acts" in shown(app))


async def test_a_second_enter_in_one_packet_does_nothing_more(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("6")
        await until(pilot, lambda: app.page.NAME == "Journal")
        await pilot.press("c")
        field = await focused(pilot, app, ReasonDialog, "#reason")
        field.value = "leak"
        await asyncio.sleep(0.35)
        for _ in range(3):
            app.post_message(Key("enter", None))
        await until(pilot, lambda: "close of the gate asked" in text_of(app, "message"))
        assert app.page.NAME == "Journal"
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ReasonDialog))
        await asyncio.sleep(0.35)
        for _ in range(3):
            app.post_message(Key("n", "n"))
        await until(pilot, lambda: app.screen is app.page)
        assert app.page.NAME == "Journal"
    with world.database.read() as session:
        assert [row.reason for row in session.exec(select(GateClosure)).all()] == ["leak"]
