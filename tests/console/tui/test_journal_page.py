"""The Journal screen as an engineer uses it."""

import asyncio
import csv
from datetime import timedelta
from pathlib import Path

from rich.cells import cell_len
from textual.pilot import Pilot

from console.tui.app import MtokApp
from console.tui.journal_pages import PAGE_ENTRIES
from console.tui.screens.journal import JournalPage
from console.tui.widgets.line_table import LineTable
from store.journal import note
from store.operations import finish, request, seen_state
from store.phases import OperationKind, OperationOutcome
from tests.console.fleet_world import START, FleetWorld, fleet_world
from tests.console.tui.screen import app_of, ready, shown, text_of, until


def with_entries(folder: Path, count: int) -> FleetWorld:
    """A world with a tick, and `count` entries, of which every hundredth is about a needle."""
    world = fleet_world(folder)
    world.tick()
    world.clock.advance(-58)
    with world.database.write() as session:
        for n in range(count):
            about = "needle" if n % 100 == 0 else "hay"
            note(session, START + timedelta(seconds=n), "ada@192.0.2.7", "gate close", "gate", f"{about} {n}")
    return world


def rows(app: MtokApp) -> int:
    return app.page.query_one(LineTable).row_count


async def journal_page(pilot: Pilot[None], entries: int) -> MtokApp:
    """The app once it shows that many entries."""
    app = await ready(pilot)
    await pilot.press("6")
    await until(pilot, lambda: isinstance(app.page, JournalPage) and rows(app) == entries)
    return app


async def test_an_empty_journal_says_so_and_is_not_sorted(tmp_path: Path) -> None:
    world = fleet_world(tmp_path)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await journal_page(pilot, 0)
        await until(pilot, lambda: "nothing has been journaled yet" in shown(app))
        for heading in ("WHEN", "WHO", "WHAT", "SUBJECT", "REASON, OUTCOME"):
            assert heading in shown(app)
        await pilot.press("s")
        assert "sort" not in text_of(app, "message")
        assert "s Sort" not in shown(app)
        await pilot.press("slash")
        await until(pilot, lambda: "in the whole journal" in shown(app))


async def test_the_entries_are_there_again_for_who_comes_back(tmp_path: Path) -> None:
    world = with_entries(tmp_path, 3)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await journal_page(pilot, 4)
        await pilot.press("1")
        await until(pilot, lambda: app.page.NAME == "Fleet")
        await journal_page(pilot, 4)
        await until(pilot, lambda: "hay 2" in shown(app))


async def test_a_cursor_on_the_newest_entry_stays_on_the_newest_and_one_below_stays_in_sight(
    tmp_path: Path,
) -> None:
    world = with_entries(tmp_path, 30)

    def comes(n: int) -> None:
        with world.database.write() as session:
            note(session, START + timedelta(hours=1, seconds=n), "bob", "gate open", "gate", f"news {n}")

    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await journal_page(pilot, 31)
        table = app.page.query_one(LineTable)
        comes(1)
        await until(pilot, lambda: "news 1" in text_of(app, "detail"))
        assert table.key == table._entries[0].key
        await pilot.press("down")
        await until(pilot, lambda: "news 1" not in text_of(app, "detail"))
        below = text_of(app, "detail")
        for n in range(2, 40):
            comes(n)
        await until(pilot, lambda: rows(app) == 70)
        await until(pilot, lambda: 0 < table._row - table.scroll_offset.y + 1 < table.size.height)
        assert text_of(app, "detail") == below


async def test_esc_goes_back_one_step_at_a_time(tmp_path: Path) -> None:
    world = with_entries(tmp_path, 3)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await journal_page(pilot, 4)
        table = app.page.query_one(LineTable)
        await pilot.press("slash")
        await until(pilot, lambda: text_of(app, "keys").strip() == "Enter Keep  Esc Clear")
        await pilot.press("escape")  # from a filter that holds nothing
        await until(pilot, lambda: table.has_focus)
        await pilot.press("enter")  # into the entry, and back
        await until(pilot, lambda: not table.has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: table.has_focus)
        assert app.page.NAME == "Journal"
        await pilot.press("escape")
        await until(pilot, lambda: app.page.NAME == "Fleet")


async def test_a_second_that_passes_while_the_screens_close_breaks_nothing(tmp_path: Path) -> None:
    world = with_entries(tmp_path, 3)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await journal_page(pilot, 4)
        await app.page.query_one(LineTable).remove()
        app.read()
        await until(pilot, lambda: "hay" not in shown(app))


async def test_the_cursor_on_the_last_entry_brings_older_ones_until_there_are_none(tmp_path: Path) -> None:
    world = with_entries(tmp_path, 999)  # and the first verdict
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await journal_page(pilot, PAGE_ENTRIES)
        assert "hay 998" in shown(app)
        await pilot.press("e")
        await until(pilot, lambda: "exported: " in text_of(app, "message"))
        (path,) = await asyncio.to_thread(lambda: list(tmp_path.glob("mtok-journal-*.csv")))
        assert (
            len(await asyncio.to_thread(lambda: path.read_text().splitlines())) == 1001
        )  # what no screen has read too
        for held in (2, 3, 4, 5):
            await pilot.press("end")
            await until(pilot, lambda held=held: rows(app) == held * PAGE_ENTRIES)  # type: ignore[misc]
        await pilot.press("end")
        await until(pilot, lambda: "unobserved → open" in shown(app))
        assert rows(app) == 1000
        with world.database.write() as session:
            note(session, world.clock.now(), "bob", "gate open", "gate", "newest of all")
        app.read()
        await until(pilot, lambda: rows(app) == 1001)
        await pilot.press("home")
        assert "newest of all" in text_of(app, "detail")


async def test_a_filter_goes_over_the_whole_journal_and_esc_clears_it(tmp_path: Path) -> None:
    world = with_entries(tmp_path, 999)
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await journal_page(pilot, PAGE_ENTRIES)
        await pilot.press("slash", *"Needle")
        assert "looking…" in shown(app)
        await until(pilot, lambda: rows(app) == 10)
        assert "filter: Needle   10 found; Esc clears it" in shown(app)
        assert "needle 0" in shown(app)
        await pilot.press("enter", "e")
        await until(pilot, lambda: "exported: " in text_of(app, "message"))
        await pilot.press("escape")
        await until(pilot, lambda: rows(app) == PAGE_ENTRIES)
        await pilot.press("slash", *"nowhere", "enter")
        await until(pilot, lambda: "nothing in it has that in it" in shown(app))
        (path,) = await asyncio.to_thread(lambda: list(tmp_path.glob("mtok-journal-*.csv")))
        found = list(csv.DictReader(await asyncio.to_thread(lambda: path.read_text().splitlines())))
    assert [row["detail"] for row in found] == [f"needle {n}" for n in range(900, -1, -100)]
    assert found[-1]["at"] == "2026-11-24T08:00:00Z"


async def test_an_entry_is_whole_below_with_its_operation_and_obeys_nobody(tmp_path: Path) -> None:
    world = with_entries(tmp_path, 0)
    nasty = "\x1b[2J[bold]漢字[/bold] " + "reason " * 30
    with world.database.write() as session:
        now, kind = world.clock.now(), OperationKind.HIBERNATE
        seen = seen_state(session, "h100")
        row = request(session, now, kind, "h100", actor="ada@192.0.2.7", reason=nasty, seen=seen)
        session.flush()
        finish(session, row, OperationOutcome.FAILED, now + timedelta(seconds=90), "HTTP 500")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await journal_page(pilot, 3)
        await until(pilot, lambda: "failed after 90 s: HTTP 500" in text_of(app, "detail"))
        assert "ada from 192.0.2.7" in text_of(app, "detail")
        await pilot.press("j")
        await until(pilot, lambda: "hibernate asked: h100" in text_of(app, "detail"))
        assert text_of(app, "detail").count("reason") >= 30
        assert "\x1b" not in shown(app)
        assert max(map(cell_len, text_of(app, "detail").splitlines())) <= 80
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "FROM" in shown(app) and "192.0.2.7" in shown(app))


async def test_what_an_operation_cost_comes_with_the_tick_after_it(tmp_path: Path) -> None:
    world = with_entries(tmp_path, 0)
    with world.database.write() as session:
        now, seen = world.clock.now(), seen_state(session, "h100")
        row = request(session, now, OperationKind.HIBERNATE, "h100", actor="ada", reason="night", seen=seen)
        session.flush()
        finish(session, row, OperationOutcome.DONE, now + timedelta(seconds=20), "")
    async with app_of(world, tmp_path).run_test(size=(80, 24)) as pilot:
        app = await journal_page(pilot, 3)
        await until(pilot, lambda: "(no complete tick since it ended)" in text_of(app, "detail"))
        world.clock.advance(58)
        world.tick()
        app.read()
        await until(pilot, lambda: "cost      $" in text_of(app, "detail"))
