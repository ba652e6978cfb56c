"""What every provider's bodies are read with: JSON whose numbers keep the text in which they were sent.

What is not in the documented shape is `Unreadable`, in one line: a body, or one row of it while the others stand.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.errors import AmountError
from store.money import parse_nusd


class Unreadable(ValueError):
    """A body, or a row of it, is not in the documented shape."""


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as it was written."""

    raw: str

    @property
    def nusd(self) -> int:
        """As nano-dollars.

        Raises:
            AmountError: not finite, or beyond any bill.
        """
        return parse_nusd(self.raw)


def object_of(text: str, *, tells_why: bool = True) -> dict[str, Any]:
    """The JSON object in `text`, numbers as `Number`; `tells_why`: the message repeats what the parser says.

    Raises:
        Unreadable: truncated, or no object.
    """
    try:
        body = json.loads(text, parse_float=Number, parse_int=Number, parse_constant=Number)
    except (ValueError, RecursionError) as error:
        msg = f"the body is not JSON ({error})" if tells_why else "the body is not JSON"
        raise Unreadable(msg) from None
    if not isinstance(body, dict):
        msg = "the body is not a JSON object"
        raise Unreadable(msg)
    return body


def rows_of(row: Any, name: str) -> list[Any]:
    """The list under `name`.

    Raises:
        Unreadable: there is none.
    """
    rows = row.get(name) if isinstance(row, dict) else None
    if not isinstance(rows, list):
        msg = f"{name!r} is missing or no list"
        raise Unreadable(msg)
    return rows


def object_in(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under `name`, an empty one where there is none."""
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def not_negative(value: Number, name: str, why: str) -> Number:
    """An amount that cannot be below zero; `why` it cannot goes into the message.

    Raises:
        Unreadable: it is, or it is no amount.
    """
    try:
        nusd = value.nusd
    except AmountError as error:
        raise Unreadable(str(error)) from None
    if nusd < 0:
        msg = f"{name} {value.raw[:40]} is negative: {why}"
        raise Unreadable(msg)
    return value
