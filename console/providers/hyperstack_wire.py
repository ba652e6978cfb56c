"""Hyperstack's bodies, read with the provider's own digits kept (OpenAPI document of 2026-06-17, SDK build).

What one row lacks makes that row a problem in one line; the others stand.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from console.providers.wire import Number, Unreadable, not_negative, object_of, rows_of


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A resource's lifetime bill, from `GET /billing/billing/usage`. The rate is per minute."""

    resource_type: str
    resource_id: str
    name: str
    total: Number
    rate: Number | None
    create_time: datetime | None
    terminate_time: datetime | None
    active: bool
    excluded: bool


@dataclass(frozen=True, slots=True)
class WindowBill:
    """A resource's bill in a window, from `GET /billing/billing/history/…`; each metric as written."""

    resource_id: str
    name: str
    metrics: Mapping[str, Number]
    row_id: str


def body_of(text: str) -> dict[str, Any]:
    """The JSON object in `text`, numbers as `Number`.

    Raises:
        Unreadable: truncated, not an object, or saying itself that it failed.
    """
    body = object_of(text)
    if body.get("status", body.get("success")) is not True:  # the documents say `status`, some answers `success`
        msg = f"the provider says: {body.get('message', 'no message')}"
        raise Unreadable(msg)
    return body


def usage_row(row: Any) -> UsageRow:
    """One row of the usage answer.

    Raises:
        Unreadable: a field that the bill rests on is missing or wrong.
    """
    total = not_negative(_field(row, "total_bill", Number), "total_bill", "a lifetime's bill is not")
    rate = row.get("bill_per_minute")
    return UsageRow(
        resource_type=_field(row, "resource_type", str),
        resource_id=_field(row, "resource_id", Number).raw,
        name=str(row.get("name") or ""),
        total=total,
        rate=rate if isinstance(rate, Number) else None,
        create_time=_time(row, "create_time"),
        terminate_time=_time(row, "terminate_time"),
        active=row.get("active") is True,
        excluded=row.get("exclude_billing") is True,
    )


def is_since(row: Any, since: datetime) -> bool:
    """Whether a row of the deleted may be of a resource that ended at `since` or later."""
    try:
        at = _time(row, "terminate_time") or _time(row, "create_time")
    except (Unreadable, AttributeError):
        return True
    return at is not None and at >= since


def window_bills(body: Mapping[str, Any]) -> list[WindowBill]:
    """The rows of any windowed answer: per kind, per resource, graph or sub-resources.

    Raises:
        Unreadable: no known envelope, or a row without a number.
    """
    return [_window_bill(row) for row in _history(body)]


_ENVELOPES = (
    "billing_history_vm",
    "billing_history_vm_details",
    "billing_history_volume",
    "billing_history_volume_details",
    "billing_history_snapshot",
    "billing_history_cluster",
    "billing_history_bucket",
    "billing_history",
    "sub_resources_costs",
)


def _history(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for envelope in _ENVELOPES:
        if isinstance(body.get(envelope), dict):
            yield from rows_of(body[envelope], "billing_history")
            return
    if isinstance(body.get("billing_events_history"), list):
        return
    msg = f"none of {', '.join(_ENVELOPES)} is there"
    raise Unreadable(msg)


def _window_bill(row: Mapping[str, Any]) -> WindowBill:
    attributes = _field(row, "attributes", dict)
    return WindowBill(
        resource_id=_field(attributes, "infrahub_id", Number).raw,
        name=str(attributes.get("resource_name") or ""),
        metrics=_numbers(_field(row, "metrics", dict)),
        row_id=str(attributes.get("id") or _field(attributes, "infrahub_id", Number).raw),
    )


def _numbers(fields: Mapping[str, Any]) -> dict[str, Number]:
    return {name: value for name, value in fields.items() if isinstance(value, Number)}


def _field(row: Any, name: str, kind: type[Any]) -> Any:
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, kind) or value == "":
        msg = f"{name!r} is missing or no {'number' if kind is Number else kind.__name__}"
        raise Unreadable(msg)
    return value


def _time(row: Mapping[str, Any], name: str) -> datetime | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        msg = f"{name!r} is no instant: {str(value)[:40]}"
        raise Unreadable(msg) from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
