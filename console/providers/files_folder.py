"""A folder of statements: which files are whole, what each says, and which of them has the last word.

A file directly in the folder is a statement; so is a folder in it, whose files are its parts. Statements have the
order of their names. Within one, charges of one resource and one period add up; between them, the last one that
states a resource and period replaces what earlier ones said of it.
"""

import gzip
import threading
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext
from fnmatch import fnmatchcase
from pathlib import Path

from console.providers.files_rows import Charge, read_charges
from console.providers.protocol import Ref
from store.errors import AmountError
from store.money import parse_nusd
from store.words import ResourceKind

SETTLES_FOR = timedelta(seconds=2)  # a file that has changed so lately may still be written
WAITS_FOR = timedelta(seconds=60)  # one that has not been ended for so long will not end by itself
_CLOCK_AHEAD = timedelta(seconds=30)
_LARGEST_BYTES = 512 * 2**20
_EXACT = Context(prec=200)
_LONGEST_RAW = 64


@dataclass(frozen=True, slots=True)
class Period:
    """One bucket: what one resource is billed in one currency between two instants."""

    ref: Ref
    start: datetime
    end: datetime
    currency: str

    @property
    def counter(self) -> str:
        """The bucket's identity: whose, of which period, in which currency."""
        span = f"{self.start:%Y-%m-%dT%H:%M:%SZ}/{self.end:%Y-%m-%dT%H:%M:%SZ}"
        return f"files:{self.ref.kind}:{self.ref.id}:{span}:{self.currency}"


@dataclass(frozen=True, slots=True)
class Stated:
    """What the statement with the last word says of a bucket: the sum as text and in nano-units."""

    period: Period
    counter: str
    name: str
    raw: str
    nusd: int


@dataclass(frozen=True, slots=True)
class FolderRead:
    """The whole folder at one instant, by counter. With a problem, nothing in it is used."""

    stated: Mapping[str, Stated] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was when it was read whole."""

    version: tuple[int, int]
    changed_at: datetime
    charges: tuple[Charge, ...]
    problems: tuple[str, ...]


class Folder:
    """Reads a folder again and again; a file that has not changed is not read twice."""

    def __init__(self, path: Path, patterns: Iterable[str], named: Mapping[str, ResourceKind]) -> None:
        self.path, self._patterns, self._named = path, tuple(patterns), named
        self._files: dict[Path, _File] = {}
        self._is_known = False
        self._stated: dict[str, Stated] | None = None  # until a file changes
        self._alone = threading.Lock()  # a reading that was given up goes on in its thread

    def read(self, now: datetime, newest_within: timedelta) -> FolderRead:
        """Everything that the folder says at `now`; it is stale when no file has changed within `newest_within`."""
        with self._alone:
            return self._read(now, newest_within)

    def _read(self, now: datetime, newest_within: timedelta) -> FolderRead:
        try:
            paths = sorted(path for path in self._listed() if self._is_wanted(path))
        except OSError as error:
            return FolderRead(problems=(f"{self.path}: cannot be read: {error.strerror or error}",))
        problems = [problem for path in paths if (problem := self._look(path, now)) is not None]
        for gone in set(self._files) - set(paths):
            del self._files[gone]
            self._stated = None
        problems += [f"{self._called(path)}: {one}" for path, file in self._files.items() for one in file.problems]
        problems += self._staleness(now, newest_within)
        if problems:
            return FolderRead(problems=tuple(problems))
        try:
            self._stated = self._add_up() if self._stated is None else self._stated
        except AmountError as error:
            return FolderRead(problems=(f"{self.path}: {error}",))
        self._is_known = True
        return FolderRead(self._stated)

    def _listed(self) -> Iterable[Path]:
        for path in self.path.iterdir():
            if path.name.startswith("."):
                continue
            if path.is_dir():
                yield from (part for part in path.iterdir() if part.is_file() and part.name[:1] != ".")
            elif path.is_file():
                yield path

    def _is_wanted(self, path: Path) -> bool:
        return any(fnmatchcase(path.name, pattern) for pattern in self._patterns)

    def _called(self, path: Path) -> str:
        return "".join(letter if letter.isprintable() else "?" for letter in str(path.relative_to(self.path)))

    def _look(self, path: Path, now: datetime) -> str | None:
        """Read a file that is new or has changed, once it is whole; answers what spoils the folder's reading."""
        name = self._called(path)
        try:
            stat = path.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            if path in self._files and self._files[path].version == version:
                return None
            changed_at = datetime.fromtimestamp(stat.st_mtime, UTC)
            if changed_at - now > _CLOCK_AHEAD:
                return f"{name}: was changed in the future, at {changed_at:%FT%TZ}; set a clock right"
            if stat.st_size > _LARGEST_BYTES:
                return f"{name}: is larger than {_LARGEST_BYTES // 2**20} MiB; split it"
            if now - changed_at < SETTLES_FOR:
                return self._waits(name, path)
            text = _text(path)
        except (OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
            return f"{name}: cannot be read: {_line(error)}"
        if not text.endswith("\n"):
            is_young = now - changed_at < WAITS_FOR
            return (
                self._waits(name, path) if is_young else f"{name}: its last line has no end; write it again, whole"
            )
        charges, problems = read_charges(text, self._named)
        self._files[path] = _File(version, changed_at, tuple(charges), tuple(problems))
        self._stated = None
        return None

    def _waits(self, name: str, path: Path) -> str | None:
        """A file that is being written: what it said before stands, or it is not there yet.

        Right after a start nobody knows whether it said something before.
        """
        return None if self._is_known or path in self._files else f"{name}: is being written"

    def _staleness(self, now: datetime, newest_within: timedelta) -> list[str]:
        if not self._files:
            return [f"{self.path}: holds no statement yet"]
        path, newest = max(self._files.items(), key=lambda one: one[1].changed_at)
        age = now - newest.changed_at
        if age <= newest_within:
            return []
        hours = age.total_seconds() / 3600
        allowed = newest_within.total_seconds() / 3600
        return [f"{self._called(path)}: the newest file is {hours:.1f} h old, and newest_within is {allowed:g} h"]

    def _add_up(self) -> dict[str, Stated]:
        """By bucket, the sum in the last statement that names it."""
        statements: dict[str, dict[Period, list[Charge]]] = {}
        for path in sorted(self._files):
            statement = statements.setdefault(path.relative_to(self.path).parts[0], {})
            for charge in self._files[path].charges:
                period = Period(charge.ref, charge.start, charge.end, charge.currency)
                statement.setdefault(period, []).append(charge)
        last: dict[Period, list[Charge]] = {}
        for name in sorted(statements):
            last.update(statements[name])
        return {one.counter: one for one in (_stated(period, charges) for period, charges in last.items())}


def _stated(period: Period, charges: list[Charge]) -> Stated:
    """The sum, exact as far as an amount can be written.

    Raises:
        AmountError: it is larger than any bill.
    """
    with localcontext(_EXACT):
        total = sum((charge.amount for charge in charges), Decimal(0))
        raw = f"{total:f}"
        if len(raw) > _LONGEST_RAW:
            raw = f"{total:.30f}"
    return Stated(period, period.counter, charges[-1].name, raw, parse_nusd(raw))


def _text(path: Path) -> str:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            text = file.read(_LARGEST_BYTES)
            if file.read(1):
                msg = f"unpacked it is larger than {_LARGEST_BYTES // 2**20} MiB"
                raise ValueError(msg)
            return text
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _line(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return str(getattr(error, "strerror", None) or error)[:120]
