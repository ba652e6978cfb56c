"""What every screen has: a header, the gate, banners for what is wrong, a body of its own, a last message, keys."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, cast

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.dom import DOMNode
from textual.events import Key
from textual.screen import Screen

from console.service import Service
from console.tui.acts import Acts
from console.tui.cells import Role, fitted, line
from console.tui.render.status import banners, gate_rows, header
from console.tui.view import View
from console.tui.widgets.key_bar import KeyBar, KeyHint
from console.tui.widgets.lines import Lines
from console.tui.widgets.too_small import TooSmall
from store.printable import printable

Question = Callable[[Service], Any]
_DISPLAYS = {
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "question_mark": "?",
    "slash": "/",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "colon": ":",
    "escape": "Esc",
    "enter": "Enter",
    "left": "←",
    "right": "→",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What `e` writes: a name for the file, headings, and rows of texts as they are shown or more exact.

    Rows that have not all been read are a function, called away from the screen, which reads them as it goes.
    """

    name: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]] | Callable[[Service], Iterable[Sequence[str]]]


class Page(Screen[None]):
    """One of the numbered screens. It asks one question of the store a second and shows the answer."""

    NAME: ClassVar[str] = ""
    HAS_WINDOW: ClassVar[bool] = False  # whether its figures are those of the window that is chosen
    HAS_EXPORT: ClassVar[bool] = True  # whether `e` has something to write
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", show=False, id="page.back", tooltip="clear the filter, or go back"),
    ]

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self.answer: Any = None
        self._header, self._keys, self._too_small = Lines(id="header"), KeyBar(), TooSmall()

    def compose(self) -> ComposeResult:
        """The lines from the top down."""
        yield self._header
        yield Lines(id="gate")
        yield Lines(id="banners")
        with Vertical(id="body"):
            yield from self.body()
        yield Lines(id="message")
        yield self._keys
        yield self._too_small

    def body(self) -> ComposeResult:
        """What this screen has between the banners and the last message."""
        yield from ()

    def question(self) -> Question | None:
        """What to read for the body, away from the screen; None: the fleet is enough."""
        return None

    def show_body(self) -> None:
        """Show `view.fleet` and `answer`."""

    def exported(self) -> Exported | None:
        """What is shown, for a CSV file; None: there is nothing yet."""
        return None

    def row_text(self) -> str:
        """The row under the cursor, for `Y`; empty where there is none."""
        return ""

    def takes(self, event: Key) -> bool:  # noqa: ARG002 - for those that have a field
        """Whether a key that no field has taken belongs to what the key before it began; then it has been done."""
        return False

    async def action_back(self) -> None:
        """Back to the fleet."""
        await self.app.run_action("page('Fleet')", self.app)

    def on_mount(self) -> None:
        """Before the first reading."""
        self.show()

    def on_screen_resume(self) -> None:
        """Back in front: everything may have changed meanwhile."""
        self.show()

    @property
    def _acts(self) -> Acts:
        return cast("Acts", self.app)

    @property
    def patience(self) -> timedelta:
        """How long after a tick nobody wonders where the next one is: two intervals of the collector."""
        return 2 * self._acts.service.settings.collector.every

    @property
    def _is_there(self) -> bool:
        """Composed and not yet taken down: a reading may end while the app closes its screens."""
        return self.is_mounted and self.is_running and self._header.is_attached and self._keys.is_attached

    def show(self) -> None:
        """Show everything again; what is the same costs nothing."""
        if not self._is_there:
            return
        with self.app.batch_update():
            self.show_frame()
            if self.view.fleet is not None:
                self.show_body()

    def show_frame(self) -> None:
        """The lines that all screens have."""
        if not self._is_there:
            return
        view, width = self.view, self.app.size.width
        self._too_small.fit()
        self._header.say(header(view, self.NAME, width), Role.STRONG)
        waiting = [line(" reading the store…", Role.MUTED)]
        self.query_one("#gate", Lines).show(gate_rows(view.latest, width) if view.latest else waiting)
        self.query_one("#banners", Lines).show(banners(view, time.monotonic(), width))
        role = Role.WARN if view.note_is_problem else Role.MUTED
        said = f" {printable(view.note)}"
        self.query_one("#message", Lines).say(said if cell_len(said) <= width else fitted(said, width), role)
        self._keys.offer(self._hints(), width)

    def key_for(self, id_: str, otherwise: str) -> str:
        """The key that a binding has now, by its id."""
        bindings = (active.binding for active in self.active_bindings.values())
        return next((key_of(binding) for binding in bindings if binding.id == id_), otherwise)

    def _hints(self) -> list[KeyHint]:
        found = []
        for active in self.active_bindings.values():
            if active.binding.show and active.enabled:
                found.append((_order(active.binding), self._hint(active.binding, active.node)))
        return [hint for _, hint in sorted(found, key=lambda pair: pair[0])]

    def _hint(self, binding: Binding, node: DOMNode) -> KeyHint:
        return KeyHint(
            key_of(binding),
            self._told_by(binding),
            binding.action,
            node,
            is_possible=self._acts.why_not(binding.action) is None,
            is_kept=binding.id in ("app.help", "app.quit"),
        )

    def _told_by(self, binding: Binding) -> str:
        if binding.id == "app.next" and self.view.at is not None:
            return "Step"
        return self.view.window if binding.id in ("app.next", "replay.next") else binding.description


def key_of(binding: Binding) -> str:
    """A binding's key as it is printed on keyboards."""
    keys = [_DISPLAYS.get(key, key) for key in binding.key.split(",")]
    return binding.key_display or " ".join(keys)


def _order(binding: Binding) -> int:
    """Acts first, then the screens, then what this screen has, then the rest."""
    ranks = ("tier.", "gate.", "screen.", "page.", "replay.", "app.")
    found = [rank for rank, prefix in enumerate(ranks) if (binding.id or "").startswith(prefix)]
    return found[0] if found else len(ranks)
