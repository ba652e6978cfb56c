"""`mtok reconcile`: a closed window's figures against the provider's windowed bill, or an invoice's file."""

import asyncio
import csv
import gzip
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from console.errors import ProviderError
from console.providers.protocol import Provider
from store.check import Finding
from store.database import Database
from store.errors import AmountError, SettingsError
from store.money import USD, parse_nusd
from store.reconcile import Counted, Key, Line, altered, counted, edges_to_ask, our_lines, reconcile
from store.window import day_start

_AT_ONCE = 4  # well below any provider's limit of requests


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One provider in one window (all of them, for an invoice), line by line.

    `organisation_nusd`: what they say of the whole account, in the one currency that it then bills in.
    """

    provider: str
    start: datetime
    end: datetime
    lines: tuple[Line, ...]
    altered: tuple[Finding, ...]
    organisation_nusd: int | str | None

    @property
    def theirs_nusd(self) -> int:
        """What their lines add up to, where they are in one currency: beside `organisation_nusd`."""
        return sum(line.theirs_nusd or 0 for line in self.lines)

    @property
    def remaining_nusd(self) -> dict[str, int]:
        """By currency, what nothing explains."""
        found: dict[str, int] = {}
        for line in self.lines:
            found[line.currency] = found.get(line.currency, 0) + line.remaining_nusd
        return found

    @property
    def holds(self) -> bool:
        """Whether nothing is left to explain."""
        total = self.organisation_nusd
        agrees = total is None or (isinstance(total, int) and abs(total - self.theirs_nusd) <= len(self.lines) + 1)
        return agrees and not self.altered and all(line.holds for line in self.lines)


async def reconcile_window(database: Database, provider: Provider, start: datetime, end: datetime) -> Reconciled:
    """Our counters against the provider's windowed bill.

    Raises:
        ProviderError: the provider's bill cannot be read whole: half a bill proves nothing.
    """
    lines, findings = await _ours(database, provider, start, end)
    theirs = await _billed(provider, start, end)
    total = await provider.billed_total(start, end)
    return Reconciled(provider.name, start, end, tuple(reconcile(lines, theirs)), tuple(findings), total)


async def reconcile_invoice(
    database: Database, providers: Sequence[Provider], start: datetime, end: datetime, invoice: Mapping[Key, int]
) -> Reconciled:
    """The counters of all `providers` together against one invoice, which does not say whose a line is.

    Raises:
        ProviderError: a provider's bill of an edge cannot be read whole.
    """
    lines: list[Line] = []
    findings: list[Finding] = []
    for provider in providers:
        some, altered_there = await _ours(database, provider, start, end)
        lines += some
        findings += altered_there
    names = ", ".join(provider.name for provider in providers)
    return Reconciled(names, start, end, tuple(reconcile(lines, _stated(invoice, lines))), tuple(findings), None)


def _stated(invoice: Mapping[Key, int], lines: Iterable[Line]) -> dict[Key, int]:
    """The invoice where it names no currency too: an amount is in that in which we know the resource."""
    known = {line.resource: line.currency for line in lines}
    found: dict[Key, int] = {}
    for (kind, id_, currency), nusd in invoice.items():
        key = (kind, id_, currency or known.get((kind, id_), USD))
        found[key] = found.get(key, 0) + nusd
    return found


def days(start: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The civil days of `zone` in `[start, end)`, the first and the last perhaps in part."""
    cuts = [start]
    while (following := day_start(day_start(cuts[-1], zone) + timedelta(hours=36), zone)) < end:
        cuts.append(following)
    return list(zip(cuts, [*cuts[1:], end], strict=True))


def read_invoice(path: Path) -> dict[Key, int]:
    """An invoice's amounts by resource and currency, before tax; the currency is empty where none is named.

    Columns `resource_type, resource_id, amount` and perhaps `currency`, or FOCUS's.

    Raises:
        SettingsError: it cannot be read; it names the row.
    """
    try:
        opening = gzip.open if path.suffix == ".gz" else open
        with opening(path, "rt", encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = _columns(path, rows.fieldnames or ())
            found: dict[Key, int] = {}
            for number, row in enumerate(rows, 2):
                if columns is _FOCUS and _cell(row, "ChargeCategory") == "Tax":
                    continue
                key, nusd = _invoiced(path, number, row, columns)
                found[key] = found.get(key, 0) + nusd
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(str(path), f"cannot be read: {error}", "check the file") from None
    return found


Row = Mapping[str, str | None]
_SIMPLE = ("resource_type", "resource_id", "amount", "currency")
_FOCUS = ("ResourceType", "ResourceId", "BilledCost", "BillingCurrency")


def _columns(path: Path, names: object) -> tuple[str, str, str, str]:
    given = set(names) if isinstance(names, list | tuple) else set()
    for columns in (_SIMPLE, _FOCUS):
        if given.issuperset(columns[:3]):
            return columns
    need = f"its header needs {', '.join(_SIMPLE[:3])}, or FOCUS's {', '.join(_FOCUS[:3])}"
    raise SettingsError(str(path), "is no invoice that we can read", need)


def _invoiced(path: Path, number: int, row: Row, columns: tuple[str, str, str, str]) -> tuple[Key, int]:
    kind, id_, amount, currency = (_cell(row, column) for column in columns)
    try:
        nusd = parse_nusd(amount)
    except AmountError as error:
        raise SettingsError(
            f"{path}: row {number}", f"{columns[2]} {amount!r}: {error.problem}", "correct it"
        ) from None
    return (_kind(kind), id_, currency.upper()), nusd


def _cell(row: Row, column: str) -> str:
    return (row.get(column) or "").strip()


def _kind(text: str) -> str:
    word = text.lower()
    if word in ("instance", "volume", "other"):
        return word
    return "volume" if any(part in word for part in ("volume", "disk", "storage")) else "instance"


async def _ours(
    database: Database, provider: Provider, start: datetime, end: datetime
) -> tuple[list[Line], list[Finding]]:
    """One provider's counters, with its own bill of what lies between their samples and the window's edges."""
    parts, findings = await asyncio.to_thread(_counted, database, provider.name, start, end)
    windows = sorted(edges_to_ask(parts, start, end))
    edges: dict[tuple[datetime, datetime], Mapping[Key, int]] = {}
    for index in range(0, len(windows), _AT_ONCE):
        some = windows[index : index + _AT_ONCE]
        answers = await asyncio.gather(*(_billed(provider, *window) for window in some))
        edges.update(zip(some, answers, strict=True))
    return list(our_lines(parts, edges, start, end)), findings


def _counted(
    database: Database, provider: str, start: datetime, end: datetime
) -> tuple[list[Counted], list[Finding]]:
    with database.read() as session:
        parts = list(counted(session, provider, start, end))
        return parts, list(altered(session, parts, start, end))


async def _billed(provider: Provider, start: datetime, end: datetime) -> dict[Key, int]:
    batch = await provider.billed(start, end)
    if batch.problems:
        raise ProviderError(provider.name, "windowed bill", "; ".join(batch.problems), "try again later")
    found: dict[Key, int] = {}
    for one in batch.items:
        key = (str(one.ref.kind), one.ref.id, one.currency)
        found[key] = found.get(key, 0) + one.nusd
    return found
