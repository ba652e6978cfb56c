"""The first screen: the gate, billing's health, a row a tier, and all about the tier under the cursor."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer

from console.tui.render import age, detail_lines, gate_line, header, health_line
from console.tui.widgets.line import Line
from console.tui.widgets.tier_table import TierTable
from store.fleet import WINDOWS, Fleet, TierView


class FleetScreen(Screen[None]):
    """Shows the last fleet read, and says so when it has grown old."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h", "app.hibernate", "Hibernate"),
        Binding("w", "app.wake", "Wake"),
        Binding("r", "app.reset_gate", "Reset gate"),
        Binding("g", "app.turn_gate", "Close gate", show=False),
        Binding("e", "app.export", "Export"),
        Binding("l", "app.host_logs", "Host logs", show=False),
        Binding("left_square_bracket", "window(-1)", "Window", key_display="[ ]"),
        Binding("right_square_bracket", "window(1)", "Next window", show=False),
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
        Binding("ctrl+l", "app.redraw", "Draw the screen again", show=False),
        Binding("question_mark", "app.help", "Help", key_display="?"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self, actor: str, note: str) -> None:
        super().__init__()
        self._actor, self._note = actor, note
        self._fleet: Fleet | None = None
        self._window = 0

    def compose(self) -> ComposeResult:
        """The lines from the top down."""
        yield Line(id="header")
        yield Line(id="stale")
        yield Line(id="gate")
        yield Line(id="health")
        yield TierTable()
        with VerticalScroll(id="detail-pane", can_focus=False):
            yield Line(id="detail")
        yield Line(id="message")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Before the first reading."""
        self._line("header").show(header(None, self._actor, self.app.size.width))
        self._line("gate").show(" reading the store…")
        self.say(self._note)
        self.query_one(TierTable).focus()

    @property
    def tier(self) -> TierView | None:
        """The tier under the cursor."""
        name = self.query_one(TierTable).tier
        return self._fleet.tier(name) if self._fleet is not None and name is not None else None

    @property
    def fleet(self) -> Fleet | None:
        """The last fleet read."""
        return self._fleet

    def show(self, fleet: Fleet) -> None:
        """Show a fleet that has just been read."""
        self._fleet = fleet
        width = self.app.size.width
        with self.app.batch_update():
            self._line("stale").display = False
            self._line("header").show(header(fleet, self._actor, width))
            gate = self._line("gate")
            gate.show(gate_line(fleet, width))
            gate.set_class(not fleet.verdict.is_open, "closed")
            health = self._line("health")
            health.show(health_line(fleet))
            health.set_class(fleet.led_by is None or any(one.problem for one in fleet.health), "troubled")
            self.query_one(TierTable).show(fleet, WINDOWS[self._window])
            self._show_detail()

    def show_stale(self, problem: str, now_s: float, read_s: float | None) -> None:
        """The store is silent: what is shown stays, and says how old it is."""
        line = self._line("stale")
        shown = "nothing has been read yet" if read_s is None else f"figures are {age(now_s - read_s)} old"
        line.show(f" STALE: {shown}. {problem}")
        line.display = True

    def say(self, text: str, *, is_problem: bool = False) -> None:
        """Put a line where the last message stays."""
        line = self._line("message")
        line.show(f" {text}")
        line.set_class(is_problem, "problem")

    def action_window(self, step: int) -> None:
        """Show another window in the table."""
        self._window = (self._window + step) % len(WINDOWS)
        self.say(f"the table shows {WINDOWS[self._window]}")
        if self._fleet is not None:
            self.show(self._fleet)

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        table = self.query_one(TierTable)
        table.move_cursor(row=table.cursor_row + step, animate=False)

    def on_data_table_row_highlighted(self, _event: DataTable.RowHighlighted) -> None:
        """Another tier is under the cursor."""
        self._show_detail()

    def _show_detail(self) -> None:
        if self.tier is not None and self._fleet is not None:
            verdict, name = self._fleet.verdict, self.tier.spec.name
            own = verdict.tiers[name].reasons if name in verdict.tiers else ()
            closed = verdict.sentence_for(name) if own else None
            self._line("detail").show("\n".join(detail_lines(self.tier, self._fleet.at, closed)))

    def _line(self, name: str) -> Line:
        return self.query_one(f"#{name}", Line)
