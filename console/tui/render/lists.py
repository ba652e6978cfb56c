"""Small tables inside a text, and facts with a note: what a screen has below its charts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len

from console.tui.cells import Role, Row, Span, fitted, line
from console.tui.render.figures import UNKNOWN, money
from console.tui.render.status import wrapped
from console.tui.table import Column, Entry, columns_for, heading, texts
from store.money import USD
from store.printable import printable
from store.unknown import Unknown

_NAME_WIDTH = 22
_VALUE_WIDTH = 12


@dataclass(frozen=True, slots=True)
class Fact:
    """A name, its value as a text, and what it means."""

    name: str
    value: str
    note: str = ""
    role: Role = Role.PLAIN


def fact_rows(facts: Sequence[Fact], width: int) -> list[Row]:
    """A line a fact; a note that is too long goes on below itself."""
    return [row for fact in facts for row in _fact(fact, width)]


def _fact(fact: Fact, width: int) -> list[Row]:
    name, value = f" {fitted(fact.name, _NAME_WIDTH)}", printable(fact.value)
    value = " " * (_VALUE_WIDTH - cell_len(value)) + value
    indent = 1 + _NAME_WIDTH + cell_len(value) + 2
    first, *more = wrapped(fact.note, max(width - indent, 1)) if fact.note else [""]
    found: list[Row] = [(Span(name), Span(value, fact.role), Span(f"  {first}", Role.MUTED))]
    return [*found, *(line(f"{' ' * indent}{text}", Role.MUTED) for text in more)]


def table_rows(title: str, columns: Sequence[Column], entries: Sequence[Entry], width: int) -> list[Row]:
    """A title, a heading and a line an entry, in the columns that fit."""
    fitting = columns_for(columns, entries, width - 1)
    return [
        line(f" {title}", Role.HEADING),
        line(f" {heading(fitting, None)}".rstrip(), Role.MUTED),
        *(line(f" {texts(fitting, entry)}".rstrip(), entry.role) for entry in entries),
    ]


def known_money(nusd: int | Unknown, currency: str = USD) -> str:
    """An amount, or a dash."""
    return UNKNOWN if isinstance(nusd, Unknown) else money(nusd, currency)


def day_time(at: datetime) -> str:
    """An instant of the last days, in UTC: `11-24 08:02:00`."""
    return f"{at.astimezone(UTC):%m-%d %H:%M:%S}"


def clock_time(at: datetime) -> str:
    """An instant of today, in UTC: `08:02:00`."""
    return f"{at.astimezone(UTC):%H:%M:%S}"


def lasted(duration: timedelta) -> str:
    """How long something took: `45 s`, `3 min`, `2.5 h`, `4 d`."""
    seconds = max(duration.total_seconds(), 0)
    for unit, size, least in (("d", 86_400, 172_800), ("h", 3600, 7200), ("min", 60, 120)):
        if seconds >= least:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.1f}".removesuffix(".0") + " s"
