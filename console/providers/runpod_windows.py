"""RunPod's windowed bills: the hours' buckets between two instants, the one in progress included.

RunPod states nothing finer than an hour. A window that begins or ends inside one is not answered, but for one that
ends now, as the bucket in progress does.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from console.providers.protocol import Ref, WindowBilled
from console.providers.runpod_billing import CURRENCY, Source
from console.providers.runpod_wire import BillRecord
from store.clock import rfc3339
from store.money import format_nusd

_HOUR = timedelta(hours=1)
_NOW_IS = timedelta(minutes=5)  # billing runs every five minutes: a bucket says nothing of less


def hours(start: datetime, end: datetime, now: datetime) -> tuple[datetime, datetime] | str:
    """The whole hours of `[start, end)`, or why it has none."""
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    if first != _hour(first):
        return f"RunPod bills by the hour, and {rfc3339(first)} is inside one"
    if last != _hour(last):
        if last < now - _NOW_IS:
            return f"RunPod bills by the hour, and {rfc3339(last)} is inside one"
        last = _hour(last) + _HOUR
    return first, last


def query(window: tuple[datetime, datetime]) -> dict[str, str]:
    """How a window is asked for."""
    return {"startTime": rfc3339(window[0]), "endTime": rfc3339(window[1]), "bucketSize": "hour"}


def inside(records: Iterable[BillRecord], window: tuple[datetime, datetime]) -> list[BillRecord]:
    """The records of the window's own hours, should the answer hold others, each once."""
    found = {(one.owner, one.start): one for one in records if window[0] <= one.start and one.end <= window[1]}
    return list(found.values())


def billed(source: Source, records: Iterable[BillRecord]) -> list[WindowBilled]:
    """Each owner's hours added up. RunPod's bill names nobody: the owner's id is all there is."""
    by_owner: dict[str, list[BillRecord]] = {}
    for record in records:
        by_owner.setdefault(record.owner, []).append(record)
    return [_whole(source, owner, rows) for owner, rows in by_owner.items()]


def _whole(source: Source, owner: str, rows: list[BillRecord]) -> WindowBilled:
    nusd = sum(row.total.nusd for row in rows)
    raw = rows[0].total.raw if len(rows) == 1 else format_nusd(nusd)
    return WindowBilled(Ref(source.kind, owner), owner, raw, nusd, CURRENCY)


def _hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)
