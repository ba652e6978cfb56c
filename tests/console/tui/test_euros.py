"""A tier that is billed in euro says so on every screen; a dollar sign stands before dollars alone."""

import asyncio
from pathlib import Path

import pytest

from console.export.gate_table import COLUMNS, gate_rows
from console.tui.render.series import output_chart
from store.points import Point
from store.unknown import Unknown
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.screen import app_of, read_csv, ready, shown, text_of, until

pytestmark = pytest.mark.xdist_group("an-hour-in-euro")  # one worker tells it


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    """An hour and more of `h100` in euro and of the others in dollars."""
    made = fleet_world(tmp_path, more='daily = { EUR = "100" }', minutes=75, in_euro=frozenset({"h100"}))
    made.clock.advance(-58)
    return made


async def test_the_tier_and_its_chart_are_in_euro(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("2")
        await until(pilot, lambda: "EUR/Mtok OUT" in text_of(app, "tier"))
        text = text_of(app, "tier")
        for part in ("€2.00/h quoted", "states 12", " EUR", "€2.4667 since first seen"):
            assert part in text
        above, _, figures = text.partition("WINDOW")
        assert "$" not in above
        assert "published" not in above
        assert "€" in figures
        assert "$" not in figures.replace("$/Mtok", "")
        await pilot.press("e")
        await until(pilot, lambda: "exported: " in text_of(app, "message"))
        rows = await asyncio.to_thread(read_csv, tmp_path, "mtok-tier-h100-*.csv")
        assert {row["currency"] for row in rows} <= {"EUR", ""}
        assert any(row["currency"] == "EUR" for row in rows)


async def test_the_band_compares_no_euro_with_published_dollars(world: FleetWorld, tmp_path: Path) -> None:
    async with app_of(world, tmp_path).run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("3")
        await until(pilot, lambda: "EUR/Mtok OUT against" in text_of(app, "detail"))
        detail = text_of(app, "detail")
        assert "€" in detail
        assert "$" not in detail
        assert "published" not in detail
        (row,) = [row for row in shown(app).splitlines() if row.startswith("h100")]
        assert "—" in row
        await pilot.press("j")
        await until(pilot, lambda: "l40: $/Mtok OUT against" in text_of(app, "detail"))
        assert "the published band" in text_of(app, "detail")


async def test_the_gate_has_each_currency_with_its_limit_bound_and_allowance(
    world: FleetWorld, tmp_path: Path
) -> None:
    async with app_of(world, tmp_path).run_test(size=(120, 60)) as pilot:
        app = await ready(pilot)
        assert "€2.4667 of €100.00" in shown(app)
        await pilot.press("4")
        await until(pilot, lambda: "LIMITS OF THEIR OWN" in text_of(app, "gate-text"))
        rows = text_of(app, "gate-text").splitlines()
        (limit,) = [row for row in rows if row.strip().startswith("EUR ")]
        assert limit.count("€") == 4
        (term,) = [row for row in rows if "usage:vm:8429" in row]
        assert "€2.00" in term
        assert any(row.strip().startswith("beyond that in EUR") and "€" in row for row in rows)


def test_an_allowance_in_euro_is_no_dollars(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, more='daily = { EUR = "0.05" }', minutes=5, in_euro=frozenset({"h100"}))
    service = world.service
    service.reset_gate(5 * 10**9, "launch", currency="EUR")
    verdict, _ = service.verdict()
    rows = gate_rows(
        verdict, {"USD": 0, "EUR": Unknown("no")}, service.budget_curve(24), service.verdict_changes(5)
    )
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    (given,) = [row for row in found if row["kind"] == "allowance"]
    assert (given["scope"], given["name"], given["value"]) == ("EUR", "eur", "5.000000000")
    limits = {row["scope"]: (row["name"], row["value"]) for row in found if row["name"].startswith("limit_")}
    assert limits["EUR"] == ("limit_eur", "5.050000000")
    assert limits["account"] == ("limit_usd", "200.000000000")
    bounds = {row["name"]: row["scope"] for row in found if row["name"].startswith("overspend")}
    assert bounds == {"overspend_bound_usd": "account", "overspend_bound_eur": "EUR"}


def test_what_was_billed_in_dollars_has_no_place_on_an_axis_of_euros(world: FleetWorld) -> None:
    points: list[Point] = list(world.service.points("a100", "1h", 4))
    text = "\n".join("".join(span.text for span in row) for row in output_chart("1h", points, 80, 8, "EUR"))
    assert "billed in USD" in text
    assert "$" not in text


async def test_nothing_is_known_of_euros_before_the_first_complete_tick(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, more='daily = { EUR = "100" }')
    async with app_of(world, tmp_path).run_test(size=(120, 60)) as pilot:
        app = await ready(pilot)
        assert "— of €100.00" in text_of(app, "gate")
        await pilot.press("4")
        await until(pilot, lambda: "LIMITS OF THEIR OWN" in text_of(app, "gate-text"))
        (limit,) = [row for row in text_of(app, "gate-text").splitlines() if row.strip().startswith("EUR ")]
        assert "€0" not in limit
