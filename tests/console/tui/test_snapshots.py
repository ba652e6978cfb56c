"""Every screen in every state, as pictures at a fixed clock. A change of one is looked at before it is kept:
`pytest --snapshot-update tests/console/tui/test_snapshots.py`.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from console.tui.keys import PAGES
from store.gate import Reason
from tests.console.fleet_world import TIERS, FleetWorld
from tests.console.tui.picture_world import (
    after_one_tick,
    clock_set_back,
    closed,
    closed_for_all,
    dark,
    dead,
    healthy,
    one_provider_dark,
    over_its_own_limit,
    picture_world,
    unknown,
    without_tiers,
)
from tests.console.tui.pictures import Pictures, compare_pages, go_to, go_to_end, read_again, settled
from tests.console.tui.screen import app_of, ready, until

SMALL = (80, 24)
STATES: dict[str, Callable[[Path], FleetWorld]] = {
    "dark": dark,
    "dead": dead,
    "without-tiers": without_tiers,
    "without-tick": picture_world,
    "one-tick": after_one_tick,
    "unknown": unknown,
}
OTHERWISE: dict[str, Callable[[Path], FleetWorld]] = {
    "many-reasons": closed_for_all,
    "one-tier": over_its_own_limit,
    "one-provider": one_provider_dark,
    "clock-set-back": clock_set_back,
}
ONE_WORKER = pytest.mark.xdist_group("healthy-fleet")  # which tells it once
SILENT_S = 152  # told as 3 min, on a machine that is up to 55 s late too


@pytest.fixture
def pictures(snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> Pictures:
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Pictures(snapshot)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FleetWorld:
    """A healthy one; nobody changes it."""
    return healthy(tmp_path_factory.mktemp("healthy"))


@ONE_WORKER
@pytest.mark.parametrize("size", [SMALL, (120, 40)], ids=lambda size: "x".join(map(str, size)))
async def test_a_healthy_fleet(
    world: FleetWorld, tmp_path: Path, pictures: Pictures, size: tuple[int, int]
) -> None:
    async with app_of(world, tmp_path).run_test(size=size) as pilot:
        await ready(pilot)
        await compare_pages(pilot, pictures)
        if size == SMALL:
            for page in ("Tier", "Gate", "Help"):  # what is scrolled to
                await go_to(pilot, page)
                await go_to_end(pilot)
                pictures.compare(f"{page.lower()}-end", await settled(pilot))
    pictures.assert_as_kept()


@ONE_WORKER
async def test_a_console_that_may_only_look(world: FleetWorld, tmp_path: Path, pictures: Pictures) -> None:
    async with app_of(world, tmp_path, is_read_only=True).run_test(size=SMALL) as pilot:
        await ready(pilot)
        await compare_pages(pilot, pictures)
    pictures.assert_as_kept()


@pytest.mark.parametrize("state", STATES)
async def test_a_state(tmp_path: Path, pictures: Pictures, state: str) -> None:
    world = STATES[state](tmp_path)
    async with app_of(world, tmp_path).run_test(size=SMALL) as pilot:
        app = await ready(pilot, len(world.settings.tiers))
        await until(pilot, lambda: app.view.fleet is not None)
        await compare_pages(pilot, pictures)
        if state == "unknown":
            await compare_tiers(pilot, pictures)
    pictures.assert_as_kept()


async def compare_tiers(pilot: Pilot[None], pictures: Pictures) -> None:
    """The tiers after the first one."""
    await go_to(pilot, "Tier")
    for name, *_ in TIERS[1:]:
        await pilot.press("right")
        pictures.compare(f"tier-{name}", await settled(pilot))


async def test_a_store_that_has_stopped_answering(tmp_path: Path, pictures: Pictures) -> None:
    world = dark(tmp_path)
    async with app_of(world, tmp_path).run_test(size=SMALL) as pilot:
        app = await ready(pilot)
        for page in PAGES:
            await go_to(pilot, page)
            await read_again(pilot)
        with world.database.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE ticks RENAME TO gone")
        await until(pilot, lambda: app.view.problem is not None)
        app.view.read_s = time.monotonic() - SILENT_S
        await compare_pages(pilot, pictures)
    pictures.assert_as_kept()


@pytest.mark.parametrize("reason", Reason)
async def test_a_gate_that_is_closed(tmp_path: Path, pictures: Pictures, reason: Reason) -> None:
    world = closed(tmp_path, reason)
    pages = PAGES if reason is Reason.EXHAUSTED else ("Fleet", "Gate")
    async with app_of(world, tmp_path).run_test(size=SMALL) as pilot:
        app = await ready(pilot)
        assert app.view.fleet is not None
        assert app.view.fleet.verdict.reasons == (reason,)
        await compare_pages(pilot, pictures, pages)
    pictures.assert_as_kept()


@pytest.mark.parametrize("how", OTHERWISE)
async def test_a_gate_that_is_closed_otherwise(tmp_path: Path, pictures: Pictures, how: str) -> None:
    async with app_of(OTHERWISE[how](tmp_path), tmp_path).run_test(size=SMALL) as pilot:
        await ready(pilot)
        await pilot.press("down")  # to the tier that has a limit of its own
        await compare_pages(pilot, pictures, ("Fleet", "Tier", "Gate"))
    pictures.assert_as_kept()
