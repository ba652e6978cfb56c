"""RunPod's bodies, read with the provider's own digits kept (REST v2, OpenAPI document of 2026-08-18).

What one row lacks makes that row a problem in one line; the others stand. A pod's `env` may hold secrets: of a
body nothing is kept but the fields below.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from console.providers.wire import Number, Unreadable, not_negative, object_in, object_of, rows_of

Row = TypeVar("Row")

_BEGINS_AT_ZERO = "a bucket's bill begins at zero"


class Bucket(StrEnum):
    """How long a bucket of the bill is, in the provider's words."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class PodRow:
    """A pod, from `GET /v2/pods`. `cost` is per hour, and 0.0 while it is stopped although its disk is billed.

    `actions`: what may be asked of it now. `network_volume`: the one that it is on; `disk_gb`: its own volume disk.
    """

    id: str
    name: str
    status: str
    actions: frozenset[str]
    cost: Number | None
    is_locked: bool
    has_gpu: bool
    created_at: datetime | None
    address: str | None
    network_volume: str | None
    disk_gb: Number | None


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A network volume, from `GET /v2/network-volumes`: no price and no state."""

    id: str
    name: str
    size_gb: Number | None
    is_fast: bool


@dataclass(frozen=True, slots=True)
class BillRecord:
    """What `owner` was billed in one bucket `[start, end)`: a pod, a volume, or a family of the account's bill."""

    owner: str
    start: datetime
    end: datetime
    total: Number


@dataclass(frozen=True, slots=True)
class Rows:
    """The sound rows of a list, and each problem in one line."""

    problems: tuple[str, ...]
    pods: tuple[PodRow, ...] = ()
    volumes: tuple[VolumeRow, ...] = ()
    records: tuple[BillRecord, ...] = ()


def body_of(text: str) -> dict[str, Any]:
    """The JSON object in `text`, numbers as `Number`.

    Raises:
        Unreadable: truncated, or no object.
    """
    return object_of(text, tells_why=False)


def pods_of(text: str) -> Rows:
    """The pods of the account.

    Raises:
        Unreadable: no such list.
    """
    found, problems = _each(rows_of(body_of(text), "pods"), "id", pod_row)
    return Rows(problems, pods=found)


def volumes_of(text: str) -> Rows:
    """The network volumes of the account.

    Raises:
        Unreadable: no such list.
    """
    found, problems = _each(rows_of(body_of(text), "networkVolumes"), "id", _volume_row)
    return Rows(problems, volumes=found)


def records_of(text: str, owner: str, bucket: Bucket) -> Rows:
    """The records of a bill in buckets of the size that was asked for; `owner` is the field that says whose.

    Raises:
        Unreadable: no such list, other buckets, or fewer records than the answer itself counts.
    """
    body = body_of(text)
    rows = _counted(body, bucket)
    found, problems = _each(rows, owner, lambda row: _record(row, _text(row, owner)))
    return Rows(problems, records=found)


FAMILIES: Mapping[str, tuple[str, ...]] = {
    "serverless": ("serverlessGpuAmount", "serverlessCpuAmount", "serverlessDiskAmount", "serverlessFeeAmount"),
    "endpoints": ("endpointAmount",),
    "clusters": ("clusterGpuAmount", "clusterDiskAmount", "clusterNetworkingAmount"),
}
"""What the account's bill has besides pods and network volumes, by the fields that make it up."""


def families_of(text: str, bucket: Bucket) -> Rows:
    """What else the account was billed: of each bucket one record a family, its fields added up exactly.

    Raises:
        Unreadable: as `records_of`.
    """
    rows = _counted(body_of(text), bucket)
    parts = [_each(rows, "startTime", partial(_family, name=name)) for name in FAMILIES]
    problems = dict.fromkeys(problem for _, found in parts for problem in found)
    return Rows(tuple(problems), records=tuple(one for records, _ in parts for one in records))


def account_of(text: str, bucket: Bucket) -> Rows:
    """What the whole account was billed, bucket by bucket.

    Raises:
        Unreadable: as `records_of`.
    """
    found, problems = _each(_counted(body_of(text), bucket), "startTime", lambda row: _record(row, "account"))
    return Rows(problems, records=found)


def pod_row(row: Any) -> PodRow:
    """One pod.

    Raises:
        Unreadable: it has no id or no status, or its actions are no list.
    """
    status, actions = _text(row, "status"), rows_of(row, "actions")
    mounts = object_in(row, "mounts")
    disk, cost = object_in(mounts, "persistent").get("size"), row.get("cost")
    return PodRow(
        id=_text(row, "id"),
        name=str(row.get("name") or ""),
        status=status.upper(),
        actions=frozenset(one for one in actions if isinstance(one, str)),
        cost=cost if isinstance(cost, Number) else None,
        is_locked=row.get("locked") is True,
        has_gpu=_has_gpu(row),
        created_at=_instant(row, "createdAt") if row.get("createdAt") is not None else None,
        address=_address(row),
        network_volume=_network_volume(mounts),
        disk_gb=disk if isinstance(disk, Number) else None,
    )


def _has_gpu(row: Mapping[str, Any]) -> bool:
    """Whether it has what it computes on: a pod may be given back with zero GPUs, for its data alone."""
    count = object_in(row, "gpu").get("count")
    return not (isinstance(count, Number) and count.raw == "0")


def _address(row: Mapping[str, Any]) -> str | None:
    """Where its SSH answers directly; the proxy carries no port forwarding."""
    host = object_in(object_in(row, "ssh"), "direct").get("host")
    return host if isinstance(host, str) and host else None


def _network_volume(mounts: Mapping[str, Any]) -> str | None:
    network = mounts.get("network")
    for mount in network if isinstance(network, list) else ():
        id_ = mount.get("volumeId") if isinstance(mount, dict) else None
        if isinstance(id_, str):
            return id_
    return None


def _volume_row(row: Any) -> VolumeRow:
    size = row.get("size") if isinstance(row, dict) else None
    return VolumeRow(
        id=_text(row, "id"),
        name=str(row.get("name") or ""),
        size_gb=size if isinstance(size, Number) else None,
        is_fast=row.get("type") == "HIGH_PERFORMANCE",
    )


def _counted(body: Mapping[str, Any], bucket: Bucket) -> list[Any]:
    """The records, if they are all there and of the size that was asked for."""
    rows, metadata = rows_of(body, "records"), object_in(body, "metadata")
    size, count = object_in(metadata, "query").get("bucketSize"), metadata.get("recordCount")
    if size != bucket:
        msg = f"asked for buckets of a {bucket}, answered with {str(size)[:20]!r}"
        raise Unreadable(msg)
    if not isinstance(count, Number) or count.raw != str(len(rows)):
        said = count.raw[:20] if isinstance(count, Number) else "nothing"
        msg = f"{len(rows)} records, and 'recordCount' says {said}"
        raise Unreadable(msg)
    return rows


def _record(row: Any, owner: str) -> BillRecord:
    return BillRecord(owner, _instant(row, "startTime"), _instant(row, "endTime"), _amount(row, "totalAmount"))


def _family(row: Any, name: str) -> BillRecord:
    parts = [_amount(row, field) for field in FAMILIES[name]]
    with localcontext(prec=120):
        total = Number(str(sum((Decimal(part.raw) for part in parts), Decimal(0))))
    return BillRecord(
        name, _instant(row, "startTime"), _instant(row, "endTime"), not_negative(total, name, _BEGINS_AT_ZERO)
    )


def _amount(row: Any, name: str) -> Number:
    """An amount of a bucket, which began at zero: below it there is none."""
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, Number):
        msg = f"{name!r} is missing or no number"
        raise Unreadable(msg)
    return not_negative(value, name, _BEGINS_AT_ZERO)


def _each(rows: Sequence[Any], label: str, parse: Callable[[Any], Row]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    found: list[Row] = []
    problems = []
    for row in rows:
        try:
            found.append(parse(row))
        except Unreadable as error:
            name = row.get(label) if isinstance(row, dict) else None
            problems.append(f"{name[:40] if isinstance(name, str) else 'a row'}: {error}")
    return tuple(found), tuple(problems)


def _text(row: Any, name: str) -> str:
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, str) or not value:
        msg = f"{name!r} is missing or no text"
        raise Unreadable(msg)
    return value


def _instant(row: Mapping[str, Any], name: str) -> datetime:
    try:
        instant = datetime.fromisoformat(_text(row, name))
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = str(error) if isinstance(error, Unreadable) else f"{name!r} is no instant"
        raise Unreadable(msg) from None
