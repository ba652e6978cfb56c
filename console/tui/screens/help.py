"""Every key, from the bindings themselves, and what the words and signs on the screens mean."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from console.tui.cells import Role, Row, Span, line, lines
from console.tui.pages import PageKey
from console.tui.screens.page import Page, key_of
from console.tui.view import View
from console.tui.widgets.lines import Lines

_GROUPS = {
    "tier.": "TIERS",
    "gate.": "THE GATE",
    "page.": "ON A SCREEN",
    "table.": "IN A TABLE",
    "screen.": "SCREENS",
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


class HelpPage(Page):
    """Keys as they are bound now, remapped ones too."""

    NAME: ClassVar[str] = "Help"

    def __init__(self, view: View, keys: Callable[[], Sequence[PageKey]]) -> None:
        super().__init__(view)
        self._keys_now = keys

    def body(self) -> ComposeResult:
        """One text, as long as it is."""
        with VerticalScroll(id="pane"):
            yield Lines(id="help")

    def on_mount(self) -> None:
        """Arrows scroll."""
        super().on_mount()
        self.query_one("#help", Lines).show(self._rows())
        self.query_one("#pane").focus()

    def _rows(self) -> list[Row]:
        rows: list[Row] = []
        found = list(self._keys_now())
        for prefix, title in _GROUPS.items():
            group = [key for key in found if (key.binding.id or "").startswith(prefix)]
            rows += [line(f" {title}", Role.HEADING), *map(_key_row, group), line("")]
        rows.append(line(" WORDS AND SIGNS", Role.HEADING))
        rows += [(Span(f" {word:<14}", Role.STRONG), Span(text)) for word, text in _WORDS]
        return [
            *rows,
            line(""),
            *lines(["No single key acts: hibernate, wake and the gate ask first."], Role.MUTED),
        ]


def _key_row(key: PageKey) -> Row:
    where = "" if key.is_everywhere else f"{', '.join(key.pages)}: "
    text = key.binding.tooltip or key.binding.description
    return (Span(f" {key_of(key.binding):<14} ", Role.STRONG), Span(f"{where}{text}"))
