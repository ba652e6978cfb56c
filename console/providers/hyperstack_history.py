"""Hyperstack's windowed bills: what each resource, of any kind, was billed between two instants.

`GET /billing/billing/history/{kind}` has pages of ten by default and answers an empty window with 404. Its dates
have no zone; we take them for UTC, as its captures suggest. Source: the provider's documents (2026-08-26).
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from console.providers.hyperstack_wire import WindowBill, body_of, window_bills
from console.providers.protocol import Batch, Ref, WindowBilled
from console.providers.wire import Unreadable
from store.errors import AmountError
from store.money import format_nusd
from store.words import ResourceKind

Read = Callable[[str, Mapping[str, str]], Awaitable[tuple[int, str]]]
_ROOT = "/billing/billing/history"
_KINDS = {
    "virtual-machine": ResourceKind.INSTANCE,
    "volume": ResourceKind.VOLUME,
    "snapshot": ResourceKind.OTHER,
    "cluster": ResourceKind.OTHER,
    "bucket": ResourceKind.OTHER,
}
_PER_PAGE = 100
_MOST_PAGES = 200


class HistoryFailed(Exception):
    """A windowed bill that could not be read, in one line."""


async def window_billed(read: Read, start: datetime, end: datetime, currency: str) -> Batch[WindowBilled]:
    """What every resource was billed in `[start, end)`; `read` answers a path with a status and a text."""
    found: list[WindowBilled] = []
    problems = []
    for path, kind in _KINDS.items():
        try:
            rows = await _all_pages(read, f"{_ROOT}/{path}", start, end)
            found += [_billed(path, kind, id_, bills, currency) for id_, bills in rows.items()]
        except (HistoryFailed, Unreadable, AmountError) as error:
            problems.append(f"{_ROOT}/{path}: {error}")
    return Batch(tuple(found), tuple(problems))


async def total_billed(read: Read, start: datetime, end: datetime) -> int | str:
    """What the organisation was billed in `[start, end)`, nano-dollars; or the problem in one line."""
    status, text = await read(_ROOT, _dates(start, end))
    if status == 404:
        return 0
    try:
        if status >= 400:
            return f"{_ROOT}: HTTP {status}"
        rows = window_bills(body_of(text))
        return sum(row.metrics["incurred_bill"].nusd for row in rows)
    except (Unreadable, AmountError, KeyError) as error:
        return f"{_ROOT}: {error}"


async def _all_pages(read: Read, path: str, start: datetime, end: datetime) -> dict[str, list[WindowBill]]:
    """By resource, its rows. A list that moves between pages repeats rows: a repeated one counts once."""
    found: dict[str, list[WindowBill]] = {}
    seen: set[str] = set()
    for page in range(1, _MOST_PAGES + 1):
        query = {**_dates(start, end), "page": str(page), "per_page": str(_PER_PAGE)}
        status, text = await read(path, query)
        if status == 404:  # an empty window, or a page beyond the last
            return found
        if status >= 400:
            msg = f"HTTP {status}"
            raise HistoryFailed(msg)
        rows = window_bills(body_of(text))
        for row in rows:
            if row.row_id not in seen:
                found.setdefault(row.resource_id, []).append(row)
            seen.add(row.row_id)
        if len(rows) < _PER_PAGE:
            return found
    msg = f"has more than {_MOST_PAGES} pages"
    raise HistoryFailed(msg)


def _billed(path: str, kind: ResourceKind, id_: str, rows: list[WindowBill], currency: str) -> WindowBilled:
    """A resource's rows as one: created anew inside the window, it has several."""
    missing = [row for row in rows if "incurred_bill" not in row.metrics]
    if missing:
        msg = f"resource {id_}: 'incurred_bill' is missing or no number"
        raise HistoryFailed(msg)
    bills = [row.metrics["incurred_bill"] for row in rows]
    nusd = sum(bill.nusd for bill in bills)
    ref = Ref(kind, id_ if kind is not ResourceKind.OTHER else f"{path}:{id_}")
    raw = bills[0].raw if len(bills) == 1 else format_nusd(nusd)
    return WindowBilled(ref, rows[0].name, raw, nusd, currency)


def _dates(start: datetime, end: datetime) -> dict[str, str]:
    text = "%Y-%m-%dT%H:%M:%S"
    return {"start_date": f"{start.astimezone(UTC):{text}}", "end_date": f"{end.astimezone(UTC):{text}}"}
