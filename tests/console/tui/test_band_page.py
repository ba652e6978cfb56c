"""The screen of the band: each hour beside the published figures, and the price that a margin needs."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.tui.app import MtokApp
from console.tui.render.band import price_nusd, where
from console.tui.screens.band import BandPage
from console.tui.widgets.line_table import LineTable
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, read_csv, ready, shown, text_of, until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FleetWorld:
    """Ticks of three hours, a quarter of an hour apart."""
    made = fleet_world(tmp_path_factory.mktemp("world"))
    for _ in range(12):
        made.tick()
        made.clock.advance(14 * 60)
    made.clock.advance(-58)
    return made


async def band_page(pilot: Pilot[None]) -> MtokApp:
    """The app with the band in front, once it has been read."""
    app = await ready(pilot)
    await pilot.press("3")
    await until(pilot, lambda: isinstance(app.page, BandPage) and "Mtok OUT against" in text_of(app, "detail"))
    return app


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_quantiles_the_chart_and_the_band_are_in_sight(
    world: FleetWorld, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with app_of(world, tmp_path).run_test(size=size) as pilot:
        screen = shown(await band_page(pilot))
        for text in ("TIER", "BAND", "HOURS", "UNKNOWN", "p10", "MEDIAN", "p90", "PRICE 30%"):
            assert text in screen
        assert "h100: $/Mtok OUT against utilisation" in screen
        assert "published band $0.30-$0.70 (reference, not ours)" in screen
        assert "price for 30 % margin over the median hour" in screen
        assert "utilisation: no capacity known" in screen
        assert "…" not in screen


async def test_a_small_screen_still_has_the_median_and_the_price(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(60, 16)) as pilot:
        app = await band_page(pilot)
        for text in ("TIER", "MEDIAN", "PRICE 30%"):
            assert text in shown(app)
        assert all(len(row) < 60 for row in text_of(app, "detail").splitlines())


async def test_keys_change_the_margin_the_tier_and_the_days(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await band_page(pilot)
        assert "1 d, " in text_of(app, "detail")
        assert " h: no complete tick" in text_of(app, "detail")
        await pilot.press("m")
        await until(pilot, lambda: "PRICE 40%" in shown(app))
        assert "price for 40 % margin" in text_of(app, "detail")
        await pilot.press("m", "m", "down")
        await until(pilot, lambda: "PRICE 0%" in shown(app))
        await until(pilot, lambda: text_of(app, "detail").startswith(" l40"))
        await pilot.press("left_square_bracket", "left_square_bracket")
        await until(pilot, lambda: "7 d, " in text_of(app, "detail"))
        await pilot.press("1")
        await until(pilot, lambda: app.page.NAME == "Fleet")
        await until(pilot, lambda: app.page.query_one(LineTable).key == "l40")


async def test_a_tier_without_an_hour_has_no_quantiles(tmp_path: Path) -> None:
    world = fleet_world(tmp_path)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await band_page(pilot)
        assert "no quantiles of 1 d" in text_of(app, "detail")
        row = next(row for row in shown(app).splitlines() if row.startswith("h100"))
        assert "—" in row
        assert "$0" not in row


async def test_the_rows_of_an_export_are_made_away_from_the_screen(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        exported = (await band_page(pilot)).page.exported()
        assert exported is not None
        assert callable(exported.rows)


async def test_the_export_has_a_row_an_hour(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await band_page(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "exported: " in text_of(app, "message"))
    rows = read_csv(tmp_path, "mtok-band-*.csv")
    assert {row["tier"] for row in rows} == {"h100", "l40", "a100"}
    assert len(rows) >= 72
    known = [row for row in rows if row["tier"] == "h100" and row["per_mtok_output"]]
    assert known
    assert all(len(row["per_mtok_output"].partition(".")[2]) == 9 for row in known)
    assert all(row["unknown"] for row in rows if not row["per_mtok_output"])


@pytest.mark.parametrize(("margin", "price"), [(0, 700), (30, 1000), (50, 1400)])
def test_the_price_leaves_its_margin(margin: int, price: int) -> None:
    assert price_nusd(700, margin) == price


def test_an_amount_lies_below_inside_or_above_the_published_band() -> None:
    found = [where(value) for value in (299_999_999, 300_000_000, 700_000_000, 700_000_001)]
    assert found == ["below", "inside", "inside", "above"]
