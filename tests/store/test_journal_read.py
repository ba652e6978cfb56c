"""The journal, page by page and by what is sought."""

from datetime import timedelta

import pytest

from store.database import Database
from store.journal import note
from store.journal_read import Entry, entries
from tests.conftest import START


@pytest.fixture
def full(database: Database) -> Database:
    """Nine entries, a minute apart."""
    with database.write() as session:
        for number in range(9):
            at = START + timedelta(minutes=number)
            note(session, at, "ada" if number % 2 else "Bob", "gate close", f"tier{number}", f"100% of {number}_x")
    return database


def read(database: Database, count: int, **how: object) -> tuple[Entry, ...]:
    with database.read() as session:
        return entries(session, count, **how)  # type: ignore[arg-type]


def test_pages_follow_each_other_without_a_gap(full: Database) -> None:
    first = read(full, 4)
    second = read(full, 4, before_id=first[-1].id)
    last = read(full, 4, before_id=second[-1].id)
    assert [one.subject for one in (*first, *second, *last)] == [f"tier{number}" for number in range(8, -1, -1)]


def test_any_field_is_searched_in_either_case(full: Database) -> None:
    assert {one.actor for one in read(full, 9, text="bOB")} == {"Bob"}
    assert [one.subject for one in read(full, 9, text="TIER3")] == ["tier3"]
    assert len(read(full, 9, text="gate")) == 9
    assert read(full, 9, text="nobody") == ()


def test_signs_of_the_search_language_are_letters_like_any_other(full: Database) -> None:
    assert len(read(full, 9, text="100%")) == 9
    assert [one.subject for one in read(full, 9, text="5_")] == ["tier5"]
    assert read(full, 9, text="1%0") == ()


def test_a_past_instant_has_no_later_entry(full: Database) -> None:
    assert [one.subject for one in read(full, 2, until=START + timedelta(minutes=4))] == ["tier4", "tier3"]
