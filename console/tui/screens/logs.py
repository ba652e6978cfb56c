"""What an agent writes on its host, as it comes: fetched with the engineer's own SSH key, not by the collector."""

from collections.abc import AsyncIterator, Callable
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Log

from console.tui.cells import Role
from console.tui.widgets.lines import Lines
from console.tui.widgets.too_small import TooSmall
from store.errors import MtokError
from store.printable import printable

_KEPT_LINES = 5_000


class LogsScreen(Screen[None]):
    """Follows `lines` until it is closed. `name` is what they are of."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back", key_display="Esc"),
        Binding("ctrl+l", "app.redraw", "Draw the screen again", show=False),
    ]

    def __init__(self, name: str, lines: Callable[[], AsyncIterator[str]]) -> None:
        super().__init__()
        self._heading, self._lines = name, lines

    def compose(self) -> ComposeResult:
        """A heading, the lines, what became of them."""
        yield Lines(id="header")
        yield Log(id="log", max_lines=_KEPT_LINES)
        yield Lines(id="message")
        yield TooSmall()

    def on_mount(self) -> None:
        """Begin to follow."""
        self.query_one("#header", Lines).say(f" {self._heading}", Role.STRONG)
        self._say("connecting…")
        self._follow()

    @work(exclusive=True, exit_on_error=False)
    async def _follow(self) -> None:
        log = self.query_one(Log)
        try:
            async for line in self._lines():
                self._say("following; Esc goes back")
                log.write_line(printable(line))
        except MtokError as error:
            self._say(str(error), is_problem=True)
        else:
            self._say("the log has ended")

    def _say(self, text: str, *, is_problem: bool = False) -> None:
        self.query_one("#message", Lines).say(f" {text}", Role.WARN if is_problem else Role.MUTED)
