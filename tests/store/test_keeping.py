"""Thinning, checking and moving a history; and many processes at one store."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import col, select

from store.check import check
from store.copy import copy_store
from store.database import Database
from store.errors import CopyRefused, FenceLost
from store.figures import Spend
from store.figures_read import figures
from store.leader import acquire
from store.retention import Retention, thin
from store.tables import BillSample, Tick, UsageSample
from store.window import Window
from tests.conftest import START, History
from tests.databases import empty_sqlite, opened, postgres_database

POLICY = Retention(timedelta(days=30), timedelta(days=365), ZoneInfo("UTC"))


pytestmark = pytest.mark.xdist_group("kept-history")  # one worker tells it, once to each database
MINUTES = 180


def tell(history: History) -> None:
    """Three hours of minutes, a gap among them."""
    for minute in range(MINUTES):
        problem = "HTTP 500" if minute in (59, 60) else None
        bills = () if problem else (history.bill(10**9 + minute * 1_000),)
        history.tick(*bills, problem=problem, totals=history.totals(minute, minute * 9))


@pytest.fixture(scope="module")
def told_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A SQLite store that has been told."""
    path = tmp_path_factory.mktemp("told") / "mtok.db"
    with opened(empty_sqlite(path)) as database:
        tell(History(database))
    return path.read_bytes()


@pytest.fixture(scope="module")
def told_database(postgres: str, migrated: str) -> Iterator[str]:
    """The name of a database of PostgreSQL that has been told."""
    with postgres_database(postgres, "mtok_told", migrated) as url:
        with opened(url) as database:
            tell(History(database))
        yield "mtok_told"


@pytest.fixture
def store_url(store_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store; for `full`, a copy of one that has been told."""
    if "full" not in request.fixturenames:
        yield store_url
    elif store_url.startswith("sqlite"):
        (tmp_path / "mtok.db").write_bytes(request.getfixturevalue("told_file"))
        yield store_url
    else:
        template = request.getfixturevalue("told_database")
        with postgres_database(request.getfixturevalue("postgres"), "mtok_full", template) as url:
            yield url


@pytest.fixture
def full(database: Database) -> History:
    """The history that has been told; its next tick is due."""
    history = History(database)
    history.clock.advance(MINUTES * 60)
    return history


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    with opened(empty_sqlite(tmp_path / "other.db")) as database:
        yield database


def hours(database: Database) -> list[object]:
    with database.read() as session:
        edges = [START + timedelta(hours=hour) for hour in range(4)]
        pairs = [(start, end) for start in edges for end in edges if start < end]
        found = [figures(session, "h100", Window(*pair)) for pair in pairs]
        return [(one.spend.nusd, one.spend.edges, one.usage) for one in found if isinstance(one.spend, Spend)]


def test_thinning_keeps_an_hour_a_sample_and_every_total(full: History) -> None:
    before = hours(full.database)
    done = thin(full.database, POLICY, START + timedelta(days=32))
    assert hours(full.database) == before
    assert done.before["bill_samples"] == 178
    assert done.after["bill_samples"] < 10
    assert done.size_bytes > 0
    assert check(full.database) == []
    again = thin(full.database, POLICY, START + timedelta(days=32))
    assert again.before == again.after


def test_a_history_that_is_thin_is_never_locked(full: History, monkeypatch: pytest.MonkeyPatch) -> None:
    now = START + timedelta(days=32)
    thin(full.database, POLICY, now)
    monkeypatch.setattr(full.database, "write", lambda: pytest.fail("a writer would have waited"))
    thin(full.database, POLICY, now)


@pytest.mark.parametrize("table", ["ticks", "provider_ticks", "tier_ticks", "gaps"])
def test_what_belongs_to_a_tick_is_found_by_its_instant(empty: Database, table: str) -> None:
    with empty.read() as session:
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN DELETE FROM {table} WHERE at = 'x'")
        assert [row[3] for row in plan if "SCAN" in row[3]] == []


def test_thinning_leaves_the_last_month_alone(full: History) -> None:
    done = thin(full.database, POLICY, START + timedelta(days=29))
    assert done.before == done.after


def test_a_history_moves_whole(full: History, empty: Database) -> None:
    copied = copy_store(full.database, empty)
    assert copied["bill_samples"] == 178
    assert hours(empty) == hours(full.database)
    assert check(empty) == []
    with pytest.raises(CopyRefused, match="name an empty store"):
        copy_store(full.database, empty)


def test_a_history_of_large_totals_moves(history: History, empty: Database) -> None:
    for total in (2**62, 2**62 + 5, 2**62 + 9):  # whose sum is beyond 2**63
        history.tick(history.bill(total), totals=history.totals(1, total))
    assert copy_store(history.database, empty)["bill_samples"] == 3
    assert check(empty) == []


def test_a_copied_history_goes_on(full: History, empty: Database) -> None:
    copy_store(full.database, empty)
    there = History(empty)
    there.clock = full.clock
    there.tick(
        there.bill(10**9 + 180_000), there.bill(7, counter="new", resource_id="n"), totals=there.totals(200, 2000)
    )
    assert check(empty) == []


def test_a_check_names_what_is_broken(full: History) -> None:
    with full.database.write() as session:
        sample = session.exec(select(BillSample).order_by(col(BillSample.at)).offset(9).limit(1)).one()
        sample.total_nusd += 5
        usage = session.exec(select(UsageSample).order_by(col(UsageSample.at)).offset(9).limit(1)).one()
        usage.completion_tokens = 1
    found = {one.subject.split(" at ")[0]: one.problem for one in check(full.database)}
    assert "fell in completion_tokens" in found["ledger ledger-a"]
    problems = [one.problem for one in check(full.database)]
    assert any("off by 5 nusd" in problem for problem in problems)


def test_two_collectors_and_three_consoles_at_once(store_url: str) -> None:
    """One leads and writes, the other is refused; readers always see whole ticks."""
    faults: list[str] = []
    over = threading.Event()

    def look() -> None:
        with opened(store_url) as database:
            while not over.is_set():
                with database.read() as session:
                    ticks = {tick.at for tick in session.exec(select(Tick)).all()}
                    samples = {sample.at for sample in session.exec(select(BillSample)).all()}
                    if ticks != samples:
                        faults.append(f"{len(ticks)} ticks, {len(samples)} of them with samples")

    with opened(store_url) as first, opened(store_url) as second:
        leading = History(first)
        readers = [threading.Thread(target=look) for _ in range(3)]
        for reader in readers:
            reader.start()
        refused = 0
        for minute in range(40):
            assert acquire(second, "another", 600) is None
            leading.tick(leading.bill(minute), totals=leading.totals(0, minute))
            usurper = History.__new__(History)
            usurper.__dict__.update(leading.__dict__, database=second, fence=leading.fence + 1)
            with pytest.raises(FenceLost):
                usurper.tick(usurper.bill(10**12), totals=usurper.totals(0, 0))
            refused += 1
        over.set()
        for reader in readers:
            reader.join(20)
    assert (refused, faults) == (40, [])
