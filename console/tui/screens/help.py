"""Every key, from the bindings themselves, and what the words and signs on the screens mean."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from console.tui.cells import Role, Row, Span, line
from console.tui.keys import ACTS, OF_NOW
from console.tui.pages import PageKey
from console.tui.render.status import wrapped
from console.tui.screens.page import Page, key_of
from console.tui.view import View
from console.tui.widgets.lines import Lines

_GROUPS = {
    "tier.": "TIERS",
    "gate.": "THE GATE",
    "page.": "ON A SCREEN",
    "table.": "IN A TABLE",
    "screen.": "SCREENS",
    "replay.": "IN A REPLAY",
    "app.": "EVERYWHERE",
}
_WORDS = (
    ("$/Mtok OUT", "spend ÷ completion tokens × 10⁶, over the same two ticks"),
    ("$/Mtok ALL", "spend ÷ (prompt + completion tokens) × 10⁶"),
    ("$/h", "what the provider quotes; shown, never used for a figure"),
    ("TODAY", "billed since midnight in the budget's time zone"),
    ("UTIL", "time with at least one request ÷ time that the instances ran"),
    ("LOAD", "completion tokens a second ÷ what `mtok agent bench` measured at most"),
    ("BUSY", "requests in flight"),
    ("—", "not known; the reason stands in the detail. It is never zero"),
    ("no tokens", "spend is known, and nothing was generated"),
    ("$0.00", "known, and nothing"),
    ("GATE CLOSED", "nothing is served: the reasons stand beside it"),
    ("STALE", "figures are old, and how old"),
    ("SIMULATED", "the provider is a simulator: no money is spent"),
    ("@ % o ^ v x !", "with --ascii: serving, running, asleep, waking, sleeping, gone, trouble"),
)
_WORD_WIDTH = 17  # ` pagedown ctrl+f `


class HelpPage(Page):
    """Keys as they are bound now, remapped ones too."""

    NAME: ClassVar[str] = "Help"
    HAS_EXPORT: ClassVar[bool] = False

    def __init__(self, view: View, keys: Callable[[], Sequence[PageKey]]) -> None:
        super().__init__(view)
        self._keys_now = keys

    def body(self) -> ComposeResult:
        """One text, as long as it is."""
        with VerticalScroll(id="pane"):
            yield Lines(id="help")

    def on_mount(self) -> None:
        """Arrows scroll."""
        self._show_rows()
        self.query_one("#pane").focus()

    def on_resize(self) -> None:
        """Another width: lines break elsewhere."""
        self._show_rows()

    def _show_rows(self) -> None:
        self.query_one("#help", Lines).show(self._rows(self.app.size.width - 1))

    def _rows(self, width: int) -> list[Row]:
        rows: list[Row] = []
        found = list(self._keys_now())
        for prefix, title in _GROUPS.items():
            group = [key for key in found if (key.binding.id or "").startswith(prefix)]
            rows.append(line(f" {title}", Role.HEADING))
            for key in group:
                rows += _told(key_of(key.binding), self._meaning(key), width)
            rows.append(line(""))
        rows.append(line(" WORDS AND SIGNS", Role.HEADING))
        for word, text in _WORDS:
            rows += _told(word, text, width)
        last = "No single key acts: hibernate, wake and the gate ask first."
        return [*rows, line(""), line(f" {last}", Role.MUTED)]

    def _meaning(self, key: PageKey) -> str:
        where = "" if key.is_everywhere else f"{', '.join(key.pages)}: "
        text = key.binding.tooltip or key.binding.description
        return f"{where}{text}{self._why_off(key.binding.action)}"

    def _why_off(self, action: str) -> str:
        if self.view.is_read_only and action in ACTS:
            return " (not in a read-only console)"
        return " (not in the past)" if self.view.at is not None and action in OF_NOW else ""


def _told(word: str, text: str, width: int) -> list[Row]:
    """A word, and beside it what it means in as many lines as that takes."""
    first, *more = wrapped(text, width - _WORD_WIDTH)
    rest = [line(f"{' ' * _WORD_WIDTH}{part}") for part in more]
    return [(Span(f" {word:<{_WORD_WIDTH - 1}}", Role.STRONG), Span(first)), *rest]
