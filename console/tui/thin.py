"""Only the cells that changed are sent to the terminal: a tenth to a fiftieth of the bytes.

Textual 8.2 repaints a changed widget from its left edge, with the full colours of every piece
(`_compositor.py`, `ChopsUpdate.render_segments`: "TODO: crop to x extents"). This keeps the cells that were
sent last and, for each frame, sends cursor moves, colours where they change, and text. It stands on private
names of Textual, so the version is pinned to a minor one, a test compares the screens that both ways draw, and
`--plain-output` goes without.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby, repeat
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.events import Event, Resize
from textual.strip import Strip

from console.tui.glyphs import ascii_sign

_BRIDGE = 5  # to write so few unchanged cells again costs less than a cursor move
_BLANKS = 12  # so many spaces cost more than to erase them and to move on
_OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "7": "27", "9": "29"}  # attributes, and what ends each
_NARROW: set[str] = set()  # glyphs that have been measured: a line of them is taken as it is
Cell = tuple[str, str]  # glyph ("" to the right of a wide one), colours as SGR parameters
Piece = tuple[int, int, Strip]  # row, column, what to show there


def cells_of(strip: Strip, colors: ColorSystem, *, is_ascii: bool) -> list[Cell]:
    """The cells of a strip, one a column."""
    cells: list[Cell] = []
    for segment in strip:
        if segment.control:
            continue
        sgr = _sgr(segment, colors)
        if segment.text.isascii() or (not is_ascii and _is_narrow(segment.text)):
            cells.extend(zip(segment.text, repeat(sgr)))
            continue
        for glyph in segment.text:
            width = cell_len(glyph)
            if width == 0 and cells:  # a combining mark belongs to the cell before
                cells[-1] = (cells[-1][0] + ("" if is_ascii else glyph), cells[-1][1])
                continue
            shown = ascii_sign(glyph) if is_ascii else glyph
            cells.append((shown[:1] if is_ascii else shown, sgr))
            if width == 2:
                cells.append((shown[1:] if is_ascii else "", sgr))
    return cells


def _is_narrow(text: str) -> bool:
    """Whether each of its glyphs takes one cell."""
    if not _NARROW.issuperset(text):
        _NARROW.update(glyph for glyph in set(text) - _NARROW if cell_len(glyph) == 1)
    return _NARROW.issuperset(text)


def _sgr(segment: Segment, colors: ColorSystem) -> str:
    style = segment.style
    if style is None:
        return ""
    return style._ansi if style._ansi is not None else Strip.render_ansi(style, colors)


@lru_cache(maxsize=256)
def _is_plain(sgr: str) -> bool:
    """Whether a space in these colours is its background alone: not underlined, reversed or struck through."""
    codes = iter(sgr.split(";"))
    for code in codes:
        if code in ("38", "48"):
            for _ in range(3 if next(codes, "") == "2" else 1):
                next(codes, "")
        elif code in ("4", "7", "9", "21", "53"):
            return False
    return True


class Memory:
    """What the terminal shows, as far as we have sent it."""

    def __init__(self, *, is_ascii: bool, erases: bool) -> None:
        self._is_ascii, self._erases = is_ascii, erases
        self.size = (0, 0)
        self._rows: list[list[Cell | None]] = []
        self._strips: dict[tuple[int, int], Strip] = {}

    def forget(self, width: int, height: int) -> None:
        """Nothing is known of a screen of this size: the next frame sends all of it."""
        self.size = (width, height)
        self._rows = [[None] * width for _ in range(height)]
        self._strips.clear()

    def encode(self, pieces: list[Piece], colors: ColorSystem) -> str:
        """What to send so that the terminal shows these pieces."""
        pen = _Pen(erases=self._erases)
        width, height = self.size
        for y, x, strip in pieces:
            if 0 <= y < height and self._is_news(y, x, strip):
                cells = cells_of(strip, colors, is_ascii=self._is_ascii)
                self._write(pen, y, x, cells[: max(width - x, 0)])
        return pen.ended()

    def _is_news(self, y: int, x: int, strip: Strip) -> bool:
        if self._strips.get((y, x)) is strip:
            return False
        end = x + strip.cell_length
        for key in [key for key in self._strips if key[0] == y and key[1] != x and x <= key[1] < end]:
            del self._strips[key]
        self._strips[y, x] = strip
        return True

    def _write(self, pen: "_Pen", y: int, x: int, fresh: list[Cell]) -> None:
        row = self._rows[y]
        known = row[x : x + len(fresh)]
        changed = [column for column, (old, new) in enumerate(zip(known, fresh, strict=True)) if old != new]
        for start, end in _runs(changed):
            while start > 0 and fresh[start][0] == "":
                start -= 1
            pen.write(y, x + start, fresh[start:end])
            row[x + start : x + end] = fresh[start:end]
            if end < len(fresh) and fresh[end][0] == "":  # the right half of a wide glyph
                row[x + end] = fresh[end]
                pen.lost()


def _runs(columns: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where runs of changed cells begin and end; small gaps are part of them."""
    start = end = None
    for column in columns:
        if start is None or end is None:
            start = column
        elif column - end >= _BRIDGE:
            yield start, end
            start = column
        end = column + 1
    if start is not None and end is not None:
        yield start, end


@lru_cache(maxsize=1024)
def _turned(before: str | None, after: str) -> str:
    """From one pen to another: where the colours stay, only the attributes that come or go."""
    if not after:
        return "\x1b[0m"
    if before and after.endswith(f";{before}"):
        codes = after[: -len(before) - 1]
        if set(codes.split(";")) <= _OFF.keys():
            return f"\x1b[{codes}m"
    elif before and before.endswith(f";{after}") and after.split(";")[0] not in _OFF:
        codes = before[: -len(after) - 1]
        if set(codes.split(";")) <= _OFF.keys():
            return "\x1b[" + ";".join(_OFF[code] for code in codes.split(";")) + "m"
    return f"\x1b[0;{after}m"


class _Pen:
    """Writes cells with as few moves and colours as it can. `erases`: to erase is to fill with the background."""

    def __init__(self, *, erases: bool) -> None:
        self._erases = erases
        self._out: list[str] = []
        self._sgr: str | None = None
        self._at: tuple[int, int] | None = None

    def write(self, y: int, x: int, cells: list[Cell]) -> None:
        if self._at != (y, x):
            self._out.append(f"\x1b[{y + 1};{x + 1}H")
        for (sgr, is_blank), run in groupby(cells, key=lambda cell: (cell[1], cell[0] == " ")):
            if sgr != self._sgr:
                self._out.append(_turned(self._sgr, sgr))
                self._sgr = sgr
            glyphs = [glyph for glyph, _ in run]
            if is_blank and len(glyphs) >= _BLANKS and self._erases and _is_plain(sgr):
                self._out.append(f"\x1b[{len(glyphs)}X\x1b[{len(glyphs)}C")  # ECH, CUF
            else:
                self._out.extend(glyphs)
        self._at = (y, x + len(cells))

    def lost(self) -> None:
        """The terminal's cursor is not where we think."""
        self._at = None

    def ended(self) -> str:
        if self._sgr:
            self._out.append("\x1b[0m")
        return "".join(self._out)


class _ThinUpdate(CompositorUpdate):
    """A frame of Textual's, as the few bytes that it takes."""

    def __init__(self, memory: Memory, pieces: list[Piece]) -> None:
        self._memory, self._pieces = memory, pieces

    def render_segments(self, console: Console) -> str:
        """The bytes."""
        return self._memory.encode(self._pieces, console._color_system or ColorSystem.TRUECOLOR)


if TYPE_CHECKING:
    _Base = App[None]
else:
    _Base = object


class ThinOutput(_Base):
    """For an App, first among its bases. What it remembers is dropped whenever the terminal may differ from it."""

    is_thin = True
    is_ascii = False
    erases = True
    _memory: Memory | None = None

    def forget_screen(self) -> None:
        """Send every cell again with the next frame."""
        self._memory = None

    def _resume_signal(self) -> None:
        self.forget_screen()
        super()._resume_signal()

    async def on_event(self, event: Event) -> None:
        """A resize: terminals reflow what they show."""
        if isinstance(event, Resize):
            self.forget_screen()
        await super().on_event(event)

    def _display(self, screen: Any, renderable: Any) -> None:
        if not (self.is_thin or self.is_ascii):
            super()._display(screen, renderable)
            return
        memory = self._memory
        if memory is None:
            memory = self._memory = Memory(is_ascii=self.is_ascii, erases=self.erases)
        if isinstance(renderable, LayoutUpdate):
            size = (renderable.region.width, renderable.region.height)
            if memory.size != size:
                memory.forget(*size)
            renderable = _ThinUpdate(memory, list(_whole(renderable)))
        elif isinstance(renderable, ChopsUpdate) and memory.size == (self.size.width, self.size.height):
            renderable = _ThinUpdate(memory, list(_parts(renderable)))
        super()._display(screen, renderable)


def _whole(update: LayoutUpdate) -> Iterator[Piece]:
    for y, strips in enumerate(update.strips, update.region.y):
        x = update.region.x
        for strip in strips:
            yield y, x, strip
            x += strip.cell_length


def _parts(update: ChopsUpdate) -> Iterator[Piece]:
    seen = set()
    for y, start, stop in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x > stop or end <= start or (y, x) in seen:
                continue
            seen.add((y, x))
            yield y, x, strip
