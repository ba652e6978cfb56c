"""The ledger: durable entries, totals that only rise and are the sum of the entries."""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.engine.protocol import Outcome
from agent.entries import Counts, Entry
from agent.errors import LedgerInUse, LedgerMismatch, LedgerUnreadable, LedgerUnwritable, LedgerVersion
from agent.ledger import Ledger
from agent.ledger_schema import STEPS
from agent.ledger_sql import VERSION

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


def test_a_link_to_a_ledger_is_that_ledger(ledger: Ledger, tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "elsewhere" / "link.db"
    folder.symlink_to(tmp_path)
    link.parent.mkdir()
    link.symlink_to(ledger.path)
    for path in (link, folder / "ledger.db"):
        with pytest.raises(LedgerInUse):
            Ledger(path)


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


async def test_an_ended_entry_never_changes(ledger: Ledger) -> None:
    await ledger.write([entry("1", 5)])
    await ledger.write([entry("1", 5), entry("1", 9, None), entry("1", 7)])
    assert ledger.totals() == {"a": Counts(1, 10, 2, 5, 5)}


async def test_one_group_may_hold_a_beginning_and_its_end(ledger: Ledger) -> None:
    await asyncio.gather(ledger.write([entry("1", 1, None)]), ledger.write([entry("1", 4)]), ledger.write([]))
    assert ledger.totals() == {"a": Counts(1, 10, 2, 4, 4)}


async def test_what_is_forgotten_stays_in_the_totals(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.db")
    old = [entry(str(n), n, label="ab"[n % 2]) for n in range(2500)]
    await first.write([*old, entry("running", 3, None)])
    await first.write([replace(entry("new", 5), ended_at=NOW + timedelta(days=1))])
    before = first.totals()
    assert await first.forget(NOW + timedelta(seconds=1), 10**6) == 2500
    assert await first.forget(NOW + timedelta(seconds=1), 10**6) == 0
    assert first.totals() == before
    first.close()
    again = Ledger(tmp_path / "ledger.db")
    assert again.totals() == before
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        assert other.execute("SELECT id FROM entries ORDER BY id").fetchall() == [("new",), ("running",)]
    other.close()
    again.close()


async def test_no_more_than_so_many_entries_are_kept(ledger: Ledger) -> None:
    await ledger.write([entry(str(n), 1) for n in range(50)])
    assert await ledger.forget(NOW - timedelta(days=1), 20) == 30
    assert ledger.totals()["a"].requests == 50


async def test_a_death_is_on_record(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.db")
    await first.write([entry("1", 3, None), entry("2", 0, None), entry("3", 4)])
    first.close()
    for _ in range(2):  # a clean stop adds nothing
        again = Ledger(tmp_path / "ledger.db")
        assert (again.deaths.times, again.deaths.requests) == (1, 2)
        again.close()
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        rows = other.execute("SELECT outcome, ended_at = counted_at FROM entries ORDER BY id").fetchall()
        assert rows == [("aborted", 1), ("aborted", 1), ("length", 0)]
    other.close()


async def test_a_disk_that_refuses_is_told_and_loses_nothing(ledger: Ledger) -> None:
    with sqlite3.connect(ledger.path) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(LedgerUnwritable, match="disk full"):
        await ledger.write([entry("1", 5)])
    assert ledger.totals() == {}
    other.execute("DROP TRIGGER full")
    other.close()
    await ledger.write([entry("1", 5)])
    assert ledger.totals()["a"].requests == 1


@pytest.mark.parametrize("is_replaced", [False, True], ids=["deleted", "replaced"])
async def test_a_ledger_whose_file_goes_while_it_is_open_is_not_written_on(
    ledger: Ledger, tmp_path: Path, *, is_replaced: bool
) -> None:
    await ledger.write([entry("1", 5)])
    aside = ledger.path.rename(tmp_path / "aside.db")
    if is_replaced:
        shutil.copy(aside, ledger.path)
    with pytest.raises(LedgerUnwritable, match="deleted or replaced while it was open; put that file back"):
        await ledger.write([entry("2", 7)])
    assert ledger.totals()["a"].requests == 1
    aside.replace(ledger.path)
    await ledger.write([entry("2", 7)])
    assert ledger.totals()["a"].requests == 2


# the first version's tables, as SQLModel made them then
FIRST = """
CREATE TABLE identity (id INTEGER NOT NULL, uuid VARCHAR NOT NULL, created_at VARCHAR NOT NULL,
  busy_ms INTEGER NOT NULL, PRIMARY KEY (id));
CREATE TABLE entries (id VARCHAR NOT NULL, label VARCHAR NOT NULL, endpoint VARCHAR NOT NULL,
  model VARCHAR NOT NULL, started_at VARCHAR NOT NULL, ended_at VARCHAR, outcome VARCHAR NOT NULL,
  prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  delivered_tokens INTEGER NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_entries_label ON entries (label);
CREATE INDEX ix_entries_outcome ON entries (outcome);
CREATE TABLE totals (label VARCHAR NOT NULL, requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, delivered_tokens INTEGER NOT NULL,
  PRIMARY KEY (label));
INSERT INTO identity VALUES (1, 'an-old-one', '2026-01-02T03:04:05+00:00', 777);
INSERT INTO entries VALUES
  ('1', 'a', 'completions', 'm', '2026-02-01T00:00:00+00:00', '2026-02-01T00:00:09+00:00', 'stopped', 7, 1, 5, 5),
  ('2', 'b', 'completions', 'm', '2026-02-01T00:00:00+00:00', '2026-02-02T00:00:09+00:00', 'length', 8, 0, 6, 4),
  ('3', 'a', 'completions', 'm', '2026-02-02T00:00:00+00:00', NULL, '', 9, 0, 2, 1);
INSERT INTO totals VALUES ('a', 1, 7, 1, 5, 5), ('b', 1, 8, 0, 6, 4);
"""


async def test_a_ledger_of_the_first_version_keeps_its_identity_and_totals(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as other:
        other.executescript(FIRST)
    other.close()
    ledger = Ledger(path)
    assert (ledger.uuid, ledger.busy_ms, ledger.aborted) == ("an-old-one", 777, 1)
    assert ledger.totals() == {"a": Counts(2, 16, 1, 7, 6), "b": Counts(1, 8, 0, 6, 4)}
    await ledger.write([entry("4", 5)])
    assert await ledger.forget(datetime(2026, 2, 1, 12, tzinfo=UTC), 10**6) == 1
    ledger.close()
    again = Ledger(path)
    assert again.totals()["a"] == Counts(3, 26, 3, 12, 11)
    again.close()
    fresh = Ledger(tmp_path / "fresh.db")
    fresh.close()
    assert schema(path) == schema(tmp_path / "fresh.db")


def schema(path: Path) -> dict[str, set[tuple[object, ...]]]:
    """Columns by table and the indexes, whatever their order."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE sql NOT NULL")]
        return {
            name: {row[1:] for row in connection.execute(f"PRAGMA table_info({name})")} for name in sorted(names)
        }


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerVersion, match="upgrade mtok"):
        Ledger(tmp_path / "ledger.db")


def test_the_steps_end_at_the_version_that_is_opened() -> None:
    assert len(STEPS) == VERSION


labels, outcomes = st.sampled_from("abc"), st.sampled_from([None, *Outcome])
write = st.tuples(st.integers(0, 9), labels, outcomes, st.integers(0, 99), st.integers(0, 3))


@given(st.lists(write, max_size=30))
async def test_a_labels_total_is_the_sum_of_its_entries(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, str, Outcome | None, int, int]]
) -> None:
    """Whatever is written, twice or in any order, forgotten, or ended by a restart."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    ledger = Ledger(path)
    expected: dict[int, Entry] = {}
    forgotten: set[int] = set()
    for id_, label, outcome, tokens, then in writes:
        if id_ in forgotten:
            continue  # an id is a random one: it never comes back
        label = expected[id_].label if id_ in expected else label
        one = entry(f"{id_}", tokens, outcome, label)
        await ledger.write([one])
        if id_ not in expected or expected[id_].outcome is None:
            expected[id_] = one
        if then == 1:
            await ledger.forget(NOW + timedelta(seconds=1), 10**6)
            forgotten |= {key for key, one in expected.items() if one.outcome is not None}
        assert ledger.totals() == sums(expected)
        if then == 2:
            ledger.close()
            ledger = Ledger(path)  # which checks the sums, and ends what is open
            for key, one in expected.items():
                expected[key] = replace(one, outcome=one.outcome or Outcome.ABORTED)
            assert ledger.totals() == sums(expected)
    ledger.close()


def sums(entries: dict[int, Entry]) -> dict[str, Counts]:
    found: dict[str, Counts] = {}
    for one in entries.values():
        found[one.label] = found.get(one.label, Counts()) + one.counts
    return found
