"""The floor to compare the console with: Textual's own DataTable, of which cells change each second.

`python -m tests.bench.stock_table --rows 50 --changes 50`: 12 columns, and `update_cell` for what changes.
"""

import argparse
import random
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Footer, Header

RANDOM = random.Random(7)
COLUMNS = 12


class StockTable(App[None]):
    """Rows of figures and nothing else."""

    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "Quit")]

    def __init__(self, rows: int, changes: int) -> None:
        super().__init__()
        self._rows, self._changes = rows, changes

    def compose(self) -> ComposeResult:
        """What most consoles begin with."""
        yield Header()
        yield DataTable(cursor_type="row")
        yield Footer()

    def on_mount(self) -> None:
        """Fill it, and change it each second."""
        table = self.query_one(DataTable)
        table.add_columns(*(f"col {n}" for n in range(COLUMNS)))
        for row in range(self._rows):
            table.add_row(f"tier-{row:04}", *(_figure() for _ in range(COLUMNS - 1)))
        if self._changes:
            self.set_interval(1.0, self._change)

    def _change(self) -> None:
        table = self.query_one(DataTable)
        visible = min(self._rows, self.size.height - 4)
        for row in range(min(self._changes, self._rows)):
            at = Coordinate(row if row < visible else RANDOM.randrange(self._rows), RANDOM.randrange(1, COLUMNS))
            table.update_cell_at(at, _figure())


def _figure() -> str:
    return f"{RANDOM.randrange(10**4, 10**5) / 100:.2f}"


def main() -> None:
    """Run until it is quit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--changes", type=int, default=50)
    options = parser.parse_args()
    StockTable(options.rows, options.changes).run()


if __name__ == "__main__":
    main()
