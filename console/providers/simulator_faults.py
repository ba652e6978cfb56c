"""Faults of the simulated provider, on demand: 500, 429, hang, empty, drop, freeze."""

import threading

from console.providers.simulator_world import SimulatedWorld

_CODES = {"500": 500, "429": 429}
_HANGS_AT_MOST_S = 30.0


class Dropped(Exception):
    """The work is done, and the answer is lost."""


class Faults:
    """At most one fault at a time, on paths that begin with a prefix, a number of times or until changed.

    500, 429: that status, nothing done. hang: no answer for half a minute. empty: bills without rows.
    drop: done, but the connection closes without an answer. freeze: bills stand still, the world goes on.
    """

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._ended = threading.Event()
        self.kind: str | None = None
        self._prefix = ""
        self._left: int | None = None

    def set(self, kind: str | None, prefix: str = "", times: int | None = None) -> None:
        """Begin a fault, or end the one there is (`None`)."""
        self.kind, self._prefix, self._left = kind, prefix, times
        self._world.frozen_s = self._world.now_s() if kind == "freeze" else None

    def before(self, path: str) -> int | None:
        """A status to answer with at once, if the fault is one; a hang waits here."""
        if self.kind in _CODES and self._strikes(path):
            return _CODES[str(self.kind)] if self._count() else None
        if self.kind == "hang" and self._strikes(path) and self._count():
            self._ended.wait(_HANGS_AT_MOST_S)
        return None

    def after(self, path: str) -> None:
        """Lose the answer, if the fault says so.

        Raises:
            Dropped: it does.
        """
        if self.kind == "drop" and self._strikes(path) and self._count():
            raise Dropped

    def empties(self, path: str) -> bool:
        """Whether a list is to be empty."""
        return self.kind == "empty" and self._strikes(path) and self._count()

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
