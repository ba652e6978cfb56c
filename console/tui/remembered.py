"""What the store answered last: a screen asks each second, and most seconds nothing has changed."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """One answer, and what it depended on. Asked by one thread at a time."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._answer: T | None = None

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """The answer before, if `key` is the same; else what `read` gives now."""
        if self._answer is None or key != self._key:
            self._answer, self._key = read(), key
        return self._answer
