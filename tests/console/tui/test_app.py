"""The screen as an engineer uses it: a real store, a real service, keys."""

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import select
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from console.service import Service
from console.tui.app import MtokApp
from console.tui.screens.dialogs import ConfirmDialog, ReasonDialog, ResetDialog
from console.tui.screens.fleet import FleetPage
from console.tui.screens.help import HelpPage
from console.tui.view import View
from console.tui.widgets.lines import Lines
from store.fleet_view import Fleet
from store.tables import Allowance, GateClosure, OperationRow
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, ready, shown, text_of, until


async def test_everything_is_on_80x24_and_no_heading_is_clipped(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        screen = shown(app)
        for heading in ("TIER", "STATE", "MARKET", "$/h", "TODAY", "IN 5m", "OUT 5m", "$/Mtok OUT", "UTIL"):
            assert heading in screen
        for text in ("h100", "l40", "a100", "on-demand", "GATE OPEN", "SIMULATED PROVIDER", "q Quit", "? Help"):
            assert text in screen
        assert "since 08:00" in screen
        assert "…" not in screen


async def test_a_wide_screen_has_a_column_a_window_and_the_trend(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        for heading in ("GPU", "$/Mtok OUT", "$/Mtok 24h", "TREND"):
            assert heading in shown(app)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "TREND" not in shown(app))


async def test_hibernating_a_serving_tier_needs_its_name(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("j", "h")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        for text in ("3 requests in flight", "ephemeral disk", "$0.80/h", "storage"):
            assert text in shown(app)
        assert app.focused is not None
        assert app.focused.id == "cancel"
        app.screen.query_one("#name", Input).focus()
        await asyncio.sleep(0.35)
        await pilot.press("l", "4", "enter")
        assert "l4 is not the name" in shown(app)
        await pilot.press("0")
        await until(pilot, lambda: "ready: Enter acts" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "asked" in text_of(app, "message"))
    with world.database.read() as session:
        (row,) = session.exec(select(OperationRow)).all()
        assert (row.tier, row.kind, row.actor) == ("l40", "hibernate", "ada@192.0.2.7")


async def test_a_second_that_passes_while_the_screens_close_asks_nothing(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("2", "3", "1")
    assert not app.screen_stack
    app.read()


async def test_a_key_acts_on_the_row_that_the_key_before_it_moved_to(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for key in "jh":  # both are there before either is looked at, as in one packet of SSH
            app.post_message(Key(key, key))
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog) and "Hibernate l40" in shown(app))


async def test_what_is_typed_right_behind_the_filters_key_is_a_part_of_it(
    world: FleetWorld, tmp_path: Path
) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for key, character in (("slash", "/"), ("h", "h"), ("1", "1"), ("enter", "\r")):  # as in one packet of SSH
            app.post_message(Key(key, character))
        await until(pilot, lambda: "filter: h1" in shown(app) and "q Quit" in shown(app))
        assert isinstance(app.screen, FleetPage)  # neither a dialog of `h`, nor the tier that Enter opens
        assert "l40" not in shown(app)
        await pilot.press("j", "k", "2")
        await until(pilot, lambda: app.page.NAME == "Tier")


async def test_the_letter_right_behind_the_sorts_key_names_a_column(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for key in "sh":
            app.post_message(Key(key, key))
        await until(pilot, lambda: "sorted by" in shown(app) or "not sorted otherwise" in shown(app))
        assert isinstance(app.screen, FleetPage)


@pytest.mark.parametrize("key", ["escape", "n", "q", "enter"])
async def test_a_dialog_is_cancelled_by_what_cancels(world: FleetWorld, tmp_path: Path, key: str) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await asyncio.sleep(0.35)
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, FleetPage))
    with world.database.read() as session:
        assert session.exec(select(OperationRow)).all() == []


async def test_a_burst_typed_before_the_dialog_does_nothing(
    world: FleetWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.tui.screens.dialogs._DEAF_S", 30.0)  # however slow this machine is
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for key in ("h", "l", "4", "0", "tab", "x", "enter", "n"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("tab", "y")
        assert isinstance(app.screen, ConfirmDialog)
        assert app.screen.query_one("#name", Input).value == ""


async def test_a_tier_that_changed_meanwhile_is_not_hibernated(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        world.asleep = frozenset({"h100"})
        world.tick()
        app.screen.query_one("#name", Input).value = "h100"
        await until(pilot, lambda: "h100 is asleep now, no longer serving: close this" in shown(app))
        await asyncio.sleep(0.35)
        app.screen.query_one("#name", Input).focus()
        await pilot.press("enter")
        assert isinstance(app.screen, ConfirmDialog)
    with world.database.read() as session:
        assert session.exec(select(OperationRow)).all() == []


async def test_waking_is_a_plain_question(world: FleetWorld, tmp_path: Path) -> None:
    world.asleep = frozenset({"h100"})
    world.tick()
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("h")
        assert "asleep already" in text_of(app, "message")
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await asyncio.sleep(0.35)
        await pilot.press("tab", "enter")
        await until(pilot, lambda: "wake of h100 asked" in text_of(app, "message"))
        await until(pilot, lambda: "WAKE 0:00  requested" in text_of(app, "detail"))
        await pilot.press("w")
        assert "under way" in text_of(app, "message")


async def test_a_tier_is_not_woken_while_the_gate_is_closed(world: FleetWorld, tmp_path: Path) -> None:
    world.asleep = frozenset({"h100"})
    world.tick()
    world.clock.advance(600)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("w")
        assert "the gate is closed" in text_of(app, "message")
        assert "GATE CLOSED  DARK" in shown(app)
        await pilot.press("r")
        assert "last complete billing tick" in text_of(app, "message")


async def test_an_exhausted_gate_is_reset_with_an_amount_and_a_reason(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, limit="0.10", minutes=7)
    world.clock.advance(-58)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        assert "EXHAUSTED" in shown(app)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, ResetDialog))
        app.screen.query_one("#amount", Input).focus()
        await asyncio.sleep(0.35)
        await pilot.press("x")
        await until(pilot, lambda: "is not a number" in shown(app))
        await pilot.press("backspace", "5", "0")
        await until(pilot, lambda: "a reason is needed" in shown(app))
        await pilot.press("tab", *"launch", "enter")
        await until(pilot, lambda: "GATE OPEN" in text_of(app, "gate"))
    with world.database.read() as session:
        (allowance,) = session.exec(select(Allowance)).all()
        assert (allowance.amount_nusd, allowance.reason) == (50 * 10**9, "launch")


async def test_the_gate_is_closed_and_opened_by_hand_with_a_reason(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, minutes=4)
    world.clock.advance(-58)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for key, word, shows in (("c", "leak", "GATE CLOSED  MANUAL"), ("o", "mended", "GATE OPEN")):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, ReasonDialog))
            app.screen.query_one("#reason", Input).focus()
            await asyncio.sleep(0.35)
            await pilot.press(*word, "enter")
            await until(pilot, lambda shows=shows: shows in text_of(app, "gate"))  # type: ignore[misc]
    with world.database.read() as session:
        (closure,) = session.exec(select(GateClosure)).all()
        assert (closure.reason, closure.opened_reason) == ("leak", "mended")


async def test_unknown_figures_read_as_a_dash_with_the_reason(tmp_path: Path) -> None:
    world = fleet_world(tmp_path)
    world.tick()
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        assert "—" in shown(app)
        assert "waiting for a second complete tick" in text_of(app, "detail")


async def test_a_dark_provider_and_a_dead_collector_are_said(world: FleetWorld, tmp_path: Path) -> None:
    world.tick(problem="HTTP 500")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        assert "BILLING STALE: cloud: last complete tick" in text_of(app, "banners")
        assert "HTTP 500" in text_of(app, "banners")
        with world.database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE leadership SET expires_at = '2020-01-01 00:00:00.000000'")
        await until(pilot, lambda: "COLLECTOR DEAD" in text_of(app, "banners"))
        assert "Estimate by quoted rates: $4.15/h" in text_of(app, "banners")


@pytest.mark.parametrize("is_silent", [False, True])
async def test_garbage_is_collected_from_the_first_reading_on(
    world: FleetWorld, tmp_path: Path, is_silent: bool
) -> None:
    if is_silent:
        with world.database.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE ticks RENAME TO gone")
    gc.disable()  # as `console.cli` starts it
    try:
        async with app_of(world, tmp_path).run_test() as pilot:
            await until(pilot, gc.isenabled)
    finally:
        gc.enable()


async def test_a_silent_store_leaves_the_figures_marked_and_comes_back(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        with world.database.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE ticks RENAME TO gone")
        await until(pilot, lambda: "STALE" in text_of(app, "banners"))
        assert "no such table" in text_of(app, "banners")
        await until(pilot, lambda: "h100" in shown(app) and "GATE OPEN" in shown(app))
        with world.database.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO ticks")
        await until(pilot, lambda: text_of(app, "banners") == "")


class Held(Service):
    """Its readings wait while `goes_on` is not set."""

    def __init__(self, world: FleetWorld) -> None:
        super().__init__(world.database, world.settings, world.clock, actor="ada")
        self.goes_on = threading.Event()
        self.goes_on.set()

    def fleet(self) -> Fleet:
        assert self.goes_on.wait(30)
        return super().fleet()


async def test_who_comes_while_the_store_is_read_is_answered_as_soon_as_that_ends(
    world: FleetWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.tui.app._READ_EVERY_S", 3600.0)  # at once, and not at the next second
    service = Held(world)
    app = MtokApp(service, View("ada"), tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: app._reading_since_s is None)
        service.goes_on.clear()
        app.read()
        await pilot.press("6")
        await until(pilot, lambda: app.page.NAME == "Journal" and app._is_wanted)
        service.goes_on.set()
        await until(pilot, lambda: app.page.answer is not None)


async def test_figures_go_on_under_a_dialog(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("h")
        before = text_of(app, "detail")
        world.clock.advance(58)
        world.tick()
        await until(pilot, lambda: text_of(app, "detail") != before)
        assert isinstance(app.screen, ConfirmDialog)


async def test_help_lists_every_binding(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpPage))
        listed = app.screen.query_one("#help", Lines).text
        for key in app.keys_now():
            assert (key.binding.tooltip or key.binding.description) in listed
        assert "Band: the price of another margin" in listed  # of a screen that nobody has looked at
        assert "Tier: next tier" in listed
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetPage))


async def test_export_says_where_and_the_window_can_be_changed(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(250, 24)) as pilot:  # the whole path fits
        app = await ready(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "exported: " in text_of(app, "message"))
        (path,) = await asyncio.to_thread(lambda: list(tmp_path.glob("mtok-*.csv")))
        assert path.name in text_of(app, "message")
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "IN 1h" in shown(app))
        await pilot.press("q")
    assert app.return_code == 0


async def test_ctrl_c_ends_it_from_within_a_dialog_too(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app._exit)
    with world.database.read() as session:
        assert session.exec(select(OperationRow)).all() == []


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_healthy_screen_looks_as_it_did(
    world: FleetWorld, tmp_path: Path, snap_compare: Callable[..., bool], size: tuple[int, int]
) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await ready(pilot)

    assert snap_compare(app_of(world, tmp_path), terminal_size=size, run_before=before)


def test_the_hibernate_dialog_looks_as_it_did(
    world: FleetWorld, tmp_path: Path, snap_compare: Callable[..., bool]
) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await ready(pilot)
        await pilot.press("h")
        await pilot.pause()

    assert snap_compare(app_of(world, tmp_path), terminal_size=(80, 24), run_before=before)
