"""Lines out of pieces: as many side by side as fit, and two columns of lines beside each other."""

from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len

from console.tui.cells import Role, Row, Span, line, width_of
from console.tui.render.canvas import clipped
from console.tui.render.status import wrapped
from store.printable import printable


def flowed(pieces: Sequence[str], width: int, indent: int = 1, role: Role = Role.PLAIN) -> list[Row]:
    """The pieces in lines of at most `width` cells, two spaces between; lines after the first stand further in."""
    rows: list[str] = []
    text = " " * indent
    for piece in filter(None, map(printable, pieces)):
        if text.strip() and cell_len(text) + 2 + cell_len(piece) > width:
            rows.append(text)
            text = " " * (indent + 2)
        text += f"{'  ' if text.strip() else ''}{piece}"
    return [clipped(line(row, role), width) for row in [*rows, text] if row.strip()]


def sentences(texts: Sequence[str], width: int, role: Role = Role.PLAIN, sign: str = "") -> list[Row]:
    """Each text in as many lines as it needs, after a sign."""
    lead = f" {sign} " if sign else " "
    rows = []
    for text in texts:
        for n, part in enumerate(wrapped(text, width - len(lead))):
            rows.append(clipped(line(f"{lead if n == 0 else ' ' * len(lead)}{part}", role), width))
    return rows


def beside(left: Sequence[Row], right: Sequence[Row], left_width: int, width: int) -> list[Row]:
    """Two columns of lines as one: the left one in `left_width` cells, a space, and the right one in the rest."""
    rows = []
    for one, other in zip_longest(left, right, fillvalue=()):
        cut = clipped(one, left_width)
        gap = Span(" " * (left_width - width_of(cut) + 1))
        rows.append((*cut, gap, *clipped(other, width - left_width - 1)) if other else cut)
    return rows
