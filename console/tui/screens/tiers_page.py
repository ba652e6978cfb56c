"""A table with a tier a row: whichever is under the cursor is the one that keys act on, on every screen."""

from console.tui.screens.table_page import SortedPage
from console.tui.widgets.line_table import LineTable


class TiersPage(SortedPage):
    """Its rows have the tiers' names for keys, and `show_detail` tells of the chosen one."""

    def show_detail(self) -> None:
        """All about the tier under the cursor."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        """The cursor stands on the tier that was chosen elsewhere, as far as the filter shows it."""
        if self.view.tier is not None:
            self.table.go_to(self.view.tier)
            self.view.tier = self.table.key or self.view.tier

    def follow(self, key: str) -> None:
        """The tier that keys act on from now on."""
        self.view.tier = key

    def on_line_table_moved(self, message: LineTable.Moved) -> None:
        """Another tier is under the cursor."""
        self.view.tier = message.key
        self.show_detail()

    async def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        """Look at it more closely."""
        self.view.tier = message.key
        await self.app.run_action("app.page('Tier')")
