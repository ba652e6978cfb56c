"""A table drawn line by line: a tenth of a DataTable's work, and the cursor stays on its entry, not on its row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.tui.cells import Role
from console.tui.table import Column, Entry, Sort, columns_for, heading, texts
from console.tui.widgets.lines import Drawn


class LineTable(ScrollView, Drawn, can_focus=True):
    """Shows entries in the columns that fit. The first line is the heading and stays where it is."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"mtok--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False, id="table.down"),
        Binding("up,k", "move(-1)", "Up", show=False, id="table.up"),
        Binding("pagedown,ctrl+f", "page(1)", "A page down", show=False, id="table.page-down"),
        Binding("pageup,ctrl+b", "page(-1)", "A page up", show=False, id="table.page-up"),
        Binding("home,g", "end(-1)", "First row", show=False, id="table.first"),
        Binding("end,G", "end(1)", "Last row", show=False, id="table.last"),
        Binding("enter", "choose", "Open", show=False, id="table.open"),
    ]

    @dataclass
    class Moved(Message):
        """Another entry is under the cursor."""

        table: "LineTable"
        key: str

    @dataclass
    class Chosen(Message):
        """Enter, or a second click, on an entry."""

        table: "LineTable"
        key: str

    def __init__(
        self,
        *,
        id: str | None = None,  # noqa: A002 - Textual's name
        follow: Callable[[str], None] | None = None,
        is_newest_first: bool = False,
    ) -> None:
        """`follow` is told of each move before the next key: a message would come after it, and act on another.

        `is_newest_first`: a cursor that is left on the first row stays there, and sees what comes.
        """
        super().__init__(id=id)
        self._follow, self._is_newest_first = follow, is_newest_first
        self._all: Sequence[Column] = ()
        self._columns: tuple[Column, ...] = ()
        self._entries: Sequence[Entry] = ()
        self._heading = ""
        self._sort: Sort | None = None
        self._lines: list[tuple[str, Role]] = []
        self._key: str | None = None

    @property
    def key(self) -> str | None:
        """The entry under the cursor."""
        return self._key

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that there is room for."""
        return self._columns

    @property
    def row_count(self) -> int:
        """How many entries it shows."""
        return len(self._entries)

    @property
    def _row(self) -> int:
        return next((y for y, entry in enumerate(self._entries) if entry.key == self._key), 0)

    def show(self, columns: Sequence[Column], entries: Sequence[Entry], sort: Sort | None) -> None:
        """Show these entries; only lines that changed are drawn again, and the same sequence costs nothing."""
        if entries is self._entries and columns == self._all and sort == self._sort:
            return
        before, row = self._lines, self._row
        self._all, self._entries, self._sort = columns, entries, sort
        self._arrange()
        if self._is_newest_first and row == 0 and entries and self.has_focus:
            self._put(entries[0].key)
        elif self._key is None or all(entry.key != self._key for entry in entries):
            self._put(entries[min(row, len(entries) - 1)].key if entries else None)
        if len(before) != len(self._lines):
            self.virtual_size = Size(self.size.width, len(entries) + 1)
            self.refresh()
            if row != self._row:
                self.call_after_refresh(self._reveal)
        elif row != self._row:  # the cursor's entry has moved: keep it in sight
            self._reveal()
            self.refresh()
        else:
            changed = zip(before, self._lines, strict=True)
            self._refresh_rows([y for y, (old, new) in enumerate(changed) if old != new])

    def render_line(self, y: int) -> Strip:
        """The heading, or the entry that is scrolled to there."""
        looks, width = self.looks, self.size.width
        if y == 0:
            return Strip([Segment(self._heading, looks[Role.HEADING])]).adjust_cell_length(
                width, looks[Role.HEADING]
            )
        row = y - 1 + self.scroll_offset.y
        if row >= len(self._lines):
            return Strip.blank(width, looks[Role.PLAIN])
        text, role = self._lines[row]
        style, taken = looks[role], sum(column.width for column in self._columns)
        text += " " * (width - taken)  # most lines are as wide as that, and no second strip is made of them
        whole = Strip([Segment(text, style)]).adjust_cell_length(width, style)
        if self._entries[row].key != self._key or not self._columns:
            return whole
        # the first column alone: a whole row reversed is hundreds of bytes each time that the cursor moves
        head = self._columns[0].width
        cursor = self.get_component_rich_style("mtok--cursor")
        return Strip.join([Strip([Segment(set_cell_size(text, head), cursor)], head), whole.crop(head)])

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._go(self._row + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by what is in sight."""
        self._go(self._row + by * max(self.size.height - 2, 1))

    def action_end(self, which: int) -> None:
        """The first entry, or the last."""
        self._go(0 if which < 0 else len(self._entries) - 1)

    def action_choose(self) -> None:
        """Open the entry under the cursor."""
        if self._key is not None:
            self.post_message(self.Chosen(self, self._key))

    def go_to(self, key: str) -> None:
        """Put the cursor on an entry, if it is there."""
        for y, entry in enumerate(self._entries):
            if entry.key == key:
                self._go(y)

    def on_click(self, event: Click) -> None:
        """A click moves the cursor; on the cursor, it opens."""
        row = event.y - 1 + self.scroll_offset.y
        if event.y >= 1 and row < len(self._entries):
            if row == self._row:
                self.action_choose()
            self._go(row)

    def on_resize(self, _event: Resize) -> None:
        """Another width may hold other columns."""
        self._arrange()
        self.virtual_size = Size(self.size.width, len(self._entries) + 1)
        self._reveal()
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolled: every line is another."""
        super().watch_scroll_y(old_value, new_value)
        self.refresh()

    def _arrange(self) -> None:
        width = self.size.width or self.app.size.width - 1  # before the first layout: as good as known
        columns = columns_for(self._all, self._entries, width)
        above = heading(columns, self._sort)
        if above != self._heading:
            self.refresh(Region(0, 0, self.size.width, 1))
        self._columns, self._heading = columns, above
        self._lines = [(texts(columns, entry), entry.role) for entry in self._entries]

    def _go(self, row: int) -> None:
        if not self._entries:
            return
        before, row = self._row, min(max(row, 0), len(self._entries) - 1)
        self._put(self._entries[row].key)
        if self._follow is not None:
            self._follow(self._entries[row].key)
        if row != before:
            self._refresh_rows([before, row])
            self._reveal()

    def _put(self, key: str | None) -> None:
        if key != self._key:
            self._key = key
            if key is not None:
                self.post_message(self.Moved(self, key))

    def _reveal(self) -> None:
        room = max(self.size.height - 1, 1)
        top, row = self.scroll_offset.y, self._row
        if row < top or row >= top + room:
            self.scroll_to(y=row if row < top else row - room + 1, animate=False, immediate=True)

    def _refresh_rows(self, rows: Sequence[int]) -> None:
        """Draw the lines again of those that are in sight."""
        top, (width, height) = self.scroll_offset.y, self.size
        regions = [Region(0, row - top + 1, width, 1) for row in rows if 1 <= row - top + 1 < height]
        if regions:
            self.refresh(*regions)
