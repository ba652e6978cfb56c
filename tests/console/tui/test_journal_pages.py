"""What a screen holds of the journal: all of it in time, none of it twice."""

from datetime import timedelta
from pathlib import Path

import pytest

from console.service import Service
from console.tui.journal_pages import PAGE_ENTRIES, Held, follow
from store.journal import note
from tests.console.fleet_world import START, FleetWorld, fleet_world


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    return fleet_world(tmp_path)


def write(world: FleetWorld, count: int, detail: str = "hay") -> None:
    with world.database.write() as session:
        for n in range(count):
            note(session, START + timedelta(seconds=n), "ada", "gate close", "gate", detail)


def ids(held: Held) -> list[int]:
    return [entry.id for entry in held.entries]


def newest(service: Service, before: Held | None, text: str = "") -> Held:
    return follow(service, before, text, None, wants_older=False)


def test_what_has_not_changed_is_the_same_object(world: FleetWorld) -> None:
    service = world.service
    empty = newest(service, None)
    assert (empty.entries, empty.is_whole) == ((), True)
    assert newest(service, empty) is empty
    write(world, 3)
    three = newest(service, empty)
    assert ids(three) == [3, 2, 1]
    assert newest(service, three) is three


def test_older_entries_follow_until_there_are_none(world: FleetWorld) -> None:
    write(world, 2 * PAGE_ENTRIES)
    held = newest(world.service, None)
    assert (len(held.entries), held.is_whole) == (PAGE_ENTRIES, False)
    for _ in range(3):
        held = follow(world.service, held, "", None, wants_older=True)
    assert ids(held) == list(range(2 * PAGE_ENTRIES, 0, -1))
    assert held.is_whole
    assert follow(world.service, held, "", None, wants_older=True) is held


def test_newer_entries_come_before_those_that_are_held(world: FleetWorld) -> None:
    write(world, PAGE_ENTRIES + 50)
    held = follow(world.service, newest(world.service, None), "", None, wants_older=True)
    write(world, 7)
    held = newest(world.service, held)
    assert ids(held) == list(range(PAGE_ENTRIES + 57, 0, -1))
    assert held.is_whole


def test_more_than_a_page_of_newer_entries_begins_anew(world: FleetWorld) -> None:
    write(world, 5)
    held = newest(world.service, None)
    write(world, PAGE_ENTRIES)
    held = newest(world.service, held)
    assert (len(held.entries), held.is_whole) == (PAGE_ENTRIES, False)
    held = follow(world.service, held, "", None, wants_older=True)
    assert ids(held) == list(range(PAGE_ENTRIES + 5, 0, -1))


def test_a_filter_holds_what_it_finds_and_what_is_written_meanwhile(world: FleetWorld) -> None:
    write(world, 5)
    write(world, 2, "Needle")
    held = newest(world.service, newest(world.service, None), "needle")
    assert ids(held) == [7, 6]
    write(world, 1)
    write(world, 1, "needle")
    assert ids(newest(world.service, held, "needle")) == [9, 7, 6]


def test_a_past_minute_holds_nothing_of_later(world: FleetWorld) -> None:
    write(world, 10)
    held = follow(world.service, None, "", START + timedelta(seconds=4), wants_older=False)
    assert ids(held) == [5, 4, 3, 2, 1]
