"""`mtok reconcile`: a closed window's figures against the provider's windowed bill, or an invoice's file."""

import asyncio
import csv
import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from console.errors import ProviderError
from console.providers.protocol import Provider
from store.check import Finding
from store.database import Database
from store.errors import AmountError, SettingsError
from store.money import parse_nusd
from store.reconcile import Counted, Line, Resource, altered, counted, edges_to_ask, reconcile
from store.window import day_start

_AT_ONCE = 4  # well below any provider's limit of requests


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One provider in one window, line by line. `organisation_nusd`: what they say of the whole account."""

    provider: str
    start: datetime
    end: datetime
    lines: tuple[Line, ...]
    altered: tuple[Finding, ...]
    organisation_nusd: int | str | None
    notes: tuple[str, ...] = field(default=())

    @property
    def theirs_nusd(self) -> int:
        """What their lines add up to."""
        return sum(line.theirs_nusd or 0 for line in self.lines)

    @property
    def holds(self) -> bool:
        """Whether nothing is left to explain."""
        total = self.organisation_nusd
        agrees = total is None or (isinstance(total, int) and abs(total - self.theirs_nusd) <= len(self.lines) + 1)
        return agrees and not self.altered and all(line.holds for line in self.lines)


async def reconcile_window(
    database: Database,
    provider: Provider,
    start: datetime,
    end: datetime,
    invoice: Mapping[Resource, int] | None = None,
) -> Reconciled:
    """Our counters against the provider's windowed bill, or against `invoice`.

    Raises:
        ProviderError: the provider's bill cannot be read whole: half a bill proves nothing.
    """
    parts, findings = await asyncio.to_thread(_ours, database, provider.name, start, end)
    theirs = dict(invoice) if invoice is not None else await _billed(provider, start, end)
    windows = sorted(edges_to_ask(parts, start, end))
    edges: dict[tuple[datetime, datetime], Mapping[Resource, int]] = {}
    for index in range(0, len(windows), _AT_ONCE):
        some = windows[index : index + _AT_ONCE]
        answers = await asyncio.gather(*(_billed(provider, *window) for window in some))
        edges.update(zip(some, answers, strict=True))
    lines = reconcile(parts, theirs, edges, start, end)
    total = None if invoice is not None else await provider.billed_total(start, end)
    return Reconciled(provider.name, start, end, tuple(lines), tuple(findings), total)


def days(start: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The civil days of `zone` in `[start, end)`, the first and the last perhaps in part."""
    cuts = [start]
    while (following := day_start(day_start(cuts[-1], zone) + timedelta(hours=36), zone)) < end:
        cuts.append(following)
    return list(zip(cuts, [*cuts[1:], end], strict=True))


def read_invoice(path: Path) -> dict[Resource, int]:
    """An invoice's amounts by resource: columns `resource_type, resource_id, amount`, or FOCUS's.

    Raises:
        SettingsError: it cannot be read; it names the row.
    """
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = _columns(path, rows.fieldnames or ())
            found: dict[Resource, int] = {}
            for number, row in enumerate(rows, 2):
                resource, nusd = _invoiced(path, number, row, columns)
                found[resource] = found.get(resource, 0) + nusd
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(str(path), f"cannot be read: {error}", "check the file") from None
    return found


_SIMPLE = ("resource_type", "resource_id", "amount")
_FOCUS = ("ResourceType", "ResourceId", "BilledCost")


def _columns(path: Path, names: object) -> tuple[str, str, str]:
    given = set(names) if isinstance(names, list | tuple) else set()
    for columns in (_SIMPLE, _FOCUS):
        if given.issuperset(columns):
            return columns
    need = f"its header needs {', '.join(_SIMPLE)}, or FOCUS's {', '.join(_FOCUS)}"
    raise SettingsError(str(path), "is no invoice that we can read", need)


def _invoiced(
    path: Path, number: int, row: Mapping[str, str | None], columns: tuple[str, str, str]
) -> tuple[Resource, int]:
    kind, id_, amount = ((row.get(column) or "").strip() for column in columns)
    try:
        nusd = parse_nusd(amount)
    except AmountError as error:
        raise SettingsError(
            f"{path}: row {number}", f"{columns[2]} {amount!r}: {error.problem}", "correct it"
        ) from None
    return (_kind(kind), id_), nusd


def _kind(text: str) -> str:
    word = text.lower()
    if word in ("instance", "volume", "other"):
        return word
    return "volume" if any(part in word for part in ("volume", "disk", "storage")) else "instance"


def _ours(database: Database, provider: str, start: datetime, end: datetime) -> tuple[list[Counted], list[Finding]]:
    with database.read() as session:
        parts = list(counted(session, provider, start, end))
        return parts, list(altered(session, parts, start, end))


async def _billed(provider: Provider, start: datetime, end: datetime) -> dict[Resource, int]:
    batch = await provider.billed(start, end)
    if batch.problems:
        raise ProviderError(provider.name, "windowed bill", "; ".join(batch.problems), "try again later")
    found: dict[Resource, int] = {}
    for one in batch.items:
        resource = (str(one.ref.kind), one.ref.id)
        found[resource] = found.get(resource, 0) + one.nusd
    return found
