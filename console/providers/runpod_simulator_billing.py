"""The simulated RunPod's bills in buckets, in the shapes of its OpenAPI document."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from console.providers.runpod_simulator_world import SimulatedResource, SimulatedRunPod, bucket_at
from console.providers.simulator_bodies import noisy
from console.providers.simulator_world import instant
from store.money import NUSD

Body = dict[str, Any]
SIZES = ("hour", "day", "week", "month", "year")
_THIRTY_DAYS_S = 30 * 86_400
_MOST_BUCKETS = 20_000
_ACCOUNT = (
    "podCpuAmount",
    "serverlessGpuAmount",
    "serverlessCpuAmount",
    "serverlessDiskAmount",
    "serverlessFeeAmount",
    "storageHighPerformanceAmount",
    "endpointAmount",
    "clusterGpuAmount",
    "clusterDiskAmount",
    "clusterNetworkingAmount",
)


class BadQuery(ValueError):
    """A query that the document does not allow."""


def pods(world: SimulatedRunPod, query: dict[str, str]) -> Body:
    """`GET /v2/billing/pods`."""
    only = query.get("podId")
    return _answer(world, query, "pod", only, "podId", "uniquePodCount", _pod_amounts)


def volumes(world: SimulatedRunPod, query: dict[str, str]) -> Body:
    """`GET /v2/billing/network-volumes`."""
    only = query.get("networkVolumeId")
    return _answer(world, query, "volume", only, "networkVolumeId", "uniqueNetworkVolumeCount", _volume_amounts)


def account(world: SimulatedRunPod, query: dict[str, str]) -> Body:
    """`GET /v2/billing`."""
    size, buckets = _buckets(world, query)
    told, rows = world.billed_s(), []
    for start, end in buckets:
        if any(_is_billed(one, start, end, told) for one in world.resources):
            rows.append({**_bucket(start, end), **_account_amounts(world.resources, start, end, told)})
    whole = _account_amounts(world.resources, *_whole(buckets), told)
    return {
        "records": rows,
        "metadata": {"query": _query(size, buckets), "recordCount": len(rows), "totals": whole},
    }


def _answer(
    world: SimulatedRunPod,
    query: dict[str, str],
    kind: str,
    only: str | None,
    owner: str,
    unique: str,
    amounts: Callable[[Sequence[SimulatedResource], int, int, int], Body],
) -> Body:
    size, buckets = _buckets(world, query)
    told = world.billed_s()
    chosen = [one for one in world.resources if one.kind == kind and only in (None, one.id)]
    rows = [
        {**_bucket(start, end), owner: one.id, **amounts([one], start, end, told)}
        for start, end in buckets
        for one in chosen
        if _is_billed(one, start, end, told)
    ]
    asked = _query(size, buckets) | ({owner: only} if only is not None else {})
    metadata = {
        "query": asked,
        "recordCount": len(rows),
        unique: len({row[owner] for row in rows}),
        "totals": amounts(chosen, *_whole(buckets), told),
    }
    return {"records": rows, "metadata": metadata}


def _is_billed(one: SimulatedResource, start: int, end: int, told: int) -> bool:
    """Whether there is a record: from the first step of the bill inside the bucket on."""
    existed = one.created_s < end and (one.deleted_s is None or one.deleted_s > start)
    return existed and one.told_s(told) > max(start, one.created_s)


def _pod_amounts(chosen: Sequence[SimulatedResource], start: int, end: int, told: int) -> Body:
    total = sum(one.billed_nusd(start, end, told) for one in chosen)
    disk = sum(one.disk_nusd(start, end, told) for one in chosen)
    return {
        "totalAmount": noisy(total, told),
        "gpuAmount": (total - disk) / NUSD,
        "cpuAmount": 0,
        "diskAmount": disk / NUSD,
    }


def _volume_amounts(chosen: Sequence[SimulatedResource], start: int, end: int, told: int) -> Body:
    total = sum(one.billed_nusd(start, end, told) for one in chosen)
    return {"totalAmount": noisy(total, told), "standardAmount": total / NUSD, "highPerformanceAmount": 0}


def _account_amounts(chosen: Sequence[SimulatedResource], start: int, end: int, told: int) -> Body:
    running = _pod_amounts([one for one in chosen if one.kind == "pod"], start, end, told)
    storage = sum(one.billed_nusd(start, end, told) for one in chosen if one.kind == "volume")
    return {
        "totalAmount": sum(one.billed_nusd(start, end, told) for one in chosen) / NUSD,
        "podGpuAmount": running["gpuAmount"],
        "podDiskAmount": running["diskAmount"],
        "storageStandardAmount": storage / NUSD,
        **dict.fromkeys(_ACCOUNT, 0),
    }


def _buckets(world: SimulatedRunPod, query: dict[str, str]) -> tuple[str, list[tuple[int, int]]]:
    """The size asked for, and the buckets of the window, which is snapped outward to whole ones."""
    size, now = query.get("bucketSize", "day"), world.now_s()
    if size not in SIZES:
        msg = f"bucketSize must be one of {', '.join(SIZES)}"
        raise BadQuery(msg)
    if "lastN" in query:
        if "startTime" in query or "endTime" in query:
            msg = "lastN and startTime/endTime are mutually exclusive"
            raise BadQuery(msg)
        return size, _last(size, now, query["lastN"])
    start, end = _second(query, "startTime", now - _THIRTY_DAYS_S), _second(query, "endTime", now)
    return size, list(_between(size, start, end))


def _last(size: str, now: int, text: str) -> list[tuple[int, int]]:
    if not text.isdigit() or not 1 <= int(text) <= _MOST_BUCKETS:
        msg = "lastN must be a positive integer"
        raise BadQuery(msg)
    found = [bucket_at(size, now)]
    while len(found) < int(text):
        found.append(bucket_at(size, found[-1][0] - 1))
    return found[::-1]


def _between(size: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if end <= start:
        msg = "endTime must be after startTime"
        raise BadQuery(msg)
    bucket = bucket_at(size, start)
    while bucket[0] < end:
        yield bucket
        bucket = bucket_at(size, bucket[1])


def _second(query: dict[str, str], name: str, default: int) -> int:
    if name not in query:
        return default
    try:
        at = datetime.fromisoformat(query[name])
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        msg = f"{name} must be in RFC 3339"
        raise BadQuery(msg)
    return int(at.timestamp())


def _bucket(start: int, end: int) -> Body:
    return {"startTime": instant(start), "endTime": instant(end)}


def _whole(buckets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return buckets[0][0], buckets[-1][1]


def _query(size: str, buckets: Sequence[tuple[int, int]]) -> Body:
    return {**_bucket(*_whole(buckets)), "bucketSize": size}
