"""Every key, from the bindings themselves, and what the words on the screen mean."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from console.tui.widgets.line import Line

_WORDS = """
$/Mtok OUT   spend ÷ completion tokens × 10⁶, over the same two ticks
$/Mtok ALL   spend ÷ (prompt + completion tokens) × 10⁶
$/h          what the provider quotes; shown, never used for a figure
UTIL         time with at least one request ÷ time that the instances ran
—            not known; the reason stands in the detail
no tokens    spend is known, and nothing was generated
SIMULATED    the provider is a simulator: no money is spent
"""


class HelpScreen(ModalScreen[None]):
    """Any key closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Close")]

    def __init__(self, bindings: Sequence[Binding]) -> None:
        super().__init__()
        self._bindings_shown = bindings

    def compose(self) -> ComposeResult:
        """A line a key, then the words."""
        with VerticalScroll(id="box"):
            yield Line(id="help")

    def on_mount(self) -> None:
        """Fill it in."""
        keys = [f"{_key(binding):<13}{binding.description}" for binding in self._bindings_shown]
        self.query_one("#help", Line).show("\n".join(["KEYS", "", *keys, "", "WORDS", _WORDS]))


def _key(binding: Binding) -> str:
    names = {"left_square_bracket": "[", "right_square_bracket": "]", "question_mark": "?"}
    return names.get(binding.key, binding.key)
