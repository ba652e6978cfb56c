"""The store, and what it says of its collector."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import Session, col, select

from console.doctor.check import Check, failed, fine, refused, warned
from console.doctor.here import sqlite_path
from console.doctor.limits import unlimited
from console.settings import Settings
from store.check import check
from store.clock import rfc3339
from store.database import HEAD, Database, open_database
from store.errors import MtokError
from store.leader import leader
from store.rights import may_write
from store.tables import Tick
from store.verdicts import billed_in, gate_inputs, verdict_of

_MB = 1_000_000
_LEAST_MB, _ENOUGH_MB = 100, 1_000  # a day of samples is a few MB; a write that fails is a gap


def the_store(settings: Settings) -> Iterator[Check]:
    """Whether it can be used and is sound, its disk, and whether somebody collects into it. Nothing is changed."""
    path = sqlite_path(settings)
    if path is not None:
        yield _disk(path)
        if not path.exists():
            yield warned("store", f"there is no {path} yet", "the first collector makes it: mtok collect")
            return
    try:
        database = open_database(settings.store_url, read_only=True)
    except MtokError as error:
        yield refused("store", error)
        return
    try:
        yield from _opened(settings, database)
    except MtokError as error:
        yield refused("store", error)
    finally:
        database.close()


def _opened(settings: Settings, database: Database) -> Iterator[Check]:
    findings = check(database)
    if findings:
        what = f"{len(findings)} invariants do not hold: {findings[0].subject}: {findings[0].problem}"
        yield failed("store", what, "see mtok store check")
    elif not may_write(database.engine):
        yield warned(
            "store", f"{database.url} is sound, and this account may only read it", "collect as another one"
        )
    else:
        yield fine("store", f"{database.url}, version {HEAD}, {database.size_bytes() / _MB:.1f} MB, is sound")
    with database.read() as session:
        now, found = database.now(session), leader(database, session)
        apart_s = (datetime.now(UTC) - now).total_seconds()
        newest = session.exec(select(Tick).order_by(col(Tick.at).desc()).limit(1)).first()
        yield _leader(found, is_new=newest is None)
        yield _tick(settings, session, has_leader=found is not None)
        yield from _gate(settings, session)
    if abs(apart_s) > 5:
        yield failed("clock, store", f"the database's clock is {apart_s:+.0f} s away", "set both by NTP")


def _leader(found: tuple[str, datetime] | None, *, is_new: bool) -> Check:
    if found is not None:
        return fine("collector", f"{found[0]} leads")
    if is_new:
        return warned("collector", "none has ever led here", "start one: mtok collect")
    return failed(
        "collector",
        "COLLECTOR DEAD: none leads, and agents stop serving",
        "mtok collect, or systemctl status mtok-collect",
    )


def _tick(settings: Settings, session: Session, *, has_leader: bool) -> Check:
    query = select(Tick.at).where(col(Tick.complete).is_(True)).order_by(col(Tick.at).desc()).limit(1)
    at = session.exec(query).first()
    if at is None:
        return warned("ticks", "there has been no complete one", "see mtok status for what is missing")
    age_s = (datetime.now(UTC) - at).total_seconds()
    detail = f"the last complete one was {age_s:.0f} s ago, at {rfc3339(at.replace(microsecond=0))}"
    if age_s <= settings.budget.dark_after.total_seconds():
        return fine("ticks", detail)
    remedy = "see mtok status for what is missing" if has_leader else "start the collector"
    return failed("ticks", detail, remedy)


def _gate(settings: Settings, session: Session) -> Iterator[Check]:
    """Whether it can open, and whether it lets everybody serve; being closed is what it is for, and no fault."""
    policy, now = settings.gate_policy, datetime.now(UTC)
    inputs = gate_inputs(session, policy, now)
    yield from unlimited("limits", settings, billed_in(inputs))
    verdict = verdict_of(inputs, policy, now)
    said = [
        f"{whom}: {why}" if whom and not why.startswith(f"{whom}:") else why for whom, _, why in verdict.closings
    ]
    if not said:
        yield fine("gate", "open")
        return
    state = "closed" if not verdict.is_open else "open, and closed for some"
    yield warned("gate", f"{state}: {'; '.join(said)}", "see mtok gate show")


def _disk(path: Path) -> Check:
    folder = path.parent
    if not folder.is_dir():
        return failed("disk", f"there is no directory {folder}", f"make it: install -d -m 2770 {folder}")
    free_mb = shutil.disk_usage(folder).free // _MB
    size_mb = path.stat().st_size // _MB if path.exists() else 0
    detail = f"{free_mb} MB free in {folder}"
    if free_mb < _LEAST_MB:
        return failed("disk", detail, "free some: what cannot be written is a gap")
    if free_mb < max(_ENOUGH_MB, 2 * size_mb):
        return warned("disk", f"{detail}, the store has {size_mb} MB", "a backup needs as much again; free some")
    return fine("disk", detail)
