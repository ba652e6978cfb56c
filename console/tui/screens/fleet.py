"""The first screen: a row a tier, and all about the tier under the cursor."""

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from console.export.csv import COLUMNS, fleet_rows
from console.tui.cells import line
from console.tui.render.fleet import columns, entries
from console.tui.render.status import health_row
from console.tui.render.tier import detail_rows, why_closed_alone
from console.tui.screens.page import Exported
from console.tui.screens.tiers_page import TiersPage
from console.tui.table import Column, Entry
from console.tui.widgets.lines import Lines
from store.fleet_view import Fleet, TierView
from store.unknown import Unknown
from store.window import WINDOWS

_LINES_AROUND = 7  # the frame without the gate and the banners, the table's heading, and what stands apart


class FleetPage(TiersPage):
    """Shows the last fleet read."""

    NAME: ClassVar[str] = "Fleet"
    HAS_WINDOW: ClassVar[bool] = True
    _made: tuple[Sequence[TierView], str, Sequence[Entry]] | None = None

    def columns(self) -> Sequence[Column]:
        """The table's columns, in the window that is chosen."""
        fleet, window = self.view.fleet, self.view.window
        loads = [tier.figures[window].load for tier in fleet.tiers] if fleet else []
        return columns(window, has_load=any(not isinstance(load, Unknown) for load in loads))

    def entries(self) -> Sequence[Entry]:
        """A tier a row; the same ones as before while nothing has changed but the time."""
        fleet, window = self.view.fleet, self.view.window
        if fleet is None:
            return ()
        if self._made is None or self._made[0] is not fleet.tiers or self._made[1] != window:
            self._made = (fleet.tiers, window, entries(fleet, window))
        return self._made[2]

    def body(self) -> ComposeResult:
        """Billing's health, the table, and the tier under the cursor."""
        yield Lines(id="health")
        yield from super().body()
        with VerticalScroll(id="detail-pane", can_focus=False):
            yield Lines(id="detail")

    def show_body(self) -> None:
        """The table and what belongs to it."""
        fleet = self.view.fleet
        assert fleet is not None
        latest = self.view.aged(time.monotonic()) or fleet
        self.query_one("#health", Lines).show([health_row(self.view, latest, self.app.size.width)])
        super().show_body()
        self.show_detail()

    def show_detail(self) -> None:
        """All about the chosen tier."""
        fleet, tier = self.view.fleet, self.view.chosen
        if fleet is None or tier is None:
            empty = " no tier is named in the settings: add a [[tiers]] section, or run `mtok init`"
            self.query_one("#detail", Lines).show([line(empty)] if fleet else [])
            return
        closed = why_closed_alone(fleet.verdict, tier.spec.name)
        width = self.app.size.width - 1  # the scroll bar's column
        rows = detail_rows(tier, fleet.at, closed, WINDOWS, width, patience=self.patience)
        if len(rows) > self._room(fleet):  # the window in the table, today and this month
            few = (self.view.window, "today", "month")
            rows = detail_rows(tier, fleet.at, closed, few, width, patience=self.patience)
        self.query_one("#detail", Lines).show(rows)

    def exported(self) -> Exported | None:
        """The tiers that are shown, in their order, with every window and exact amounts."""
        fleet = self.view.fleet
        return Exported("fleet", COLUMNS, fleet_rows(fleet, self.keys_shown())) if fleet else None

    def _room(self, fleet: Fleet) -> int:
        """The lines under the table."""
        above = sum(len(self.query_one(name, Lines).text.splitlines()) for name in ("#gate", "#banners"))
        return self.app.size.height - _LINES_AROUND - above - len(fleet.tiers)
