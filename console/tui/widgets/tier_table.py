"""A row a tier: the table that follows the tier under its cursor, however the rows move."""

from rich.text import Text
from textual.events import Resize
from textual.widgets import DataTable

from console.tui.render import NARROW, WIDE, Column, aligned, tier_cells
from store.fleet import Fleet

_WIDE_FROM = 118


class TierTable(DataTable[Text]):
    """Shows a fleet in one window; only cells whose text changed are drawn again."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, cell_padding=0, id="tiers")
        self._columns_now: tuple[Column, ...] = ()
        self._shown: dict[str, list[str]] = {}
        self._fleet: Fleet | None = None
        self._window = "5m"

    @property
    def tier(self) -> str | None:
        """The name of the tier under the cursor."""
        if not self.row_count:
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value

    def show(self, fleet: Fleet, window: str) -> None:
        """Show this fleet; the cursor stays on its tier."""
        is_same_window = window == self._window
        self._fleet, self._window = fleet, window
        columns = WIDE if self.size.width >= _WIDE_FROM else NARROW
        names = [tier.spec.name for tier in fleet.tiers]
        if columns != self._columns_now or names != list(self._shown) or not is_same_window:
            self._rebuild(columns)
        for tier in fleet.tiers:
            self._update(tier.spec.name, tier_cells(tier, columns, window))

    def on_resize(self, _event: Resize) -> None:
        """Another width may hold other columns."""
        if self._fleet is not None:
            self.show(self._fleet, self._window)

    def _rebuild(self, columns: tuple[Column, ...]) -> None:
        assert self._fleet is not None
        kept = self.tier
        self.clear(columns=True)
        self._columns_now, self._shown = columns, {}
        for column in columns:
            self.add_column(Text(self._heading(column)), width=column.width, key=column.key)
        for tier in self._fleet.tiers:
            cells = tier_cells(tier, columns, self._window)
            self._shown[tier.spec.name] = cells
            self.add_row(*(Text(cell) for cell in cells), key=tier.spec.name)
        if kept in self._shown:
            self.move_cursor(row=list(self._shown).index(kept), animate=False)

    def _heading(self, column: Column) -> str:
        named = {"in": f"IN {self._window}", "out": f"OUT {self._window}"}.get(column.key, column.heading)
        return aligned(named, column)

    def _update(self, tier: str, cells: list[str]) -> None:
        for column, before, now in zip(self._columns_now, self._shown[tier], cells, strict=True):
            if before != now:
                self.update_cell(tier, column.key, Text(now), update_width=False)
        self._shown[tier] = cells
