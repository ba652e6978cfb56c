"""The journal: who did what, from where, to what, and how it came out; newest first, all of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.timer import Timer
from textual.widgets import Input

from console.export.journal import COLUMNS as EXPORTED
from console.export.journal import journal_rows
from console.tui.cells import Role, line
from console.tui.journal_pages import PAGE_ENTRIES, Held, follow
from console.tui.messages import Wanted
from console.tui.render.journal import COLUMNS, detail_rows, entry_row, operation_at, operation_of
from console.tui.screens.page import Exported, Question
from console.tui.screens.table_page import TablePage
from console.tui.table import Column, Entry
from console.tui.view import View
from console.tui.widgets.line_table import LineTable
from console.tui.widgets.lines import Lines
from store.anatomy import Anatomy
from store.journal_read import Entry as JournalEntry
from store.unknown import Unknown

if TYPE_CHECKING:
    from console.service import Service

_TYPING_PAUSE_S = 0.3  # a filter is asked for when typing pauses: each asking goes over the whole journal
_OPERATIONS = 10  # an entry older than the last ones of its tier and kind is shown without its operation


@dataclass(frozen=True, slots=True)
class JournalAnswer:
    """The entries held, and the operation that the entry under the cursor, by its id, belongs to."""

    held: Held
    chosen_id: int | None
    operation: Anatomy | None


class JournalPage(TablePage):
    """Holds the newest entries; the cursor on the last one asks for older ones, a filter asks the whole journal.

    It is in the order of time: to sort what is held of it would say something else.
    """

    NAME: ClassVar[str] = "Journal"
    IS_NEWEST_FIRST: ClassVar[bool] = True
    answer: JournalAnswer | None

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._text = ""  # what the store is asked for; `needle` is what is being typed
        self._typing_timer: Timer | None = None
        self._entries: Sequence[Entry] = []  # not what is shown yet
        self._entries_of: Held | None = None

    def columns(self) -> Sequence[Column]:
        """The table's columns."""
        return COLUMNS

    def entries(self) -> Sequence[Entry]:
        """An entry a row; made again only when others are held."""
        held = self.answer.held if self.answer else None
        if held is not self._entries_of:
            self._entries = [entry_row(one) for one in held.entries] if held else ()
            self._entries_of = held
        return self._entries

    def body(self) -> ComposeResult:
        """The table, and the entry under the cursor."""
        yield from super().body()
        with VerticalScroll(id="detail-pane"):
            yield Lines(id="detail")

    def on_mount(self) -> None:
        """The filter is not like those of other tables."""
        self.query_one("#needle", Input).placeholder = "any part of an entry, in the whole journal"

    def question(self) -> Question:
        """The entries as far as they are held, and the operation of the one under the cursor."""
        before, text, at = self.answer, self._text, self.view.at
        chosen, wants_older = self._chosen(), self._is_at_end()

        def ask(service: "Service") -> JournalAnswer:
            held = follow(service, before.held if before else None, text, at, wants_older=wants_older)
            return _answered(service, before, held, chosen, at)

        return ask

    def show_body(self) -> None:
        """The table and what belongs to it."""
        if self.entries() is not self._shown:
            self._shown = self._entries
            self.table.show(COLUMNS, self._shown, None)
        self._show_filter()
        self._show_detail()

    def exported(self) -> Exported | None:
        """Every entry that the filter finds, those too that have not been read yet."""
        text, at = self._text, self.view.at

        def rows(service: "Service") -> Iterable[Sequence[str]]:
            return journal_rows(lambda before: service.journal(PAGE_ENTRIES, before_id=before, text=text, at=at))

        return Exported("journal", EXPORTED, rows)

    async def action_back(self) -> None:
        """Whoever clears the filter asks for everything again."""
        await super().action_back()
        self._ask()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Ask once no letter has come for a while."""
        if not event.input.display:
            return
        if self._typing_timer is not None:
            self._typing_timer.stop()
        self._typing_timer = self.set_timer(_TYPING_PAUSE_S, self._ask)

    def on_input_submitted(self) -> None:
        """Ask at once."""
        super().on_input_submitted()
        self._ask()

    def on_line_table_moved(self) -> None:
        """Another entry is under the cursor; the last one that is held asks for older ones."""
        self._show_detail()
        chosen = self._chosen()
        if self._is_at_end() or (chosen is not None and operation_of(chosen) is not None):
            self.post_message(Wanted())

    def on_line_table_chosen(self) -> None:
        """Read it: the arrows scroll it until Tab or Esc."""
        self.query_one("#detail-pane").focus()

    def _ask(self) -> None:
        if self.needle != self._text:
            self._text = self.needle
            self.post_message(Wanted())

    def _chosen(self) -> JournalEntry | None:
        table = next(iter(self.query(LineTable)), None)  # none before it is composed, or while the app closes it
        if table is None or self.answer is None:
            return None
        key = table.key
        return next((one for one in self.answer.held.entries if str(one.id) == key), None)

    def _is_at_end(self) -> bool:
        answer, chosen = self.answer, self._chosen()
        return (
            answer is not None
            and chosen is not None
            and chosen is answer.held.entries[-1]
            and not answer.held.is_whole
        )

    def _show_filter(self) -> None:
        held = self.answer.held if self.answer else None
        text = f" filter: {self.needle}   "
        if held is None or held.text != self.needle:
            text += "looking…"
        else:
            text += f"{len(held.entries)}{'' if held.is_whole else ' or more'} found; Esc clears it"
        self.query_one("#filter", Lines).show([line(text, Role.STRONG)] if self.needle else [])

    def _show_detail(self) -> None:
        answer, chosen, detail = self.answer, self._chosen(), self.query_one("#detail", Lines)
        if answer is None:
            detail.show([line(" reading the journal…", Role.MUTED)])
        elif chosen is None:
            nothing = "nothing in it has that in it" if answer.held.text else "nothing has been journaled yet"
            detail.show([] if answer.held.entries else [line(f" {nothing}", Role.MUTED)])
        else:
            operation = answer.operation if answer.chosen_id == chosen.id else None
            detail.show(detail_rows(chosen, operation, self.app.size.width - 1))


def _answered(
    service: "Service", before: JournalAnswer | None, held: Held, chosen: JournalEntry | None, at: datetime | None
) -> JournalAnswer:
    """With the operation of `chosen`; one whose cost is known is not read twice, a past minute knows no outcome."""
    about = operation_of(chosen) if chosen is not None and at is None else None
    chosen_id = chosen.id if chosen else None
    if before is not None and before.chosen_id == chosen_id and not _may_change(before.operation):
        operation = before.operation
    else:
        assert chosen is not None or about is None
        found = service.history(about[1], about[0], _OPERATIONS) if about else ()
        operation = operation_at(chosen, found) if chosen else None
    if before is not None and (held, chosen_id, operation) == (before.held, before.chosen_id, before.operation):
        return before
    return JournalAnswer(held, chosen_id, operation)


def _may_change(operation: Anatomy | None) -> bool:
    """Under way, or ended before the tick that tells what it cost."""
    return operation is not None and (operation.finished_at is None or isinstance(operation.cost, Unknown))
