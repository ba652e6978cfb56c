"""Remembers finished sequences, so that a prompt with a known beginning skips that work."""

from collections import deque

import numpy as np
import numpy.typing as npt

from agent.engine.llama import Cache

BLOCK_TOKENS = 16  # shorter matches cost more to look up than to compute
_BUDGET_BYTES = 64 << 20

Ids = npt.NDArray[np.int64]


class PrefixCache:
    """The most recent sequences within a budget of bytes."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Ids, Cache]] = deque()
        self._held_bytes = 0

    def keep(self, ids: Ids, cache: Cache) -> None:
        """Remember a sequence that will not be written to any more. `ids` are the positions in use."""
        if len(ids) < BLOCK_TOKENS or cache.nbytes > _BUDGET_BYTES:
            return
        self._kept.appendleft((ids, cache))
        self._held_bytes += cache.nbytes
        while self._held_bytes > _BUDGET_BYTES:
            self._held_bytes -= self._kept.pop()[1].nbytes

    def fill(self, cache: Cache, prompt: Ids) -> int:
        """Copy the longest known beginning into `cache`; how many tokens that is.

        Whole blocks, and never the entire prompt: its last token must be run to get logits.
        """
        best, source = 0, None
        for ids, other in self._kept:
            common = min(_common(ids, prompt), len(prompt) - 1) // BLOCK_TOKENS * BLOCK_TOKENS
            if common > best:
                best, source = common, other
        if source is not None:
            cache.copy_from(source, best)
        return best

    def clear(self) -> None:
        self._kept.clear()
        self._held_bytes = 0


def _common(left: Ids, right: Ids) -> int:
    size = min(len(left), len(right))
    different = np.flatnonzero(left[:size] != right[:size])
    return int(different[0]) if different.size else size
