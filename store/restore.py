"""Putting a backup in a store's place: proved and upgraded first, then swapped; what was there is kept."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlmodel import col, delete, select

from store.backup import forget, new_file, proved, to_disk, unpacked
from store.check import Finding
from store.database import HEAD, open_database
from store.errors import BackupFailed, RestoreRefused, StoreUnreachable, StoreVersion
from store.journal import note
from store.tables import Candidate, Leadership, Tick

_MODE = 0o660  # the group's, as its folder is


@dataclass(frozen=True, slots=True)
class Restored:
    """What took the store's place: its version before and now, its newest tick, and where the old store is."""

    version: str
    newest_at: datetime | None
    kept: Path | None
    findings: tuple[Finding, ...]


def restore(source: Path, url: str, now: datetime, actor: str, *, force: bool = False) -> Restored:
    """Make the backup `source` the SQLite store at `url`. All of it, or nothing.

    `force`: a store that is there gives way, and stays beside it under another name; so does a backup in which
    something does not hold count. While a collector leads nothing is done, by force or without.

    Raises:
        BackupFailed: the file is no backup, is damaged, or of a newer mtok.
        RestoreRefused: a collector leads, a store is there, or it is none of SQLite's.
    """
    path = _path_of(url)
    _refuse_while_led(url, path)
    if path.exists() and not force:
        raise RestoreRefused(url, "a store is there", "name another one, or use --force, which keeps it aside")
    with _draft_beside(path) as draft:
        unpacked(source, draft)
        version = _version(source, draft)
        _upgraded(source, draft, now, actor)
        findings = proved(draft, source)
        if findings and not force:
            raise BackupFailed(
                source, f"{findings[0].subject}: {findings[0].problem}", "use --force to take it all the same"
            )
        newest_at = _newest(draft)
        try:
            kept = _swapped(draft, path, now)
        except OSError as error:
            remedy = "check its rights; the store that was there lies beside it"
            raise RestoreRefused(url, error.strerror or str(error), remedy) from None
    return Restored(version, newest_at, kept, findings)


def _path_of(url: str) -> Path:
    address = make_url(url)
    if address.get_backend_name() != "sqlite" or address.database in (None, "", ":memory:"):
        shown = address.render_as_string(hide_password=True)
        raise RestoreRefused(
            shown, "is no SQLite file", "use mtok store copy sqlite:///FILE there, into an empty database"
        )
    path = Path(address.database or "")
    if not path.parent.is_dir():
        raise RestoreRefused(url, f"there is no directory {path.parent}", "make it first")
    return path


def _refuse_while_led(url: str, path: Path) -> None:
    """A store that cannot be read any more is led by nobody: its leader would notice that its file is replaced."""
    if not path.exists():
        return
    now = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"  # six digits, as it is stored: a text is compared
    found = None
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:  # of any version
        found = connection.execute(f"SELECT owner, expires_at FROM leadership WHERE expires_at > {now}").fetchone()  # noqa: S608 - our own words
    if found is not None:
        problem = f"{found[0]} leads until {found[1][:19]}Z"
        raise RestoreRefused(url, problem, "stop every collector and every console that collects, then try again")


def _version(source: Path, draft: Path) -> str:
    with closing(sqlite3.connect(draft)) as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.Error as error:
            raise BackupFailed(
                source, f"is no store of mtok's: {error}", "name a file of mtok store backup"
            ) from None
    return str(found[0]) if found else HEAD


def _upgraded(source: Path, draft: Path, now: datetime, actor: str) -> None:
    """Bring the draft to this version; nobody leads it, and its journal says where it came from."""
    try:
        database = open_database(f"sqlite:///{draft}")
    except StoreVersion as error:
        raise BackupFailed(source, f"is of version {error.found!r}, unknown here", "upgrade mtok") from None
    except StoreUnreachable as error:
        raise BackupFailed(source, error.reason, "take another one") from None
    try:
        with database.write() as session:
            session.connection().execute(delete(Candidate))
            row = session.get(Leadership, 1)
            if row is not None:
                row.expires_at = min(row.expires_at, now)
            note(session, now, actor, "store restored", "store", f"from {source.name}")
    finally:
        database.close()
    with closing(sqlite3.connect(draft)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, to be renamed


def _newest(draft: Path) -> datetime | None:
    database = open_database(f"sqlite:///{draft}", read_only=True)
    try:
        with database.read() as session:
            return session.exec(select(Tick.at).order_by(col(Tick.at).desc()).limit(1)).first()
    finally:
        database.close()


def _swapped(draft: Path, path: Path, now: datetime) -> Path | None:
    """The draft in the store's place; the old one, whole, under the name that is answered too.

    At no instant is there no store: whoever would open one then would make an empty one.
    """
    kept = None
    if path.exists():
        _like(path, draft)
        kept = path.with_name(f"{path.name}.before-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _also_named(path, kept)
        log = Path(f"{path}-wal")
        if log.exists() and log.stat().st_size:  # somebody reads, or it is damaged
            shutil.copy2(log, f"{kept}-wal")
    else:
        draft.chmod(_MODE)
    for suffix in ("-wal", "-shm"):  # beside the new store they would be taken for its own
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    to_disk(draft)
    draft.replace(path)
    return kept


def _also_named(path: Path, kept: Path) -> None:
    try:
        kept.hardlink_to(path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        shutil.copy2(path, kept)


def _like(path: Path, draft: Path) -> None:
    """Give the draft the owner, the group and the rights of what it replaces, as far as we may."""
    found = path.stat()
    with contextlib.suppress(OSError):
        os.chown(draft, -1, found.st_gid)
    with contextlib.suppress(OSError):
        os.chown(draft, found.st_uid, -1)
    shutil.copymode(path, draft)


@contextlib.contextmanager
def _draft_beside(path: Path) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.restore")
    try:
        new_file(draft)
    except OSError as error:
        raise RestoreRefused(str(path), error.strerror or str(error), "check the rights of its folder") from None
    try:
        yield draft
    finally:
        with contextlib.suppress(OSError):
            forget(draft)
