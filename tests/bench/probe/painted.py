"""What a person sees of a program's bytes: the screen, replayed chunk by chunk."""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import pyte

Cells = dict[tuple[int, int], tuple[object, ...]]
ENOUGH_GLYPHS = 20  # fewer are a banner or a cursor, no screen

# sequences that pyte prints as text or mishandles, harmless to drop
_FOREIGN = re.compile(
    rb"\x1b[P_^X][^\x1b]*\x1b\\"  # DCS, APC, PM, SOS
    rb"|\x1b\[[<>=][0-9;:]*[a-zA-Z]"  # kitty's keys, XTMODKEYS
    rb"|\x1b\[\?[0-9;]*\$p|\x1b\[[0-9;]*\$[a-z]"
    rb"|\x1b\[[0-9;]* [a-zA-Z]"  # DECSCUSR and its like
    rb"|\x1b\[\?u|\x1b\[[0-9;]*t"
)
_COLONS = re.compile(rb"\x1b\[[0-9;:]*:[0-9;:]*m")


@dataclass(frozen=True)
class Chunk:
    """What came at once; `at_s` since the start."""

    at_s: float
    data: bytes


class Painted:
    """A screen that chunks are fed to."""

    def __init__(self, cols: int, rows: int, chunks: Iterable[Chunk] = ()) -> None:
        self.screen = pyte.Screen(cols, rows)
        self._stream = pyte.ByteStream(self.screen)
        for chunk in chunks:
            self.feed(chunk.data)

    def feed(self, data: bytes) -> None:
        """Interpret it; what the emulator cannot take must not lose the measurement."""
        data = _FOREIGN.sub(b"", data)
        data = _COLONS.sub(lambda match: match[0].replace(b"::", b":").replace(b":", b";"), data)
        with contextlib.suppress(Exception):
            self._stream.feed(data)

    def shows(self, text: str) -> bool:
        """Whether a line holds it."""
        return any(text in line for line in self.screen.display)

    @property
    def is_begun(self) -> bool:
        """Whether there is something to see."""
        return sum(1 for line in self.screen.display for glyph in line if glyph.strip()) >= ENOUGH_GLYPHS

    @property
    def text(self) -> str:
        """The lines."""
        return "\n".join(line.rstrip() for line in self.screen.display) + "\n"

    @property
    def cells(self) -> Cells:
        """Every cell with a glyph or a background."""
        found: Cells = {}
        for y in range(self.screen.lines):
            row = self.screen.buffer[y]
            for x in range(self.screen.columns):
                char = row[x]
                if char.data.strip() or char.bg != "default" or char.reverse:
                    found[y, x] = (char.data, char.fg, char.bg, char.bold, char.reverse)
        return found


def paint_times(cols: int, rows: int, chunks: list[Chunk]) -> dict[str, float | None]:
    """When there was something to see, and when 90 % of the last screen was there to stay; seconds."""
    last = Painted(cols, rows, chunks).cells
    painted = Painted(cols, rows)
    first = done = None
    for chunk in chunks:
        painted.feed(chunk.data)
        if first is None and painted.is_begun:
            first = chunk.at_s
        if last:
            now = painted.cells
            is_there = sum(1 for place, cell in last.items() if now.get(place) == cell) >= 0.9 * len(last)
            done = (chunk.at_s if done is None else done) if is_there else None
    return {"first_paint_s": first, "painted_90_s": done, "cells": len(last)}
