"""A screen around one table: a filter as it is typed, an export of what is shown, and a sort by a key a column."""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.widgets import Input

from console.tui.cells import Role, line
from console.tui.messages import Said
from console.tui.screens.page import Exported, Page
from console.tui.table import Column, Entry, Sort, filtered, ordered, texts
from console.tui.view import View
from console.tui.widgets.key_bar import KeyHint
from console.tui.widgets.line_table import LineTable
from console.tui.widgets.lines import Lines


class TablePage(Page):
    """Its `columns` and `entries` are the whole of it; the rest is the same for every table."""

    IS_NEWEST_FIRST: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="page.filter"),
    ]

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.needle = ""
        self.sort_by: Sort | None = None
        self._shown: Sequence[Entry] = ()

    def columns(self) -> Sequence[Column]:
        """All columns; which ones fit is decided by the width."""
        raise NotImplementedError

    def entries(self) -> Sequence[Entry]:
        """All entries, in their natural order."""
        raise NotImplementedError

    def body(self) -> ComposeResult:
        """The filter while there is one, and the table."""
        yield Lines(id="filter")
        field = Input(id="needle", compact=True, placeholder="words to find; ! before them: what has them not")
        field.cursor_blink = False
        field.display = False
        yield field
        yield LineTable(id="table", follow=self.follow, is_newest_first=self.IS_NEWEST_FIRST)

    @property
    def table(self) -> LineTable:
        """The table."""
        return self.query_one(LineTable)

    def on_mount(self) -> None:
        """The keys go to the table."""
        self.table.focus()

    def show_body(self) -> None:
        """Arrange the entries, and show them."""
        everything = self.entries()
        self._shown = ordered(filtered(everything, self.needle), self.sort_by)
        self.table.show(self.columns(), self._shown, self.sort_by)
        counted = f" filter: {self.needle}   {len(self._shown)} of {len(everything)}; Esc clears it"
        self.query_one("#filter", Lines).show([line(counted, Role.STRONG)] if self.needle else [])

    def follow(self, key: str) -> None:
        """The cursor has been moved onto an entry; what the next key does is about that one."""

    def keys_shown(self) -> list[str]:
        """The keys of the entries that are shown, in their order."""
        return [entry.key for entry in self._shown]

    def exported(self) -> Exported | None:
        """The table as it is arranged, all its columns."""
        columns = self.columns()
        headings = [column.heading for column in columns]
        rows = [[entry.cells.get(column.key, "") for column in columns] for entry in self._shown]
        return Exported(self.NAME.lower().replace(" ", "-"), headings, rows)

    def row_text(self) -> str:
        """The row under the cursor."""
        entry = next((entry for entry in self._shown if entry.key == self.table.key), None)
        return texts(self.table.columns, entry).strip() if entry else ""

    def action_filter(self) -> None:
        """Type a filter; the table follows each letter."""
        field = self.query_one("#needle", Input)
        field.display = True
        field.value = self.needle
        field.focus()
        self.call_after_refresh(self.show)  # other keys are possible now

    def takes(self, event: Key) -> bool:
        """What is typed right behind `/`, before the filter has the keys, is a part of it."""
        field = self.query_one("#needle", Input)
        if not field.display or field.has_focus:
            return False
        if event.key == "enter":
            self.needle = field.value
            self._leave_filter()
        elif event.is_printable:
            field.insert_text_at_cursor(event.character or "")
        return event.key == "enter" or event.is_printable

    async def action_back(self) -> None:
        """One step: from the detail to the table, from the filter to none, and at last to the fleet."""
        is_typing = self.query_one("#needle", Input).display
        is_below = not is_typing and not self.table.has_focus
        self._leave_filter()
        if self.needle and not is_below:
            self.needle = ""
            self.show()
        elif not is_typing and not is_below:
            await super().action_back()

    def action_keep_filter(self) -> None:
        """Give the keys back to the table; what it shows stays filtered."""
        self.on_input_submitted()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Each letter counts."""
        if event.input.display:
            self.needle = event.value
            self.show()

    def on_input_submitted(self) -> None:
        """Enter keeps the filter and gives the keys back to the table."""
        self._leave_filter()

    def say(self, text: str) -> None:
        """Show what has been done, and put a line where the last message stays."""
        self.show()
        self.post_message(Said(text))

    def _hints(self) -> list[KeyHint]:
        if not self.query_one("#needle", Input).display:
            return super()._hints()
        return [KeyHint("Enter", "Keep", "keep_filter", self), KeyHint("Esc", "Clear", "back", self)]

    def _leave_filter(self) -> None:
        self.query_one("#needle", Input).display = False
        self.table.focus()
        self.call_after_refresh(self.show)


class SortedPage(TablePage):
    """A table whose order is the engineer's to choose."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *TablePage.BINDINGS,  # the filter stands before the sort wherever keys are listed
        Binding("s", "sort", "Sort", id="page.sort"),
    ]

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._is_sorting = False

    def action_sort(self) -> None:
        """The next letter names the column."""
        self.say(_sort_prompt(self.table.columns, self.app.size.width - 2))
        self._is_sorting = True

    def takes(self, event: Key) -> bool:
        """The letter after `s`."""
        if not self._is_sorting:
            return super().takes(event)
        self._is_sorting = False
        column = next((one for one in self.columns() if one.letter and one.letter == event.character), None)
        if column is None:
            self.say("not sorted otherwise")
            return True
        self.sort_by = (self.sort_by or Sort("")).turned(column.key)
        self.say(f"sorted by {column.heading}, {'largest' if self.sort_by.is_reverse else 'smallest'} first")
        return True


def _sort_prompt(columns: Sequence[Column], width: int) -> str:
    """The letters of the columns in sight, in as many words as there is room for."""
    lettered = [(column.letter, column.heading) for column in columns if column.letter]
    whole = "  ".join(f"{letter} {heading}" for letter, heading in lettered)
    short = " ".join(f"{letter} {heading.split(' ')[0]}" for letter, heading in lettered)
    for prompt in (f"sort by: {whole}  (again: the other way round; Esc: no)", f"sort: {whole}"):
        if cell_len(prompt) <= width:
            return prompt
    return f"sort: {short}"
