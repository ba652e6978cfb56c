"""An answer of the store that is kept as long as what it depends on is the same: read when due."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """One answer and what it depended on. Set as one tuple, so that threads never see half of it."""

    def __init__(self) -> None:
        self._kept: tuple[Hashable, T] | None = None

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """The answer kept under `key`; another key reads again."""
        kept = self._kept
        if kept is None or kept[0] != key:
            kept = (key, read())
            self._kept = kept
        return kept[1]
