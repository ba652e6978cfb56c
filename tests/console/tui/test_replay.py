"""A past minute, and time that stands still: what is shown is of one instant, and what is asked for comes."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from console.service import Service
from console.tui.keys import PAGES
from console.tui.screens.tier import TierPage
from store.errors import StoreUnreachable
from store.fleet_view import Fleet
from tests.console.fleet_world import FleetWorld
from tests.console.tui.screen import app_of, ready, shown, text_of, until


class Held(Service):
    """Its first reading is under way until `goes_on`, and `fails` then."""

    def __init__(self, world: FleetWorld, *, fails: bool) -> None:
        super().__init__(world.database, world.settings, world.clock, actor="ada")
        self.begun, self.goes_on, self._fails = threading.Event(), threading.Event(), fails

    def fleet(self) -> Fleet:
        is_first = not self.begun.is_set()
        self.begun.set()
        assert self.goes_on.wait(30)
        if is_first and self._fails:
            raise StoreUnreachable("sqlite", "gone")
        return super().fleet()


async def test_a_step_of_a_paused_replay_takes_the_figures_along(world: FleetWorld, tmp_path: Path) -> None:
    app = app_of(world, tmp_path)
    app.view.at = world.clock.now() - timedelta(minutes=2)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        assert "08:04:02 UTC" in text_of(app, "header")
        await pilot.press("p", "left_square_bracket")
        await until(pilot, lambda: "08:04:00 UTC" in text_of(app, "header"))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "08:03:00 UTC" in text_of(app, "header"))
        assert "PAUSED" in text_of(app, "header")
        assert app.view.fleet is not None
        assert app.view.fleet.at == app.view.at


async def test_a_replay_turns_the_window_by_keys_of_its_own(world: FleetWorld, tmp_path: Path) -> None:
    app = app_of(world, tmp_path)
    app.view.at = world.clock.now() - timedelta(minutes=2)
    async with app.run_test(size=(160, 24)) as pilot:
        await ready(pilot)
        assert "{ } 5m  [ ] Step" in text_of(app, "keys")
        await pilot.press("right_curly_bracket")
        await until(pilot, lambda: "IN 1h" in shown(app) and "{ } 1h" in text_of(app, "keys"))
        assert "08:04:02 UTC" in text_of(app, "header")
        await pilot.press("4")
        await until(pilot, lambda: app.page.NAME == "Gate" and "[ ] Step" in text_of(app, "keys"))
        assert "{ }" not in text_of(app, "keys")


async def test_a_screen_without_a_window_offers_none_and_turns_none(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(160, 24)) as pilot:
        app = await ready(pilot)
        for key, name, has in zip("1234567", PAGES, (True, True, True, False, False, False, False), strict=True):
            await pilot.press(key)
            await until(pilot, lambda name=name: name == app.page.NAME)  # type: ignore[misc]
            await until(pilot, lambda has=has: ("[ ] 5m" in text_of(app, "keys")) is has)  # type: ignore[misc]
        await pilot.press("right_square_bracket")
        assert app.view.window == "5m"


async def test_the_header_of_a_replay_names_the_minute_of_its_figures(world: FleetWorld, tmp_path: Path) -> None:
    app = app_of(world, tmp_path)
    app.view.at = world.clock.now() - timedelta(minutes=2)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: app._reading_since_s is None)
        app.view.at -= timedelta(minutes=1)  # a step, which has not been read yet
        app.page.show()
        assert "08:04:02 UTC" in text_of(app, "header")


async def test_a_replay_does_not_offer_the_log_of_today(world: FleetWorld, tmp_path: Path) -> None:
    app = app_of(world, tmp_path)
    app.view.at = world.clock.now() - timedelta(minutes=2)
    async with app.run_test(size=(120, 80)) as pilot:
        await ready(pilot)
        await pilot.press("l")
        assert "host logs" not in text_of(app, "message")
        commands = [command.title for command in app.get_system_commands(app.screen)]
        assert "Export" in commands
        assert "Host logs" not in commands
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.page, TierPage) and "SERVICE" in shown(app))
        assert "the log of its host" not in shown(app)
        await pilot.press("question_mark")
        await until(pilot, lambda: "follow its host's log over SSH (not in the past)" in shown(app))


@pytest.mark.parametrize("fails", [False, True])
async def test_who_asks_while_a_reading_is_under_way_is_answered_after_it(
    world: FleetWorld, tmp_path: Path, fails: bool
) -> None:
    app = app_of(world, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("p")
        await until(pilot, lambda: app._reading_since_s is None)
        app.service = held = Held(world, fails=fails)
        app.read_soon()
        await until(pilot, held.begun.is_set)
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.page, TierPage) and "reading" in shown(app))
        held.goes_on.set()
        await until(pilot, lambda: app.page.answer is not None)
