"""A journal entry as a row, and whole."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from console.tui.cells import Role, Row, text_of
from console.tui.render.journal import COLUMNS, brief, detail_rows, entry_row, operation_at, operation_of, who_from
from console.tui.table import columns_for, heading, texts
from store.anatomy import Anatomy
from store.journal_read import Entry
from store.phases import OperationKind, Phase, Reached
from store.unknown import Unknown

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
NASTY = "\x1b[2J[bold]漢字[/bold]\n" + "x" * 90


def entry(
    what: str = "gate close", detail: str = "leak", actor: str = "ada@192.0.2.7", subject: str = "gate"
) -> Entry:
    return Entry(7, AT, actor, what, subject, detail)


def operation(finished_at: datetime | None = AT + timedelta(minutes=4), asked_at: datetime = AT) -> Anatomy:
    return Anatomy(
        id=1,
        kind=OperationKind.WAKE,
        tier="h100",
        actor="ada@192.0.2.7",
        reason="launch",
        requested_at=asked_at,
        finished_at=finished_at,
        phase=Phase.RUNNING,
        outcome=None if finished_at is None else "failed",
        detail="wake_timeout",
        calls=1,
        reached=(Reached(Phase.REQUESTED, AT, timedelta(0)), Reached(Phase.RUNNING, AT, timedelta(seconds=42))),
        cost=Unknown("no complete tick since it ended"),
    )


def told(rows: list[Row]) -> str:
    return "\n".join(text_of(row) for row in rows)


@pytest.mark.parametrize(
    ("actor", "parts"),
    [
        ("ada@192.0.2.7", ("ada", "192.0.2.7")),
        ("ada@corp@2001:db8::7", ("ada@corp", "2001:db8::7")),
        ("ada", ("ada", "")),
        ("ada@corp", ("ada@corp", "")),
        ("collector", ("collector", "")),
        ("", ("", "")),
    ],
)
def test_an_actor_is_a_user_and_perhaps_an_address(actor: str, parts: tuple[str, str]) -> None:
    assert who_from(actor) == parts


def test_a_change_is_told_as_before_after_and_why() -> None:
    shown = told(detail_rows(entry("verdict", "open → dark: last tick 180 s ago; opens soon", "gate"), None, 80))
    assert "before    open" in shown
    assert "after     dark" in shown
    assert "why       last tick 180 s ago; opens soon" in shown


def test_an_arrow_in_a_reason_is_no_change() -> None:
    shown = told(detail_rows(entry("gate close", "a → b: c"), None, 80))
    assert "detail    a → b: c" in shown
    assert "before" not in shown


def test_trouble_is_marked() -> None:
    assert entry_row(entry("wake failed")).role is Role.WARN
    assert entry_row(entry("wake done")).role is Role.PLAIN


@pytest.mark.parametrize(
    ("what", "subject", "about"),
    [
        ("hibernate asked", "h100", (OperationKind.HIBERNATE, "h100")),
        ("sleep sent", "h100/8429", (OperationKind.HIBERNATE, "h100")),
        ("wake failed", "h100", (OperationKind.WAKE, "h100")),
        ("gate close", "gate", None),
    ],
)
def test_an_entry_knows_its_operation(what: str, subject: str, about: object) -> None:
    assert operation_of(entry(what, subject=subject)) == about


def test_it_is_the_last_one_asked_for_by_then() -> None:
    older, later = operation(asked_at=AT - timedelta(hours=1)), operation(asked_at=AT + timedelta(hours=1))
    assert operation_at(entry("wake done"), [later, older]) is older
    assert operation_at(entry("wake done"), [later]) is None


def test_an_operation_says_how_it_came_out() -> None:
    shown = told(detail_rows(entry("wake asked", "launch", subject="h100"), operation(), 80))
    assert "outcome   failed after 4 min: wake_timeout" in shown
    assert "cost      — (no complete tick since it ended); 1 call sent" in shown
    assert "running +42 s" in shown
    assert "under way: running" in told(detail_rows(entry("wake asked"), operation(None), 80))


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_nothing_is_wider_than_the_screen_and_no_heading_is_cut(width: int) -> None:
    nasty = Entry(7, AT, f"{NASTY}@192.0.2.7", NASTY, NASTY, NASTY)
    row = entry_row(nasty)
    fitting = columns_for(COLUMNS, [row], width)
    above = heading(fitting, None)
    for column in fitting:
        assert column.heading in above
    lines = [above, texts(fitting, row), *map(text_of, detail_rows(nasty, operation(), width))]
    assert max(map(cell_len, lines)) <= width
    assert "\x1b" not in texts(fitting, row)


def test_who_what_and_why_are_on_80_columns() -> None:
    keys = [column.key for column in columns_for(COLUMNS, [entry_row(entry())], 80)]
    assert keys == ["when", "who", "what", "subject", "detail"]


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("hyperstack:usage:volume:5349:2026-11-25T16:39:46+00:00", "volume:5349"),
        ("hyperstack:usage:vm:8429:2026-11-25T16:39:46.123Z@2026-11-26T00:00:00Z", "vm:8429"),
        ("runpod:pod:x1y2:hour:2026-11-25T16:00:00Z", "pod:x1y2"),
        ("vast:charges:instance-42:gte=1764000000", "instance-42"),
        ("usage:vm:8429", "usage:vm:8429"),
        ("h100/8429", "h100/8429"),
        ("ledger 7f0c", "ledger 7f0c"),
        ("gate", "gate"),
        ("", ""),
    ],
)
def test_of_a_counter_the_table_shows_what_tells_it_apart(subject: str, shown: str) -> None:
    assert brief(subject) == shown
    if subject:
        assert subject in told(detail_rows(entry(subject=subject), None, 200))


def test_counters_of_one_provider_are_told_apart_on_80_columns() -> None:
    names = [f"hyperstack:usage:volume:{n}:2026-11-25T16:39:46+00:00" for n in range(5340, 5346)]
    found = [entry_row(entry("counter settled", "closed at 12.5: it was deleted", subject=name)) for name in names]
    fitting = columns_for(COLUMNS, found, 80)
    assert len({texts(fitting, row) for row in found}) == len(names)
    assert "volume:5340 " in texts(fitting, found[0])


def test_a_counter_that_a_provider_has_named_badly_is_printable() -> None:
    row = entry_row(entry(subject="hyperstack:usage:volume:\x1b[31m5:2026-11-25T16:39:46+00:00"))
    assert row.cells["subject"] == "volume:\N{REPLACEMENT CHARACTER}[31m5"
