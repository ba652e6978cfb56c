"""The screen of one tier: what matters is in sight at 80x24, the rest under it, and what is not known is said."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.tui.app import MtokApp
from console.tui.screens.fleet import FleetPage
from console.tui.screens.tier import TierPage
from console.tui.widgets.line_table import LineTable
from console.tui.widgets.lines import Lines
from store.phases import OperationKind
from store.tables import OperationPhase, OperationRow
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, read_csv, ready, shown, text_of, until

HEADINGS = ("WINDOW", "SPEND", "$/Mtok OUT", "$/Mtok ALL", "UTIL")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FleetWorld:
    """Eight minutes of a fleet in which l40 is asleep, and a wake of h100 before; nobody changes it."""
    made = fleet_world(tmp_path_factory.mktemp("world"))
    made.asleep = frozenset({"l40"})
    for _ in range(8):
        made.tick()
    made.clock.advance(-58)
    keep_wake(made)
    return made


async def tier_page(pilot: Pilot[None]) -> MtokApp:
    """The app with the tier's screen in front, once it has been read."""
    app = await ready(pilot)
    await pilot.press("2")
    await until(pilot, lambda: isinstance(app.page, TierPage) and "TOKENS OUT" in text_of(app, "tier"))
    return app


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_chart_figures_and_service_are_in_sight_and_nothing_is_clipped(
    world: FleetWorld, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with app_of(world, tmp_path).run_test(size=size) as pilot:
        app = await tier_page(pilot)
        screen = shown(app)
        for text in ("h100", "● serving", "$/Mtok OUT 1h by 5 min", "published band", *HEADINGS, "since 08:00"):
            assert text in screen
        assert "requests" in screen
        assert "…" not in screen
        assert "█" in screen
        assert all(len(row) <= size[0] for row in text_of(app, "tier").splitlines())


async def test_a_wide_screen_has_bills_as_stated_and_past_wakes_with_their_phases(
    world: FleetWorld, tmp_path: Path
) -> None:
    async with app_of(world, tmp_path).run_test(size=(120, 40)) as pilot:
        app = await tier_page(pilot)
        screen = shown(app)
        for part in ("SERVICE", "INSTANCES AND VOLUMES", "instance 8429", "TOKENS OUT", "TOKENS IN"):
            assert part in screen
        for part in (
            "bill usage:vm:8429",
            "10.266666666 USD",
            "moved 11-24 08:07:00",
            "every 60 s",
            "opened with $10.03",
        ):
            assert part in screen
        for part in (
            "WAKES (1)  median 4:40 min  worst 4:40 min",
            "running",
            "+95.0 s",
            "by bob@192.0.2.9",
            "morning",
        ):
            assert part in screen


async def test_a_small_screen_scrolls_to_the_rest(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(60, 16)) as pilot:
        app = await tier_page(pilot)
        assert "…" not in shown(app).partition("INSTANCES")[0].partition("\n")[2]
        assert "WAKES" not in shown(app)
        await pilot.press("end")
        await until(pilot, lambda: "first_token +10.0 s" in shown(app))


async def test_the_arrows_turn_to_the_next_tier_and_esc_goes_back_to_it(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await tier_page(pilot)
        await pilot.press("right")
        await until(pilot, lambda: text_of(app, "tier").startswith(" l40") and "TOKENS" in text_of(app, "tier"))
        assert "○ asleep" in shown(app)
        assert "no tokens" in shown(app)
        await pilot.press("left", "left")
        await until(pilot, lambda: text_of(app, "tier").startswith(" a100"))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.page, FleetPage))
        assert app.page.query_one(LineTable).key == "a100"
        assert app.view.chosen is not None
        assert app.view.chosen.spec.name == "a100"


async def test_what_is_not_known_is_said_with_its_reason(tmp_path: Path) -> None:
    world = fleet_world(tmp_path)
    for problem in (None, None, *["HTTP 503"] * 6):
        world.tick(problem)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await tier_page(pilot)
        text = text_of(app, "tier")
        assert "HTTP 503" in text
        assert "·" in text
        assert " — " in shown(app)


async def test_the_export_has_the_points_of_its_window_exactly(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await tier_page(pilot)
        assert app.page.row_text().startswith("h100 5m")
        question = app.page.question()
        assert question is not None
        assert question(app.service) is question(app.service)  # read again only when something changed
        await pilot.press("e")
        await until(pilot, lambda: "exported: " in text_of(app, "message"))
        await pilot.press("right_square_bracket", "right_square_bracket")
        await until(pilot, lambda: "$/Mtok OUT 24h by" in text_of(app, "tier"))
    rows = read_csv(tmp_path, "mtok-tier-h100-*.csv")
    assert len(rows) == 12
    assert rows[0]["unknown"]
    assert rows[-1]["spend"].partition(".")[2] in ("166666666", "166666667")
    assert rows[-1]["per_mtok_output"].startswith("0.59")


async def test_a_fleet_without_tiers_says_what_to_do(tmp_path: Path) -> None:
    world = fleet_world(tmp_path)
    world = replace(world, settings=world.settings.model_copy(update={"tiers": ()}))
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await ready(pilot, tiers=0)
        await until(pilot, lambda: app.view.fleet is not None)
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.page, TierPage))
        await until(pilot, lambda: "no tier is named" in app.page.query_one("#tier", Lines).text)
        await pilot.press("right", "e")
        await until(pilot, lambda: "nothing to write yet" in text_of(app, "message"))


def keep_wake(world: FleetWorld) -> None:
    """A wake that ended before our time."""
    at = world.clock.now() - timedelta(hours=1)
    took = {"provider": 2, "accepted": 3, "running": 98, "loaded": 250, "leased": 270, "first_token": 280}
    with world.database.write() as session:
        row = OperationRow(
            tier="h100",
            kind=OperationKind.WAKE,
            actor="bob@192.0.2.9",
            reason="morning",
            seen="x",
            requested_at=at,
            phase="done",
            phase_at=at,
            outcome="done",
            finished_at=at + timedelta(seconds=280),
        )
        session.add(row)
        session.flush()
        assert row.id is not None
        for phase, seconds in {"requested": 0, **took}.items():
            session.add(OperationPhase(operation_id=row.id, phase=phase, at=at + timedelta(seconds=seconds)))
