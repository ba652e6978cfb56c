"""A backup is one instant of a store that others go on writing; a restore swaps it in, and loses nothing."""

import errno
import gzip
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from store.backup import back_up
from store.check import check
from store.clock import SetClock
from store.database import HEAD
from store.errors import BackupFailed, RestoreRefused, StoreUnreachable
from store.journal_read import entries
from store.leader import release
from store.restore import restore
from tests.conftest import START, History
from tests.databases import opened
from tests.store.test_migrations import a_store_at

TOLD = 10
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def tick(history: History, minute: int) -> None:
    history.tick(history.bill(minute * 33_000_000), totals=history.totals(minute * 9, minute * 7))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of ten ticks, made once."""
    path = tmp_path_factory.mktemp("template") / "mtok.db"
    with opened(f"sqlite:///{path}") as database:
        history = History(database)
        for minute in range(1, TOLD + 1):
            tick(history, minute)
    return path


@pytest.fixture
def told(template: Path, tmp_path: Path) -> Iterator[History]:
    shutil.copy(template, tmp_path / "mtok.db")
    with opened(f"sqlite:///{tmp_path / 'mtok.db'}") as database:
        yield History(database, SetClock(START + timedelta(minutes=TOLD)))


@contextmanager
def writing(history: History) -> Iterator[list[int]]:
    """A collector that ticks as fast as it can; yields the minutes that it has written."""
    ended, written = threading.Event(), [TOLD]

    def work() -> None:
        while not ended.is_set():
            tick(history, written[-1] + 1)
            written.append(written[-1] + 1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield written
    finally:
        ended.set()
        thread.join()


def one(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_backup_is_one_instant_of_a_store_that_is_being_written(
    told: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.backup._PAGES_AT_ONCE", 1)
    with writing(told) as written:
        for number in range(4):
            before = written[-1]
            made = back_up(told.database, tmp_path / f"{number}.db")
            assert made.findings == ()
            assert before <= made.rows["ticks"] <= written[-1] + 1
    tables = ("provider_ticks", "tier_ticks", "bill_samples", "usage_samples")
    for number in range(4):
        path = tmp_path / f"{number}.db"
        ((ticks, newest),) = one(path, "SELECT count(*), max(at) FROM ticks")
        for table in tables:  # one transaction wrote them: an instant between two ticks holds all or none
            assert one(path, f"SELECT count(*), max(at) FROM {table}") == [(ticks, newest)]
        total = int(str(ticks)) * 33_000_000
        assert one(path, "SELECT total_nusd FROM bill_samples ORDER BY at DESC LIMIT 1") == [(total,)]
    assert written[-1] > TOLD + 4


def test_a_backup_is_one_file_of_its_owners_alone_and_replaces_nothing(told: History, tmp_path: Path) -> None:
    plain, packed = tmp_path / "b" / "mtok.db", tmp_path / "b" / "mtok.db.gz"
    plain.parent.mkdir()
    assert back_up(told.database, plain).rows["ticks"] == TOLD
    back_up(told.database, packed)
    assert gzip.decompress(packed.read_bytes())[:15] == b"SQLite format 3"
    assert sorted(plain.parent.iterdir()) == [plain, packed]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (plain, packed)} == {0o600}
    with pytest.raises(BackupFailed, match="is there already"):
        back_up(told.database, plain)
    with pytest.raises(BackupFailed, match="No such file or directory"):
        back_up(told.database, tmp_path / "none" / "mtok.db")
    assert sorted(plain.parent.iterdir()) == [plain, packed]


def test_a_disk_that_fills_while_it_is_compressed_leaves_nothing_behind(
    told: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    (tmp_path / "b").mkdir()
    with pytest.raises(BackupFailed, match="No space left on device"):
        back_up(told.database, tmp_path / "b" / "mtok.db.gz")
    assert list((tmp_path / "b").iterdir()) == []


def test_what_does_not_hold_in_the_store_is_said_of_the_backup(told: History, tmp_path: Path) -> None:
    with told.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE bill_samples SET total_nusd = total_nusd + 1")
    made = back_up(told.database, tmp_path / "b.db")
    assert "the provider said" in made.findings[0].problem
    with pytest.raises(BackupFailed, match="use --force to take it all the same"):
        restore(tmp_path / "b.db", f"sqlite:///{tmp_path / 'new.db'}", NOW, "ada")
    assert not (tmp_path / "new.db").exists()


def test_a_store_of_postgresql_is_backed_up_to_the_same_file(history: History, tmp_path: Path) -> None:
    for minute in (1, 2, 3):
        tick(history, minute)
    made = back_up(history.database, tmp_path / "b.db")
    assert (made.findings, made.rows["ticks"]) == ((), 3)
    with opened(f"sqlite:///{tmp_path / 'b.db'}") as database:
        assert check(database) == []
    if history.database.engine.dialect.name == "postgresql":
        with pytest.raises(RestoreRefused, match="use mtok store copy sqlite:///FILE"):
            restore(tmp_path / "b.db", history.database.engine.url.render_as_string(), NOW, "ada")


def test_a_restore_waits_for_nobody_to_lead_and_keeps_the_old_store(told: History, tmp_path: Path) -> None:
    source, path = tmp_path / "b.db.gz", tmp_path / "mtok.db"
    back_up(told.database, source)
    tick(told, TOLD + 1)
    path.chmod(0o640)
    with pytest.raises(RestoreRefused, match="test leads until"):
        restore(source, f"sqlite:///{path}", NOW, "ada", force=True)
    release(told.database, "test")
    with pytest.raises(RestoreRefused, match="use --force, which keeps it aside"):
        restore(source, f"sqlite:///{path}", NOW, "ada")
    done = restore(source, f"sqlite:///{path}", NOW, "ada", force=True)
    assert (done.version, done.findings) == (HEAD, ())
    assert done.kept == tmp_path / "mtok.db.before-20261124T120000Z"
    assert one(done.kept, "SELECT count(*) FROM ticks") == [(TOLD + 1,)]
    assert one(path, "SELECT count(*) FROM ticks") == [(TOLD,)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(StoreUnreachable, match="deleted or replaced"):  # who had it open does not write on
        tick(told, TOLD + 2)
    told.database.close()
    with opened(f"sqlite:///{path}") as database:
        with database.read() as session:
            entry = entries(session, 1)[0]
            assert (entry.actor, entry.what, entry.detail) == ("ada", "store restored", "from b.db.gz")
        again = History(database, told.clock)
        tick(again, TOLD + 3)
        assert check(database) == []
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_an_older_backup_is_upgraded_before_it_counts(tmp_path: Path) -> None:
    a_store_at("0004", f"sqlite:///{tmp_path / 'old.db'}")
    done = restore(tmp_path / "old.db", f"sqlite:///{tmp_path / 'mtok.db'}", NOW, "ada")
    assert (done.version, done.kept) == ("0004", None)
    assert one(tmp_path / "mtok.db", "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert one(tmp_path / "mtok.db", "SELECT count(*) FROM usage_samples") == [(2,)]
    assert one(tmp_path / "old.db", "SELECT version_num FROM alembic_version") == [("0004",)]
    assert stat.S_IMODE((tmp_path / "mtok.db").stat().st_mode) == 0o660


def damaged(path: Path, how: str) -> None:
    raw = path.read_bytes()
    changed = {
        "cut off": gzip.compress(raw)[:-200],
        "no store": b"a text of mine " * 999,
        "torn": raw[: len(raw) // 2] + bytes(8192) + raw[len(raw) // 2 + 8192 :],
        "newer": raw,
        "another's": raw,
    }[how]
    path.write_bytes(changed)
    if how in ("newer", "another's"):
        change = (
            "UPDATE alembic_version SET version_num = '9999'" if how == "newer" else "DROP TABLE alembic_version"
        )
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(change)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("cut off", "cannot be read"),
        ("no store", "is no SQLite store"),
        ("torn", "is damaged|malformed"),
        ("newer", "of version '9999', unknown here; upgrade mtok"),
        ("another's", "is no store of mtok's"),
    ],
)
def test_what_is_no_sound_backup_is_refused_and_the_store_stays(
    told: History, tmp_path: Path, how: str, says: str
) -> None:
    back_up(told.database, tmp_path / "b.db")
    damaged(tmp_path / "b.db", how)
    release(told.database, "test")
    with pytest.raises(BackupFailed, match=says):
        restore(tmp_path / "b.db", f"sqlite:///{tmp_path / 'mtok.db'}", NOW, "ada", force=True)
    tick_again = History(told.database, told.clock)
    tick(tick_again, TOLD + 1)
    assert check(told.database) == []
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
