"""Files that hold amounts, names or secrets are never open to everybody, whatever the umask says."""

import contextlib
import os
from pathlib import Path


def make_private(path: Path, mode: int) -> None:
    """Make an empty file of at most `mode` where there is none; whoever opens it next says what went wrong.

    SQLite gives a database's mode to its journals.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode))


def fresh(path: Path) -> int:
    """A descriptor to write to a new file for its owner alone, in place of whatever had its name.

    Never through a link that somebody else has put there.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
