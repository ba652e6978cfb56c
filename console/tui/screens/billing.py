"""Billing's health: a row a source, and the one under the cursor with its gaps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from console.export.sources import COLUMNS as EXPORTED
from console.export.sources import source_rows
from console.tui.cells import Role, line
from console.tui.render.billing import COLUMNS, BillingAnswer, Shape, detail_rows, entries, key_of
from console.tui.screens.page import Exported, Question
from console.tui.screens.remembered import Remembered
from console.tui.screens.table_page import SortedPage
from console.tui.table import Column, Entry
from console.tui.view import View
from console.tui.widgets.line_table import LineTable
from console.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from datetime import datetime

    from console.service import Service


class BillingPage(SortedPage):
    """Shows what the store said of its sources at the last tick."""

    NAME: ClassVar[str] = "Billing"
    answer: BillingAnswer | None

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._remembered: Remembered[BillingAnswer] = Remembered()

    def columns(self) -> Sequence[Column]:
        """The table's columns."""
        return COLUMNS

    def entries(self) -> Sequence[Entry]:
        """A source a row."""
        return entries(self.answer, self.view.fleet) if self.answer and self.view.fleet else ()

    def body(self) -> ComposeResult:
        """The table, and the source under the cursor."""
        yield from super().body()
        with VerticalScroll(id="detail-pane"):
            yield Lines(id="detail")

    def question(self) -> Question:
        """The sources; read again when a tick has changed them."""
        at, fleet, remembered = self.view.at, self.view.fleet, self._remembered
        key = (at, fleet.tick_at if fleet else None)

        def ask(service: "Service") -> BillingAnswer:
            return remembered.get(key, lambda: _read(service, at))

        return ask

    def show_body(self) -> None:
        """The table and what belongs to it."""
        super().show_body()
        self._show_detail()

    def exported(self) -> Exported | None:
        """The sources that are shown, in their order, each with its gaps."""
        if self.answer is None:
            return None
        by_key = {key_of(source): source for source in self.answer.sources}
        return Exported("billing", EXPORTED, source_rows(by_key[key] for key in self.keys_shown()))

    def on_line_table_moved(self) -> None:
        """Another source is under the cursor."""
        self._show_detail()

    def on_line_table_chosen(self) -> None:
        """Its gaps: the arrows scroll them until Tab or Esc."""
        self.query_one("#detail-pane").focus()

    def _show_detail(self) -> None:
        answer, fleet, detail = self.answer, self.view.fleet, self.query_one("#detail", Lines)
        if answer is None or fleet is None:
            detail.show([line(" reading the sources…", Role.MUTED)])
            return
        chosen = next((one for one in answer.sources if key_of(one) == self.query_one(LineTable).key), None)
        if chosen is None:
            detail.show([] if answer.sources else [line(" no provider is named in the settings")])
            return
        width = self.app.size.width - 1
        detail.show(detail_rows(chosen, answer, fleet, width))


def _read(service: "Service", at: "datetime | None") -> BillingAnswer:
    shapes = {}
    for name, section in service.settings.providers.items():
        facts = section.registered.facts
        shapes[name] = Shape(section.kind, facts.bill, facts.step, facts.lag)
    return BillingAnswer(service.sources(at), service.settings.collector.every, shapes)
