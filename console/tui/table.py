"""Tables as values: which entries, in which order, in which columns. No widget.

A table is arranged by a filter, as it is typed, and by one column; columns are left out, the least important
first, until the rest fits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from rich.cells import cell_len

from console.tui.cells import Role, fitted
from store.printable import printable


@dataclass(frozen=True, slots=True)
class Column:
    """`width` holds its widest cell and one space between columns; `letter` sorts by it, after `s`.

    `rank`: the higher, the sooner it is left out. `stretches` up to its widest cell where there is room.
    """

    key: str
    heading: str
    width: int
    is_number: bool = True
    letter: str = ""
    rank: int = 0
    stretches: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A row: `cells` by column, `order` by column for sorting (None sorts last), `words` that a filter looks in."""

    key: str
    cells: Mapping[str, str]
    order: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
    role: Role = Role.PLAIN


@dataclass(frozen=True, slots=True)
class Sort:
    """By which column."""

    key: str
    is_reverse: bool = False

    def turned(self, key: str) -> "Sort":
        """The sort after another key has been asked for: the same one again turns it round."""
        return Sort(key, not self.is_reverse if key == self.key else False)


def filtered(entries: Sequence[Entry], needle: str) -> Sequence[Entry]:
    """The entries that have every word of `needle` in them, in any case; after `!`, those that do not."""
    words = needle.casefold().split()
    is_inverse = needle.startswith("!")
    if is_inverse:
        words = needle[1:].casefold().split()
    if not words:
        return entries
    return [entry for entry in entries if all(word in _haystack(entry) for word in words) != is_inverse]


def _haystack(entry: Entry) -> str:
    return entry.words.casefold() or " ".join(entry.cells.values()).casefold()


def ordered(entries: Sequence[Entry], sort: Sort | None) -> Sequence[Entry]:
    """The entries by a column; what is not known stays last either way, equals stay as they were."""
    if sort is None:
        return entries
    known = [entry for entry in entries if entry.order.get(sort.key) is not None]
    rest = [entry for entry in entries if entry.order.get(sort.key) is None]
    return [*sorted(known, key=lambda entry: entry.order[sort.key], reverse=sort.is_reverse), *rest]


def columns_for(columns: Sequence[Column], entries: Sequence[Entry], width: int) -> tuple[Column, ...]:
    """The columns that fit into `width` cells, in their order; those that stretch share the room that is left."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.width for column in kept) > width:
        kept.remove(max(kept, key=lambda column: column.rank))
    room = max(width - sum(column.width for column in kept), 0)
    greedy = sum(column.stretches for column in kept)
    widened = []
    for column in kept:
        more = min(_missing(column, entries), room // greedy) if column.stretches else 0
        room, greedy = room - more, greedy - column.stretches
        widened.append(replace(column, width=column.width + more))
    return tuple(widened)


def _missing(column: Column, entries: Sequence[Entry]) -> int:
    """By how many cells the longest text of a column is too long for it."""
    widest = max((cell_len(entry.cells.get(column.key, "")) for entry in entries), default=0)
    return max(widest + 1 - column.width, 0)


def aligned(text: str, column: Column) -> str:
    """A text in its column: numbers to the right, words to the left, one space kept free."""
    return _aligned(text, column.width - 1, is_number=column.is_number)


@lru_cache(maxsize=4096)  # most of a table is what it was a second ago
def _aligned(text: str, room: int, *, is_number: bool) -> str:
    text = printable(text)
    cut = fitted(text, room) if cell_len(text) > room else text
    gap = " " * (room - cell_len(cut))
    return f" {gap}{cut}" if is_number else f"{cut}{gap} "


def heading(columns: Sequence[Column], sort: Sort | None) -> str:
    """The line above a table; an arrow marks the column that it is sorted by."""
    texts = []
    for column in columns:
        mark = ""
        if sort is not None and sort.key == column.key:
            mark = "↓" if sort.is_reverse else "↑"
        room = column.width - 1
        text = column.heading if cell_len(column.heading + mark) <= room else column.heading.replace(" ", "")
        text = text if cell_len(text + mark) <= room else text[: room - len(mark)]
        texts.append(aligned(text + mark, column))
    return "".join(texts)


def texts(columns: Sequence[Column], entry: Entry) -> str:
    """An entry as one line of text."""
    return "".join(aligned(entry.cells.get(column.key, ""), column) for column in columns)
