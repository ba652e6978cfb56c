"""Faults of the simulated provider, on demand: lost answers, frozen bills, unsound bodies."""

import json
import threading
from typing import Any, Protocol

_CODES = {"500": 500, "429": 429}
_DIGITS = "9" * 400
SPOILED: dict[str | None, Any] = {
    "nan": float("nan"),
    "string": "12.3",
    "digits": _DIGITS,
    "negative": -5,
    "twice": 10**6,
}
NONSENSE = 98_765.4321
_HANGS_AT_MOST_S = 30.0


class Afflicted(Protocol):
    """What faults do to a world: its bills stand still at a second, its instances find no capacity."""

    frozen_s: int | None
    has_capacity: bool

    def now_s(self) -> int:
        """The present second of the world."""
        ...


class Faults:
    """At most one fault at a time, on paths that begin with a prefix, a number of times or until changed.

    500, 429: that status, nothing done. hang: no answer for half a minute. empty: bills without rows.
    drop: done, but the connection closes without an answer. freeze: bills stand still, the world goes on.
    nan, string, digits, negative, twice: the bills' first row is unsound so. truncated: every body breaks off.
    clock: every `Date` is a day off. yesterday: an old body, with its old `Date`. missing: the bills lack a row.
    ignored: actions are accepted, and nothing comes of them. no_capacity: restores begin, and fall back.
    no_stock: restores are refused for want of capacity. rates: every quoted rate is a large nonsense.
    """

    def __init__(self, world: Afflicted) -> None:
        self._world = world
        self._ended = threading.Event()
        self.kind: str | None = None
        self._prefix: str | tuple[str, ...] = ""
        self._left: int | None = None
        self._missing: int | None = None

    def set(self, kind: str | None, prefix: str | tuple[str, ...] = "", times: int | None = None) -> None:
        """Begin a fault, or end the one there is (`None`)."""
        self.kind, self._prefix, self._left = kind, prefix, times
        self._missing = None
        back_s = {"freeze": 0, "yesterday": 10}.get(kind or "")
        self._world.frozen_s = None if back_s is None else self._world.now_s() - back_s
        self._world.has_capacity = kind != "no_capacity"

    def before(self, path: str) -> int | None:
        """A status to answer with at once, if the fault is one; a hang waits here."""
        if self.kind in _CODES and self._strikes(path):
            return _CODES[str(self.kind)] if self._count() else None
        if self.kind == "hang" and self._strikes(path) and self._count():
            self._ended.wait(_HANGS_AT_MOST_S)
        return None

    def drops(self, path: str) -> bool:
        """Whether the answer is to be lost, now that the work is done."""
        return self.kind == "drop" and self._strikes(path) and self._count()

    def ignores(self, path: str) -> bool:
        """Whether an action is to have no effect."""
        return self.kind == "ignored" and self._strikes(path) and self._count()

    def empties(self, path: str) -> bool:
        """Whether a list is to be empty."""
        return self.kind == "empty" and self._strikes(path) and self._count()

    def without_one(self, body: dict[str, Any]) -> dict[str, Any]:
        """A usage answer that lacks one resource, whoever asks for it."""
        if self.kind != "missing":
            return body
        lowest = min((row["resource_id"] for row in body["data"]), default=None)
        self._missing = lowest if self._missing is None else self._missing
        return {**body, "data": [row for row in body["data"] if row["resource_id"] != self._missing]}

    def spoiled(self, body: dict[str, Any]) -> dict[str, Any]:
        """A usage answer with its first row, or every rate, made unsound."""
        if self.kind == "rates":
            return {**body, "data": [{**row, "bill_per_minute": NONSENSE} for row in body["data"]]}
        if self.kind not in SPOILED or not body["data"]:
            return body
        first, *others = body["data"]
        rows = [{**first, "total_bill": SPOILED[self.kind]}]
        if self.kind == "twice":
            rows.insert(0, first)
        return {**body, "data": [*rows, *others]}

    def cut(self, text: str) -> str:
        """An answer's text, broken off in its middle if the fault says so."""
        text = text.replace(json.dumps(_DIGITS), _DIGITS)
        return text[: len(text) // 2] if self.kind == "truncated" else text

    @property
    def clock_off_s(self) -> int:
        """By how much the answers' `Date` is wrong."""
        return {"clock": 86_400, "yesterday": -86_400}.get(self.kind or "", 0)

    def end(self) -> None:
        """Let whatever hangs go."""
        self._ended.set()

    def _strikes(self, path: str) -> bool:
        return path.startswith(self._prefix)

    def _count(self) -> bool:
        if self._left is None:
            return True
        if self._left <= 0:
            return False
        self._left -= 1
        return True
