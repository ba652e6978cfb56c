"""`mtok store backup|restore`: the store as a file, and back."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from console.opening import opened
from console.service import current_actor
from console.settings import load_settings
from console.settings_place import find_settings
from store.backup import back_up
from store.check import Finding
from store.clock import rfc3339
from store.errors import ExitCode
from store.restore import restore


def backup_store(config: Path | None, file: Path) -> int:
    """Write the store to `file`; exit code 1 where something in it does not hold."""
    with opened(config, read_only=True) as (_settings, database):
        made = back_up(database, file.expanduser())
    rows = sum(made.rows.values())
    print(f"wrote {made.path}: {made.size_bytes:,} bytes, {rows} rows of {len(made.rows)} tables, proved")
    return _told(made.findings, "in the store, and so in the backup")


def restore_store(config: Path | None, file: Path, *, force: bool) -> int:
    """Put `file` in the place of the store that the settings name."""
    settings = load_settings(find_settings(config))
    now = datetime.now(UTC)
    done = restore(file.expanduser(), settings.store_url, now, current_actor(), force=force)
    newest = "no tick" if done.newest_at is None else f"the last tick is of {rfc3339(done.newest_at)}"
    print(f"restored {settings.store_url} from {file}, a store of version {done.version}: {newest}")
    if done.kept is not None:
        print(f"the store that was there is {done.kept}", file=sys.stderr)
    print("minutes since then are a gap; the bills ran on, so no spend is lost", file=sys.stderr)
    return _told(done.findings, "in what was restored")


def _told(findings: tuple[Finding, ...], where: str) -> int:
    for one in findings[:10]:
        print(f"does not hold {where}: {one.subject}: {one.problem}", file=sys.stderr)
    return int(ExitCode.FAILED if findings else ExitCode.OK)
