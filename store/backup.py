"""A store as one file: taken while its writers go on, proved before it counts, and put back in one step."""

import gzip
import os
import shutil
import sqlite3
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import SQLModel

from store.check import Finding, check
from store.copy import copy_store
from store.database import Database, open_database
from store.errors import BackupFailed, StoreUnreachable

_PAGES_AT_ONCE = 256  # a megabyte: a step is over before anyone waits for it
_SIGNATURE = b"SQLite format 3\0"
_GZIP = b"\x1f\x8b"
_OF_THE_FILE = ("file", "table ")


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds: its rows by table, and what does not hold in it, of the store that it was taken of."""

    path: Path
    size_bytes: int
    rows: dict[str, int]
    findings: tuple[Finding, ...]


def back_up(database: Database, path: Path) -> Backup:
    """Write the store, as it was at one instant, to a new file of its owner's alone; `.gz` is compressed.

    Nobody who writes has to wait. The file appears when it has been proved: SQLite's own check, the number of
    rows of every table, and whatever `check` knows; of the last, what does not hold is answered, not refused.

    Raises:
        BackupFailed: the file is there already or cannot be written, or is not what was read.
    """
    if path.exists():
        raise BackupFailed(path, "is there already", "name a new file")
    draft = plain = path.with_name(f".{path.name}.draft")
    try:
        new_file(draft)
        rows = _from_sqlite(database, draft) if _is_sqlite(database) else _from_another(database, draft)
        findings = proved(draft, path, rows)
        if path.suffix == ".gz":
            draft = _compressed(draft)
        to_disk(draft)
        draft.replace(path)
    except OSError as error:
        raise BackupFailed(
            path, error.strerror or str(error), "check the folder, its rights and its space"
        ) from None
    except sqlite3.Error as error:
        raise BackupFailed(path, str(error), "check the store, and the free space") from None
    finally:
        forget(plain)
        forget(_packed_name(plain))
    return Backup(path, path.stat().st_size, rows, findings)


def proved(file: Path, named: Path, rows: dict[str, int] | None = None) -> tuple[Finding, ...]:
    """What does not hold in a store's file, opened to be read; `named` is what it is called in an error.

    Raises:
        BackupFailed: it is damaged, or holds other rows than `rows`.
    """
    database = open_database(f"sqlite:///{file}", read_only=True)
    try:
        findings = check(database)
    except StoreUnreachable as error:  # read where it is torn
        raise BackupFailed(named, f"is damaged: {error.reason}", "take another one") from None
    finally:
        database.close()
    if damage := [one for one in findings if one.subject.startswith(_OF_THE_FILE)]:
        raise BackupFailed(named, f"is damaged: {damage[0].subject}: {damage[0].problem}", "take another one")
    with closing(sqlite3.connect(file)) as connection:
        found = _rows(connection)
    for name in rows or {}:
        if rows is not None and found.get(name) != rows[name]:
            problem = f"table {name} has {found.get(name)} rows, {rows[name]} were read"
            raise BackupFailed(named, problem, "try again; if it stays so, check the disk")
    return tuple(findings)


def unpacked(source: Path, draft: Path) -> None:
    """Write the store that `source` holds, compressed or not, to the new file `draft`.

    Raises:
        BackupFailed: it cannot be read, is cut off, or is no store.
    """
    try:
        with source.open("rb") as raw:
            is_packed = raw.read(2) == _GZIP
        with gzip.open(source) if is_packed else source.open("rb") as taken, new_file(draft).open("wb") as out:
            shutil.copyfileobj(taken, out)
        with draft.open("rb") as written:
            is_store = written.read(len(_SIGNATURE)) == _SIGNATURE
    except (OSError, EOFError, zlib.error) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise BackupFailed(source, f"cannot be read: {problem}", "name a file of mtok store backup") from None
    if not is_store:
        raise BackupFailed(source, "is no SQLite store", "name a file of mtok store backup")


def new_file(path: Path) -> Path:
    """An empty file that its owner alone can read; a draft of an attempt that was cut off gives way."""
    forget(path)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return path


def forget(path: Path) -> None:
    """Remove a draft with whatever SQLite put beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _is_sqlite(database: Database) -> bool:
    return database.engine.dialect.name == "sqlite"


def _from_sqlite(database: Database, draft: Path) -> dict[str, int]:
    """Every page as of one read transaction, so that a writer neither waits nor makes the copying start afresh."""
    with closing(sqlite3.connect(database.engine.url.database or "", isolation_level=None)) as source:
        source.execute("PRAGMA query_only = ON")
        source.execute("BEGIN")
        rows = _rows(source)
        with closing(sqlite3.connect(draft)) as target:
            source.backup(target, pages=_PAGES_AT_ONCE)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, readable wherever it is put
    return rows


def _from_another(database: Database, draft: Path) -> dict[str, int]:
    target = open_database(f"sqlite:///{draft}")
    try:
        rows = copy_store(database, target)
    finally:
        target.close()
    with closing(sqlite3.connect(draft)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return rows


def _rows(connection: sqlite3.Connection) -> dict[str, int]:
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    ours = sorted(names & set(SQLModel.metadata.tables))
    count = "SELECT count(*) FROM {}"
    return {name: int(connection.execute(count.format(name)).fetchone()[0]) for name in ours}


def _packed_name(draft: Path) -> Path:
    return draft.with_name(f"{draft.name}.gz")


def _compressed(draft: Path) -> Path:
    packed = new_file(_packed_name(draft))
    with draft.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as out:
        shutil.copyfileobj(source, out)
    with gzip.open(packed) as again:  # its checksum is compared at its end
        while again.read(1 << 20):
            pass
    return packed


def to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
