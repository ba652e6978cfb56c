"""What an hour costs against how busy it was, tier by tier, beside the published band; the price of a margin."""

from collections.abc import Hashable, Iterable, Sequence
from datetime import timedelta
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Resize

from console.service import Service
from console.tui.cells import Role, line
from console.tui.render.band import HOUR_COLUMNS, MARGINS, Asked, band_rows, columns, entries, hour_cells
from console.tui.screens.page import Exported, Question
from console.tui.screens.remembered import Remembered
from console.tui.screens.tiers_page import TiersPage
from console.tui.table import Column, Entry
from console.tui.view import View
from console.tui.widgets.lines import Lines
from store.hours import Band

_DAYS = {"7d": 7, "30d": 30}  # a shorter window has no hours to speak of: a day
_HOLDS = timedelta(minutes=5)  # hours change slowly, and a month of them takes a while to read


class BandPage(TiersPage):
    """A tier a row, and the hours of the one under the cursor."""

    NAME: ClassVar[str] = "Band"
    HAS_WINDOW: ClassVar[bool] = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "margin", "Margin", id="page.margin", tooltip="the price of another margin, 0 to 50 %"),
    ]

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.margin = 30
        self._remembered: Remembered[tuple[Band, ...]] = Remembered()

    @property
    def days(self) -> int:
        """How many days of hours the window shows."""
        return _DAYS.get(self.view.window, 1)

    def body(self) -> ComposeResult:
        """The table, and the hours of one tier under it."""
        yield from super().body()
        with VerticalScroll(id="detail-pane"):  # Tab goes there: low terminals must scroll
            yield Lines(id="detail")

    def question(self) -> Question | None:
        """The hours of every tier, read again every few minutes."""
        fleet = self.view.fleet
        if fleet is None:
            return None
        days, at, tiers = self.days, self.view.at, [tier.spec.name for tier in fleet.tiers]
        tick_at = fleet.tick_at
        key: Hashable = (days, at, tuple(tiers), tick_at and int(tick_at.timestamp() / _HOLDS.total_seconds()))

        def read(service: Service) -> tuple[Band, ...]:
            return self._remembered.get(key, lambda: service.bands(days, at, tiers))

        return read

    def columns(self) -> Sequence[Column]:
        """The table's columns, with the price for the margin that is chosen."""
        return columns(self.margin)

    def entries(self) -> Sequence[Entry]:
        """A tier a row."""
        return entries(self._bands(), self.margin)

    def show_body(self) -> None:
        """The table and what belongs to it."""
        chosen, is_first = self.view.tier, not self.table.row_count
        super().show_body()
        if is_first and chosen is not None:  # the table begins at its first row
            self.table.go_to(chosen)
        self.show_detail()

    def show_detail(self) -> None:
        """The hours of the chosen tier."""
        if not self._is_there:
            return
        shown, tier = self.query_one("#detail", Lines), self.view.chosen
        band = next((band for band in self._bands() if tier is not None and band.tier == tier.spec.name), None)
        if band is None:
            empty = " reading…" if tier is not None else " no tier is named in the settings"
            shown.show([line(empty, Role.MUTED)])
            return
        days = round(len(band.hours) / 24)
        height = self.query_one("#detail-pane").size.height
        asked = Asked(days, self.margin, self.key_for("page.margin", "m"))
        shown.show(band_rows(band, asked, self.app.size.width - 1, height))

    def exported(self) -> Exported | None:
        """One row an hour of each tier that is shown, exact; made as they are written, since they may be many."""
        bands = {band.tier: band for band in self._bands()}
        shown = [bands[name] for name in self.keys_shown() if name in bands and bands[name].hours]

        def rows(_service: Service) -> Iterable[Sequence[str]]:
            return (hour_cells(band.tier, hour) for band in shown for hour in band.hours)

        return Exported("band", HOUR_COLUMNS, rows) if shown else None

    def action_margin(self) -> None:
        """The next margin."""
        self.margin = MARGINS[(MARGINS.index(self.margin) + 1) % len(MARGINS)]
        self.say(f"margin: {self.margin} %")

    def on_resize(self, _event: Resize) -> None:
        """Charts are as wide as the screen."""
        self.call_after_refresh(self.show)

    def _bands(self) -> tuple[Band, ...]:
        answer = self.answer
        return answer if isinstance(answer, tuple) else ()
