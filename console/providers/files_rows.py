"""Charges out of a CSV file: FOCUS 1.2, or six columns that any billing export can be turned into.

A row that is not understood is a problem that names its line; nothing is skipped in silence but tax, which is not
ours to count. Source: https://focus.finops.org, "Cost and Usage", 1.2.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from console.providers.protocol import Ref
from store.errors import AmountError
from store.money import parse_nusd
from store.words import ResourceKind

FOCUS = ("BilledCost", "BillingCurrency", "ChargePeriodStart", "ChargePeriodEnd", "ResourceId", "ChargeCategory")
SIMPLE = ("resource", "kind", "start", "end", "amount", "currency")
ACCOUNT = "account"
"""The resource of a charge that names none: a support fee, a credit to the whole account."""

_LONGEST_PERIOD = timedelta(days=1100)  # a commitment of three years is the longest that clouds sell
_LONGEST_ID = 256
_MOST_DECIMALS = 62
_MOST_PROBLEMS = 5
_CURRENCY = re.compile(r"[A-Z]{3}")
_STORAGE = ("volume", "disk", "storage", "snapshot", "bucket")


Row = Mapping[str, str]


class BadRow(ValueError):
    """A row that cannot be counted, and why."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one row says that a resource was billed in `[start, end)`; negative for a credit or a refund."""

    ref: Ref
    name: str
    start: datetime
    end: datetime
    amount: Decimal
    currency: str


_Parse = Callable[[Row, Mapping[str, ResourceKind]], Iterator[Charge]]


def read_charges(text: str, named: Mapping[str, ResourceKind]) -> tuple[list[Charge], list[str]]:
    """The charges of one file, and its problems with their lines. `named`: kinds of ids that the settings name."""
    problems: list[str] = []
    found: list[Charge] = []
    try:
        rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
        header = [name.strip() for name in next(rows, [])]
        parse = _parser(header)
        if parse is None:
            need = f"needs the columns {', '.join(SIMPLE)}, or FOCUS's {', '.join(FOCUS)}"
            return [], [f"line 1: {need}"]
        for cells in rows:
            if not cells:
                continue
            try:
                found += parse(_by_name(header, cells), named)
            except BadRow as error:
                problems.append(f"line {rows.line_num}: {error}")
    except csv.Error as error:
        problems.append(f"line {rows.line_num}: {error}")
    more = len(problems) - _MOST_PROBLEMS
    return found, [*problems[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]


def _parser(header: Sequence[str]) -> _Parse | None:
    if set(SIMPLE) <= set(header):
        return _simple
    return _focus if set(FOCUS) <= set(header) else None


def _by_name(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(header):
        msg = f"has {len(cells)} cells under {len(header)} columns"
        raise BadRow(msg)
    return {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _simple(row: Row, _named: Mapping[str, ResourceKind]) -> Iterator[Charge]:
    try:
        kind = ResourceKind(row["kind"])
    except ValueError:
        msg = f"kind {_shown(row['kind'])} is none of {', '.join(ResourceKind)}"
        raise BadRow(msg) from None
    ref = Ref(kind, _id(row["resource"]))
    yield _charge(ref, row.get("name", ""), (row["start"], row["end"]), row["amount"], row["currency"])


def _focus(row: Row, named: Mapping[str, ResourceKind]) -> Iterator[Charge]:
    if row["ChargeCategory"] == "Tax":
        return
    id_ = row["ResourceId"]
    kind = named.get(id_) or _kind(row.get("ResourceType", ""), row.get("ServiceCategory", ""))
    ref = Ref(kind, _id(id_)) if id_ else Ref(ResourceKind.OTHER, ACCOUNT)
    period = (row["ChargePeriodStart"], row["ChargePeriodEnd"])
    yield _charge(ref, row.get("ResourceName", ""), period, row["BilledCost"], row["BillingCurrency"])


def _kind(resource_type: str, category: str) -> ResourceKind:
    if category == "Storage" or any(word in resource_type.lower() for word in _STORAGE):
        return ResourceKind.VOLUME
    return ResourceKind.INSTANCE if category in ("Compute", "AI and Machine Learning") else ResourceKind.OTHER


def _charge(ref: Ref, name: str, period: tuple[str, str], amount: str, currency: str) -> Charge:
    start, end = _instant(period[0]), _instant(period[1])
    if not timedelta(0) < end - start <= _LONGEST_PERIOD:
        msg = f"the period {_shown(period[0])} to {_shown(period[1])} does not end after its start, or is too long"
        raise BadRow(msg)
    if not _CURRENCY.fullmatch(currency):
        msg = f"{_shown(currency)} is no currency, such as USD"
        raise BadRow(msg)
    printable = "".join(letter for letter in name if letter.isprintable())[:_LONGEST_ID]
    return Charge(ref, printable or ref.id, start, end, _amount(amount), currency)


def _amount(text: str) -> Decimal:
    try:
        parse_nusd(text)
    except AmountError as error:
        msg = f"amount {_shown(text)} {error.problem}"
        raise BadRow(msg) from None
    amount = Decimal(text)
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_MOST_DECIMALS:
        msg = f"amount {_shown(text)} has more decimals than any bill"
        raise BadRow(msg)
    return amount


def _id(text: str) -> str:
    if not text or len(text) > _LONGEST_ID or not text.isprintable():
        msg = f"resource {_shown(text)} is empty, too long or not printable"
        raise BadRow(msg)
    return text


def _instant(text: str) -> datetime:
    """An instant or a date; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        msg = f"{_shown(text)} is no instant, such as 2026-11-24T08:00:00Z"
        raise BadRow(msg) from None
    if not 2000 <= at.year < 9000:  # far enough from the calendar's ends to be reckoned with
        msg = f"{_shown(text)} lies in no year of ours"
        raise BadRow(msg)
    return at


def _shown(text: str) -> str:
    return repr(text[:40])
