"""Tables as values: filter, order, columns that fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.tui.table import Column, Entry, Sort, aligned, columns_for, filtered, heading, ordered, texts

COLUMNS = (
    Column("name", "NAME", 8, is_number=False, letter="n", stretches=True),
    Column("kind", "KIND", 10, is_number=False, rank=2),
    Column("cost", "COST", 7, letter="c", rank=1),
)


def entry(name: str, cost: int | None = None) -> Entry:
    return Entry(
        name, {"name": name, "kind": "spot", "cost": str(cost)}, {"name": name, "cost": cost}, f"{name} spot"
    )


FLEET = [entry("h100", 3), entry("a100", None), entry("l40", 1)]


@pytest.mark.parametrize(
    ("needle", "names"),
    [
        ("", "h100 a100 l40"),
        ("100", "h100 a100"),
        ("!100", "l40"),
        ("H1 SPOT", "h100"),
        ("x", ""),
        ("!", "h100 a100 l40"),
    ],
)
def test_a_filter_finds_entries_with_all_its_words(needle: str, names: str) -> None:
    assert [one.key for one in filtered(FLEET, needle)] == names.split()


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (None, "h100 a100 l40"),
        (Sort("cost"), "l40 h100 a100"),
        (Sort("cost", is_reverse=True), "h100 l40 a100"),
        (Sort("name"), "a100 h100 l40"),
    ],
)
def test_what_is_not_known_stays_last(sort: Sort | None, names: str) -> None:
    assert [one.key for one in ordered(FLEET, sort)] == names.split()


def test_the_same_key_again_turns_the_order_round() -> None:
    assert Sort("cost").turned("cost") == Sort("cost", is_reverse=True)
    assert Sort("cost", is_reverse=True).turned("name") == Sort("name")


@pytest.mark.parametrize(("width", "keys"), [(80, "name kind cost"), (20, "name cost"), (10, "name"), (1, "name")])
def test_the_least_important_column_is_left_out_first(width: int, keys: str) -> None:
    assert [column.key for column in columns_for(COLUMNS, FLEET, width)] == keys.split()


def test_what_room_is_left_widens_the_column_that_stretches() -> None:
    wide = columns_for(COLUMNS, [entry("a-very-long-name")], 30)
    assert wide[0].width == 13
    assert columns_for(COLUMNS, [entry("a-very-long-name")], 80)[0].width == 17


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), st.integers(2, 20), st.booleans())
def test_a_cell_is_exactly_as_wide_as_its_column(text: str, width: int, is_number: bool) -> None:
    assert cell_len(aligned(text, Column("c", "C", width, is_number=is_number))) == width


def test_the_heading_stands_over_its_cells_and_marks_the_order() -> None:
    above = heading(COLUMNS, Sort("cost", is_reverse=True))
    assert above == "NAME    KIND        COST↓"
    assert len(texts(COLUMNS, FLEET[0])) == len(above)


def test_a_heading_that_fills_its_column_gives_up_its_space_for_the_mark_and_no_letter() -> None:
    assert heading([Column("c", "$/Mtok OUT", 11)], Sort("c")) == " $/MtokOUT↑"
    assert heading([Column("c", "$/Mtok OUT", 12)], Sort("c")) == " $/Mtok OUT↑"
