"""The keys of the public API: a line each, `label sha256 [tokens_per_day=N] [requests_per_minute=N]`.

A key itself is shown once, when it is made, and stored nowhere. Several keys may have one label, so that a client
can change from one to the next; the label is what usage and limits go by.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from agent.errors import KeyRefused
from store.errors import SettingsError
from store.file_modes import fresh, make_private
from store.settings_file import read_text

log = structlog.get_logger()
RESERVED = "mtok."  # labels of our own probes and benchmarks
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LIMIT = re.compile(r"[0-9]{1,18}")  # what a 64-bit number holds
LIMITS = ("tokens_per_day", "requests_per_minute")


@dataclass(frozen=True, slots=True)
class Key:
    """One key as it is stored. Limits are those of its label: the smallest of its keys'."""

    label: str
    sha256: str
    tokens_per_day: int | None = None
    requests_per_minute: int | None = None

    def line(self) -> str:
        """The key as a line of the file."""
        limits = [f"{name}={value}" for name in LIMITS if (value := getattr(self, name)) is not None]
        return " ".join([self.label, self.sha256, *limits])


class Keys:
    """The keys of a file, read again when it has changed; one that breaks is as if unchanged."""

    def __init__(self, where: str, path: Path, looks_every_s: float = 0.25) -> None:
        """Read the file; from then on it is looked at so often.

        Raises:
            SettingsError: it cannot be read, or a line is no key.
        """
        self._where, self._path, self._looks_every_s = where, path, looks_every_s
        self._looked_s = time.monotonic()
        self._seen = _stamp(path)
        self._labels: dict[str, str] = {}  # by the key's SHA-256
        self._limits: dict[tuple[str, str], int] = {}
        self._take(read_keys(where, path))

    def label(self, key: str) -> str | None:
        """The label of a key; None when it is not known."""
        self._look_again()
        # a hash is looked up, whose digits nobody can choose: the time that takes says nothing of a key
        return self._labels.get(hashlib.sha256(key.encode()).hexdigest())

    def limit(self, label: str, name: str) -> int | None:
        """A label's `tokens_per_day` or `requests_per_minute`; None where it has none."""
        return self._limits.get((label, name))

    def _look_again(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < self._looks_every_s:
            return  # a system call gives the interpreter's lock away: too dear for every request
        self._looked_s = now_s
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._take(read_keys(self._where, self._path))
        except SettingsError as error:
            log.error("keys not read again", problem=str(error))
        else:
            log.info("keys read again", keys=len(self._labels))

    def _take(self, keys: tuple[Key, ...]) -> None:
        limits: dict[tuple[str, str], int] = {}
        for key in keys:
            for name in LIMITS:
                if (value := getattr(key, name)) is not None:
                    limits[key.label, name] = min(value, limits.get((key.label, name), value))
        self._labels, self._limits = {key.sha256: key.label for key in keys}, limits


def read_keys(where: str, path: Path) -> tuple[Key, ...]:
    """Every key of a file.

    Raises:
        SettingsError: it cannot be read, or a line is no key; it names the line.
    """
    lines = enumerate(read_text(where, path).splitlines(), 1)
    return tuple(_key(path, number, words) for number, line in lines if (words := line.split("#")[0].split()))


def create_key(
    path: Path, label: str, *, tokens_per_day: int | None = None, requests_per_minute: int | None = None
) -> str:
    """A new key under `label`, added to the file; the answer is the only place where it ever stands.

    Raises:
        SettingsError: the file cannot be read.
        KeyRefused: the label cannot be used.
    """
    if not _LABEL.fullmatch(label) or label.startswith(RESERVED):
        raise KeyRefused(label, f"a label has letters, digits and . _ @ -, and never begins with {RESERVED}")
    secret = f"mtok-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    line = Key(label, digest, tokens_per_day, requests_per_minute).line()
    with _changing(path) as lines:
        lines.append(f"{line}  # made {datetime.now(UTC).date().isoformat()}")
    return secret


def revoke_key(path: Path, name: str) -> int:
    """Remove every key of a label, or the one key whose SHA-256 begins with `name`; answers how many.

    Raises:
        SettingsError: the file cannot be read.
        KeyRefused: there is no such key.
    """
    with _changing(path) as lines:
        before = len(lines)
        lines[:] = [line for line in lines if not _is_named(line, name)]
        if len(lines) == before:
            raise KeyRefused(name, "there is no key of this label; `mtok agent key list` shows them")
        return before - len(lines)


def _is_named(line: str, name: str) -> bool:
    words = line.split("#")[0].split()
    return len(words) >= 2 and (words[0] == name or (len(name) >= 8 and words[1].startswith(name)))


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[list[str]]:
    """The lines of the file, to be changed: replaced in one step, by one process at a time; a link stays one."""
    path = Path(os.path.realpath(path))
    try:
        lock = path.with_name(f"{path.name}.lock")
        make_private(lock, 0o600)
        with lock.open("w") as lock_file:
            fcntl.flock(lock_file, fcntl.LOCK_EX)
            lines = read_text("keys", path).splitlines() if path.exists() else []
            yield lines
            draft = path.with_name(f"{path.name}.draft")
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
            with os.fdopen(fresh(draft), "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.writelines(f"{line}\n" for line in lines)
            draft.replace(path)
    except OSError as error:
        problem = f"cannot write {path}: {error.strerror or error}"
        raise SettingsError("keys", problem, "check the path and its rights") from None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _key(path: Path, number: int, words: Sequence[str]) -> Key:
    limits = dict(word.partition("=")[::2] for word in words[2:])
    is_key = len(words) >= 2 and _LABEL.fullmatch(words[0]) and _SHA256.fullmatch(words[1])
    is_limited_well = all(name in LIMITS and _LIMIT.fullmatch(value) for name, value in limits.items())
    if not is_key or not is_limited_well or words[0].startswith(RESERVED):
        raise SettingsError(f"{path}, line {number}", "is no `label sha256 [limits]`", "correct or remove it")
    return Key(words[0], words[1], **{name: int(value) for name, value in limits.items()})
