"""Whether a path is on storage that sleeping destroys: then a ledger there is no ledger.

Source: proc_pid_mountinfo(5).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import VanishingStorage

_VANISHING_KINDS = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_VANISHING_PATHS = (Path("/ephemeral"), Path("/mnt/ephemeral"), Path("/run"), Path("/dev/shm"))  # noqa: S108
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, and of what kind."""

    path: Path
    kind: str


def read_mounts(text: str) -> list[Mount]:
    """The mounts of a `mountinfo`, in its order: a later one covers an earlier one."""
    found: list[Mount] = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        words, kinds = before.split(), after.split()
        if len(words) >= 5 and kinds:
            path = _OCTAL.sub(lambda match: chr(int(match[1], 8)), words[4])
            found.append(Mount(Path(path), kinds[0]))
    return found


def why_vanishing(path: Path, mounts: Iterable[Mount], more: Sequence[Path] = ()) -> str | None:
    """Why what is written to `path` is lost when the machine sleeps; None when nothing says so."""
    for place in (*_VANISHING_PATHS, *more):
        if path.is_relative_to(place):
            return f"{place} is storage that sleeping destroys"
    mount: Mount | None = None
    for one in mounts:
        if path.is_relative_to(one.path) and (mount is None or one.path.is_relative_to(mount.path)):
            mount = one
    if mount is None:
        return None
    if mount.kind in _VANISHING_KINDS:
        return f"{mount.path} is in memory ({mount.kind})"
    if mount.kind == "overlay" and mount.path == Path("/"):
        return "/ is the overlay of a container, which goes with it"
    return None


def check_storage(what: str, path: Path, more: Sequence[Path] = ()) -> None:
    """Refuse a path that sleeping destroys.

    Raises:
        VanishingStorage: it is on such storage.
    """
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    except OSError:
        return  # no Linux: nothing is known
    reason = why_vanishing(path.resolve(), read_mounts(text), more)
    if reason is not None:
        raise VanishingStorage(what, path, reason)
