"""The line at the bottom: what may be pressed now, as far as it fits. What it leaves out stands under `?`."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.dom import DOMNode
from textual.events import Click

from console.tui.cells import Role, Span
from console.tui.widgets.lines import Lines


@dataclass(frozen=True, slots=True)
class KeyHint:
    """A key, what it does on which node, and whether it may be pressed now.

    `is_kept`: however narrow the terminal is.
    """

    key: str
    text: str
    action: str
    node: DOMNode
    is_possible: bool = True
    is_kept: bool = False

    @property
    def width(self) -> int:
        """Cells that it takes, with the gap after it."""
        return cell_len(self.key) + cell_len(self.text) + 3


class KeyBar(Lines):
    """One line; a click on a hint is its key."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self._ends: list[tuple[int, KeyHint]] = []

    def offer(self, hints: Sequence[KeyHint], width: int) -> None:
        """Show as many hints as fit, the first ones first, and those that are always kept."""
        kept = list(hints)
        while kept and sum(hint.width for hint in kept) > width:
            kept.remove(next((hint for hint in reversed(kept) if not hint.is_kept), kept[-1]))
        spans, end = [Span(" ")], 1
        self._ends = []
        for hint in kept:
            end += hint.width
            look = Role.PLAIN if hint.is_possible else Role.MUTED
            spans += [
                Span(hint.key, Role.STRONG if hint.is_possible else Role.MUTED),
                Span(f" {hint.text}  ", look),
            ]
            self._ends.append((end, hint))
        self.show([tuple(spans)])

    async def on_click(self, event: Click) -> None:
        """The hint that was clicked."""
        for end, hint in self._ends:
            if event.x < end:
                await self.app.run_action(hint.action, hint.node)
                return
