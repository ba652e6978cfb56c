"""Vast.ai's bodies, read with the provider's own digits kept (OpenAPI document of 2026-08-07).

The document requires no field at all, so what a figure rests on is required here: a row without it is a problem in
one line, and the others stand. A body may say by `"success": false` that it failed, with HTTP 200.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from console.providers.wire import Number, Unreadable, not_negative, object_of
from store.words import ResourceKind

_SOURCE = re.compile(r"([a-z]{1,20})-([0-9]{1,20})")
_KINDS = {"instance": ResourceKind.INSTANCE, "volume": ResourceKind.VOLUME}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_S = 32_503_680_000  # the year 3000: beyond that it is no time of a contract
_MOST_WHOLE = 10**18


@dataclass(frozen=True, slots=True)
class Charge:
    """What one contract was charged in the window that was asked about, from `GET /api/v0/charges/`.

    `source` is the contract as the provider names it, `instance-12345678`; instances and volumes have one row each.
    """

    source: str
    kind: ResourceKind
    id: str
    name: str
    amount: Number
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def nusd(self) -> int:
        """The amount, nano-dollars: the provider rounds it to $0.001."""
        return self.amount.nusd


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance of `GET /api/v1/instances/`. `actual` is None while it is being provisioned.

    The rates are dollars an hour as quoted: `dph` leaves bandwidth out, `storage` goes on while it is stopped.
    """

    id: str
    label: str
    actual: str | None
    cur: str | None
    next: str | None
    intended: str | None
    is_bid: bool
    address: str | None
    dph: Number | None
    storage: Number | None


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A volume of `GET /api/v0/volumes`; its rate is dollars an hour as quoted."""

    id: str
    label: str
    status: str
    storage: Number | None
    attached_to: str | None


def body_of(text: str) -> dict[str, Any]:
    """The JSON object in `text`, numbers as `Number`.

    Raises:
        Unreadable: truncated, not an object, or saying itself that it failed.
    """
    body = object_of(text)
    if body.get("success", True) is not True:
        msg = f"the provider says: {told(body) or 'no success'}"
        raise Unreadable(msg)
    return body


def told(body: Mapping[str, Any]) -> str:
    """What an answer says in words: under `msg`, `error` or `detail`, as the endpoint likes."""
    words = (body.get(name) for name in ("msg", "error", "detail", "message"))
    return next((line_of(one) for one in words if isinstance(one, str) and one.strip()), "")


def line_of(text: str) -> str:
    """The provider's words as one short line that a terminal only shows."""
    shown = (character if character.isprintable() else "?" for character in " ".join(text.split())[:120])
    return "".join(shown)


def next_token(body: Mapping[str, Any]) -> str | None:
    """The cursor of the following page; None at the end.

    Raises:
        Unreadable: it is neither a text nor null.
    """
    token = body.get("next_token")
    if token is not None and not isinstance(token, str):
        msg = "'next_token' is neither a text nor null"
        raise Unreadable(msg)
    return token or None


def charge_row(row: Any) -> Charge:
    """One contract of the charges.

    Raises:
        Unreadable: its source or its amount is missing or wrong.
    """
    source, amount = _field(row, "source", str), _field(row, "amount", Number)
    named = _SOURCE.fullmatch(source)
    if named is None:
        msg = f"'source' {source[:40]!r} is no contract"
        raise Unreadable(msg)
    not_negative(amount, "amount", "what a contract was charged is not")
    metadata = row.get("metadata")
    label = metadata.get("label") if isinstance(metadata, dict) else None
    return Charge(
        source=source,
        kind=_KINDS.get(named[1], ResourceKind.OTHER),
        id=named[2] if named[1] in _KINDS else source,
        name=label if isinstance(label, str) else source,
        amount=amount,
        started_at=_instant(row, "start"),
        ended_at=_instant(row, "end"),
    )


def instance_row(row: Any) -> InstanceRow:
    """One instance, from the list or asked for by itself.

    Raises:
        Unreadable: it has no id, or no state at all.
    """
    id_ = _id(row)
    states = [row.get(name) for name in ("actual_status", "cur_state", "next_state", "intended_status")]
    if all(one is None for one in states):
        msg = "'actual_status' and every other state are missing"
        raise Unreadable(msg)
    actual, cur, next_, intended = (_word(one) for one in states)
    address = row.get("public_ipaddr")
    return InstanceRow(
        id=id_,
        label=_text(row, "label"),
        actual=actual,
        cur=cur,
        next=next_,
        intended=intended,
        is_bid=row.get("is_bid") is True,
        address=address.strip() or None if isinstance(address, str) else None,
        dph=_number(row, "dph_total"),
        storage=_number(row, "storage_total_cost"),
    )


def volume_row(row: Any) -> VolumeRow:
    """One rented volume.

    Raises:
        Unreadable: it has no id.
    """
    id_ = _id(row)
    attached = row.get("instances")
    users = [_used_by(one) for one in attached] if isinstance(attached, list) else []
    return VolumeRow(
        id=id_,
        label=_text(row, "label") or f"volume {id_}",
        status=_word(row.get("status")) or "rented",
        storage=_number(row, "storage_total_cost"),
        attached_to=next((one for one in users if one is not None), None),
    )


def _used_by(one: Any) -> str | None:
    id_ = one.get("id", one.get("instance_id")) if isinstance(one, dict) else one
    return id_.raw if isinstance(id_, Number) and id_.raw.isdecimal() else None


def _field(row: Any, name: str, kind: type[Any]) -> Any:
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, kind):
        msg = f"{name!r} is missing or no {'number' if kind is Number else 'text'}"
        raise Unreadable(msg)
    return value


def _id(row: Any) -> str:
    raw: str = _field(row, "id", Number).raw
    if not raw.isdecimal() or len(raw) > len(str(_MOST_WHOLE)):
        msg = f"'id' {raw[:40]} is no whole number"
        raise Unreadable(msg)
    return raw


def _word(value: Any) -> str | None:
    """One of the provider's words for a state; what is none is shown as such."""
    if value is None:
        return None
    return value if isinstance(value, str) and re.fullmatch(r"[a-z_]{1,24}", value) else "?"


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _number(row: Mapping[str, Any], name: str) -> Number | None:
    value = row.get(name)
    return value if isinstance(value, Number) else None


def _instant(row: Mapping[str, Any], name: str) -> datetime | None:
    """Unix seconds, whole or not, as an instant."""
    value = row.get(name)
    if value is None:
        return None
    try:
        seconds = Decimal(value.raw) if isinstance(value, Number) and len(value.raw) <= 40 else None
    except ArithmeticError:
        seconds = None
    if seconds is None or not seconds.is_finite() or not 0 <= seconds <= _LATEST_S:
        msg = f"{name!r} is no time in unix seconds"
        raise Unreadable(msg)
    return _EPOCH + timedelta(seconds=int(seconds))
