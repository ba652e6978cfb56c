"""The ledger: durable entries, totals that only rise and are the sum of the entries."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.engine.protocol import Outcome
from agent.entries import Counts, Entry
from agent.errors import LedgerInUse, LedgerMismatch, LedgerUnreadable
from agent.ledger import Ledger

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def entry(id_: str, tokens: int, outcome: Outcome | None = Outcome.LENGTH, label: str = "a") -> Entry:
    counts = Counts(1, 10, 2, tokens, tokens)
    return Entry(id_, label, "completions", "m", NOW, counts, outcome, NOW if outcome else None)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


async def test_a_committed_entry_is_in_the_totals_and_on_disk(ledger: Ledger) -> None:
    await ledger.write([entry("1", 5)], busy_ms=70)
    assert ledger.totals() == {"a": Counts(1, 10, 2, 5, 5)}
    assert ledger.busy_ms == 70
    with sqlite3.connect(ledger.path) as other:
        assert other.execute("SELECT completion_tokens, outcome FROM entries").fetchall() == [(5, "length")]
    other.close()


async def test_totals_and_identity_survive_a_restart(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.db")
    await first.write([entry("1", 5), entry("2", 7, label="b")], busy_ms=9)
    identity, totals = (first.uuid, first.created_at), first.totals()
    first.close()
    again = Ledger(tmp_path / "ledger.db")
    assert ((again.uuid, again.created_at), again.totals(), again.busy_ms) == (identity, totals, 9)
    again.close()


async def test_an_open_entry_counts_up_to_its_checkpoint_and_never_twice(ledger: Ledger) -> None:
    await ledger.write([entry("1", 3, None)])
    assert ledger.totals()["a"].completion_tokens == 3
    await ledger.write([entry("1", 8, None)])
    await ledger.write([entry("1", 9)])
    assert ledger.totals()["a"] == Counts(1, 10, 2, 9, 9)


async def test_what_a_dead_agent_left_open_is_ended_as_aborted(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.db")
    await first.write([entry("1", 3, None), entry("2", 4)])
    before = first.totals()
    first.close()
    again = Ledger(tmp_path / "ledger.db")
    assert again.aborted == 1
    assert again.totals() == before
    again.close()


def test_two_agents_never_share_a_ledger(ledger: Ledger) -> None:
    with pytest.raises(LedgerInUse, match="another agent holds it"):
        Ledger(ledger.path)


async def test_a_ledger_whose_sums_do_not_agree_is_refused(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.db")
    await first.write([entry("1", 5)])
    first.close()
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("UPDATE totals SET completion_tokens = 4")
    other.close()
    with pytest.raises(LedgerMismatch, match="label 'a'"):
        Ledger(tmp_path / "ledger.db")


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(LedgerUnreadable):
        Ledger(tmp_path / "ledger.db")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100), st.booleans()), max_size=20))
async def test_totals_only_rise_and_equal_the_entries(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int, bool]]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.db")
    progress: dict[int, int] = {}
    ended: set[int] = set()
    seen = 0
    for id_, more, does_end in writes:
        if id_ in ended:
            continue
        progress[id_] = progress.get(id_, 0) + more
        await ledger.write([entry(str(id_), progress[id_], Outcome.STOPPED if does_end else None)])
        ended |= {id_} if does_end else set()
        total = sum(counts.completion_tokens for counts in ledger.totals().values())
        assert total == sum(progress.values()) >= seen
        seen = total
    ledger.close()
    again = Ledger(ledger.path)
    assert sum(counts.completion_tokens for counts in again.totals().values()) == seen
    again.close()
