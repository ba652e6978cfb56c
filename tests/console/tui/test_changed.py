"""Dialogs whose question has become another one: none of them acts, and each says why."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import select
from textual.pilot import Pilot
from textual.widgets import Button, Input

from console.changed import opening_changed, reset_changed, tier_changed, wake_changed
from console.service import Service
from console.tui.app import MtokApp
from console.tui.screens.dialogs import ConfirmDialog, Dialog, ReasonDialog, ResetDialog
from console.tui.view import View
from console.tui.widgets.lines import Lines
from store.fleet_view import Fleet
from store.gate import FLEET, Reason
from store.preflight import Check
from store.resets import DayLimit
from store.tables import Allowance, GateClosure, OperationRow
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, ready, shown, text_of, until


def with_reasons(fleet: Fleet, *reasons: Reason) -> Fleet:
    return replace(fleet, verdict=replace(fleet.verdict, reasons=reasons))


def hint_of(app: MtokApp) -> str:
    return " ".join(app.screen.query_one("#hint", Lines).text.split())


async def asked(pilot: Pilot[None], key: str, kind: type[Dialog], **given: str) -> MtokApp:
    """The app with the dialog that `key` opens, its fields filled in."""
    app = await ready(pilot)
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, kind))
    for field, text in given.items():
        app.screen.query_one(f"#{field}", Input).value = text
    return app


def operations(world: FleetWorld) -> Sequence[OperationRow]:
    with world.database.read() as session:
        return session.exec(select(OperationRow)).all()


async def refused(pilot: Pilot[None], app: MtokApp, says: str) -> None:
    """The dialog says why, and its button does nothing."""
    await until(pilot, lambda: says in hint_of(app))
    assert app.screen.query_one("#act", Button).disabled
    await asyncio.sleep(0.35)
    assert isinstance(app.screen, Dialog)
    app.screen.on_input_submitted()
    assert isinstance(app.screen, Dialog)


async def test_a_tier_that_serves_meanwhile_is_not_hibernated_without_its_name(
    world: FleetWorld, tmp_path: Path
) -> None:
    world.service.close_gate("leak")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await asked(pilot, "h", ConfirmDialog)
        world.service.open_gate("mended")
        await refused(pilot, app, "h100 is serving now, no longer running: close this")
    assert operations(world) == []


def test_a_hibernate_is_about_whether_the_tier_serves_either_way(world: FleetWorld) -> None:
    fleet = world.service.fleet()
    serves = fleet.tiers[0]
    parked = replace(serves, state="running")
    assert tier_changed(serves)(fleet) is None
    assert tier_changed(serves)(replace(fleet, tiers=(parked,))) == "h100 is running now, no longer serving"
    assert tier_changed(parked)(fleet) == "h100 is serving now, no longer running"
    assert tier_changed(serves)(replace(fleet, tiers=())) == "h100 is no longer there"


async def test_who_was_told_that_the_gate_stays_closed_does_not_open_it(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, limit="0.10", minutes=7)
    world.clock.advance(-58)
    world.service.close_gate("leak")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await asked(pilot, "o", ReasonDialog, reason="mended")
        world.service.reset_gate(50 * 10**9, "somebody else")
        await refused(pilot, app, "nothing else closes it now: close this")
    with world.database.read() as session:
        assert [row.opened_at for row in session.exec(select(GateClosure)).all()] == [None]


def test_an_opening_is_about_what_closes_the_gate_all_the_same(world: FleetWorld) -> None:
    fleet = with_reasons(world.service.fleet(), Reason.MANUAL)
    why_changed = opening_changed(fleet)
    assert why_changed(fleet) is None
    assert why_changed(with_reasons(fleet, Reason.DARK, Reason.MANUAL)) == "it would stay closed now, dark"


async def test_a_gate_that_closes_under_the_preflight_wakes_nothing(world: FleetWorld, tmp_path: Path) -> None:
    world.asleep = frozenset({"h100"})
    world.tick()
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await asked(pilot, "w", ConfirmDialog)
        world.service.close_gate("leak")
        await refused(pilot, app, "the gate has closed meanwhile: close this")
    assert operations(world) == []


def test_a_wake_is_about_the_gate_as_its_preflight_found_it(world: FleetWorld) -> None:
    fleet, service = world.service.fleet(), world.service
    is_open = service.preflight("h100")
    service.close_gate("leak")
    is_closed, shut = service.preflight("h100"), service.fleet()
    too_dear = [Check("gate", False, "it may cost more than is left")]
    tier = fleet.tiers[0]
    assert wake_changed(tier, is_open)(fleet) is None
    assert wake_changed(tier, too_dear)(fleet) is None
    assert wake_changed(tier, is_closed)(fleet) == "the gate has opened meanwhile"
    assert wake_changed(tier, is_open)(shut) == "the gate has closed meanwhile"


@pytest.fixture
def reserved(tmp_path: Path) -> FleetWorld:
    """A gate that a reset would open two ticks later: until then another reset is possible."""
    world = fleet_world(tmp_path, limit="0.60", minutes=7)
    world.clock.advance(-58)
    return world


def added(world: FleetWorld) -> list[str]:
    with world.database.read() as session:
        return [row.reason for row in session.exec(select(Allowance)).all()]


@pytest.mark.parametrize(
    ("happens", "says", "reasons"),
    [
        (
            lambda world: world.service.reset_gate(50 * 10**9, "another's"),
            "today's limit is $50.60 now, no longer $0.60: close this",
            ["another's"],
        ),
        (lambda world: world.clock.advance(16 * 3600), "2026-11-24 is over, and its limit with it: close this", []),
        (
            lambda world: world.service.close_gate("leak"),
            "the gate is closed as reserved, manual now, no longer as reserved: close this",
            [],
        ),
    ],
)
async def test_a_reset_is_of_the_limit_that_was_seen(
    reserved: FleetWorld, tmp_path: Path, happens: Callable[[FleetWorld], object], says: str, reasons: list[str]
) -> None:
    async with app_of(reserved, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await asked(pilot, "r", ResetDialog, amount="50", reason="launch")
        happens(reserved)
        await refused(pilot, app, says)
    assert added(reserved) == reasons


def test_what_is_spent_meanwhile_is_no_other_question(reserved: FleetWorld) -> None:
    before = reserved.service.fleet()
    why_changed = reset_changed(before, FLEET, reserved.settings.gate_policy.zone)
    reserved.clock.advance(58)
    reserved.tick()
    now = reserved.service.fleet()
    assert now.verdict.facts.debits_today_nusd != before.verdict.facts.debits_today_nusd
    assert why_changed(now) is None


async def test_a_reset_that_comes_before_the_next_reading_is_refused_by_the_service(
    reserved: FleetWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.tui.app._READ_EVERY_S", 3600.0)
    async with app_of(reserved, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await asked(pilot, "r", ResetDialog, amount="50", reason="launch")
        app.screen.query_one("#reason", Input).focus()
        reserved.service.reset_gate(50 * 10**9, "another's")
        await asyncio.sleep(0.35)
        await pilot.press("enter")
        await until(pilot, lambda: "gate reset: today's limit is $50.60 now" in text_of(app, "message"))
    assert added(reserved) == ["another's"]


async def test_where_euros_alone_are_spent_euros_are_offered_and_added(tmp_path: Path) -> None:
    euros = frozenset({"h100"})
    world = fleet_world(tmp_path, more='daily = { EUR = "0.05" }', minutes=5, in_euro=euros)
    world.clock.advance(-58)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("r")
        await until(pilot, lambda: "€0.13 of €0.05 spent today" in shown(app))
        app.screen.query_one("#amount", Input).focus()
        await asyncio.sleep(0.35)
        await pilot.press("5", "0", "tab", *"launch")
        await until(pilot, lambda: "ready: adds €50.00; today's limit becomes €50.05. Enter acts" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "GATE OPEN" in text_of(app, "gate"))
    with world.database.read() as session:
        assert [row.scope for row in session.exec(select(Allowance)).all()] == ["EUR"]


@pytest.mark.parametrize("size", [(60, 16), (80, 24)])
async def test_what_was_understood_is_shown_before_enter(
    reserved: FleetWorld, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with app_of(reserved, tmp_path).run_test(size=size) as pilot:
        app = await asked(pilot, "r", ResetDialog)
        amount, reason = (app.screen.query_one(name, Input) for name in ("#amount", "#reason"))
        reason.value = "launch"
        amount.focus()
        narrow, wide = "+{} makes {} today. Enter acts", "adds {}; today's limit becomes {}. Enter acts"
        ready_to = wide if size[0] >= 80 else narrow
        for typed, says in {
            "1000": ready_to.format("$1,000.00", "$1,000.60"),
            "0.001": ready_to.format("$0.001", "$0.601"),
            "1e3": "1e3 is not a number in plain digits",
            "1000.0000000001": "has more than nine decimals",
            "9223372036.8": "at most $9,223,372,036.254775807 can be added",
            "1200": ready_to.format("$1,200.00", "$1,200.60"),
        }.items():
            amount.value = typed
            await until(pilot, lambda says=says: says in hint_of(app))  # type: ignore[misc]
        app.screen.query_one("#act", Button).focus()
        await until(pilot, lambda: "becomes $1,200.60. Tab to the button, then Enter acts" in hint_of(app))


async def test_a_hint_that_grows_pushes_no_button_out(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(60, 16)) as pilot:
        app = await ready(pilot)
        dialog = ResetDialog("Reset the gate", "It costs.\n" * 30, DayLimit("2026-11-24", 10**9, "USD"))
        app.push_screen(dialog)
        await until(pilot, lambda: "Cancel" in shown(app))
        dialog.query_one("#reason", Input).value = "launch"
        dialog.query_one("#amount", Input).value = "1200"
        await until(pilot, lambda: "Tab to the button, then Enter acts" in hint_of(app))
        assert dialog.query_one("#hint", Lines).text.count("\n") == 1
        assert "Cancel" in shown(app).splitlines()[-2]


class Cut(Service):
    """The store goes away right behind the commit: what the next question meets is real."""

    def close_gate(self, reason: str) -> None:
        super().close_gate(reason)
        path = self.settings.path.with_name("mtok.db")
        path.rename(path.with_suffix(".away"))


async def test_what_has_been_done_is_told_as_done_though_the_store_has_gone_since(
    world: FleetWorld, tmp_path: Path
) -> None:
    app = MtokApp(Cut(world.database, world.settings, world.clock, actor="ada"), View("ada"), tmp_path)
    async with app.run_test(size=(120, 24)) as pilot:
        await asked(pilot, "c", ReasonDialog, reason="leak")
        app.screen.query_one("#reason", Input).focus()
        await asyncio.sleep(0.35)
        await pilot.press("enter")
        says = "close of the gate asked; whether a collector leads, to carry it out, is not known"
        await until(pilot, lambda: says in text_of(app, "message"))
        assert app.view.note_is_problem
