"""What `mtok init` leaves on the disk: settings that load, and secrets that their owner alone can read."""

import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from console.settings import Settings, load_settings
from store.errors import SettingsError


def write_all(path: Path, text: str, secrets: Mapping[Path, str], now: datetime) -> tuple[Settings, Path | None]:
    """Write secrets, then the settings at `path`, in one step each; answers the settings and where old ones are.

    Nothing takes the place of `path` that cannot be loaded; what gives way is kept beside it.

    Raises:
        SettingsError: something cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for place, secret in secrets.items():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not place.exists() or place.read_text(encoding="utf-8").strip() != secret:
                _kept(place, now)
                _draft(place, f"{secret}\n").replace(place)
        draft = _draft(path, text)
        try:
            load_settings(draft)
            kept = _kept(path, now)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        where = str(error.filename or path)
        raise SettingsError(where, f"cannot be written: {error.strerror}", "check its folder's rights") from None
    return load_settings(path), kept


def why_not_new(path: Path, *, force: bool) -> str | None:
    """Why nothing may be written at `path`, or None."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        return "is no file"
    return None if force or not path.exists() else "is there already"


def _kept(path: Path, now: datetime) -> Path | None:
    if not path.exists():
        return None
    kept = path.with_name(f"{path.name}.before-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    path.replace(kept)
    kept.chmod(0o600)
    return kept


def _draft(path: Path, text: str) -> Path:
    """A draft beside `path`, on the disk, that its owner alone can read."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    number = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft
