"""One tier closely: what it costs over time, what it has at its provider, how it wakes, whom it served."""

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Resize

from console.service import Service
from console.tui.cells import line
from console.tui.messages import Wanted
from console.tui.render.series import POINT_COLUMNS, point_cells, points_that_resolve
from console.tui.render.tier import figures_line, why_closed_alone
from console.tui.render.tier_page import Room, TierAnswer, left_width, tier_rows
from console.tui.screens.page import Exported, Page, Question
from console.tui.screens.remembered import Remembered
from console.tui.view import View
from console.tui.widgets.lines import Lines
from store.anatomy import Anatomy
from store.fleet_view import TierView
from store.phases import OperationKind

_WAKES = 5
_LOOKED_THROUGH = 50  # in a replay: those since then come first


class TierPage(Page):
    """Shows the tier that is chosen; the arrows turn to its neighbours."""

    NAME: ClassVar[str] = "Tier"
    HAS_WINDOW: ClassVar[bool] = True
    BINDINGS: ClassVar[list[BindingType]] = [
        # before the pane, which would scroll sideways
        Binding(
            "left",
            "turn(-1)",
            "Tier before",
            show=False,
            priority=True,
            id="page.tier-before",
            tooltip="one before",
        ),
        Binding(
            "right", "turn(1)", "Tier", key_display="← →", priority=True, id="page.tier-next", tooltip="next tier"
        ),
        Binding("escape", "app.page('Fleet')", "Fleet", id="page.back", tooltip="back to the fleet"),
        Binding("backspace", "app.page('Fleet')", show=False),
    ]

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._remembered: Remembered[TierAnswer] = Remembered()

    @property
    def _width(self) -> int:
        """Without the scroll bar, whether it is there or not: a chart must not change with it."""
        return self.app.size.width - 1

    def body(self) -> ComposeResult:
        """One text, as long as it is."""
        with VerticalScroll(id="pane"):
            yield Lines(id="tier")

    def on_mount(self) -> None:
        """The arrows up and down scroll."""
        self.query_one("#pane").focus()

    def question(self) -> Question | None:
        """What the store holds of the chosen tier, read again only when it may have changed."""
        fleet, tier = self.view.fleet, self.view.chosen
        if fleet is None or tier is None:
            return None
        name, window, width, at = tier.spec.name, self.view.window, left_width(self._width), self.view.at
        key: Hashable = (name, window, width, at, fleet.tick_at, fleet.figures_at, tier.seen, tier.operation)

        def read(service: Service) -> TierAnswer:
            return self._remembered.get(key, lambda: _read(service, name, window, width, at))

        return read

    def show_body(self) -> None:
        """The tier, as far as it has been read."""
        fleet, tier = self.view.fleet, self.view.chosen
        shown = self.query_one("#tier", Lines)
        if fleet is None or tier is None:
            shown.show([line(" no tier is named in the settings: add a [[tiers]] section, or run `mtok init`")])
            return
        closed = why_closed_alone(fleet.verdict, tier.spec.name)
        answer, room = self._answer_of(tier), self._room()
        shown.show(tier_rows(tier, answer, self.view.window, fleet.at, room, closed, patience=self.patience))

    def exported(self) -> Exported | None:
        """The points of the chart, exact."""
        tier = self.view.chosen
        answer = self._answer_of(tier) if tier else None
        if answer is None:
            return None
        rows = [point_cells(answer.tier, point) for point in answer.points]
        return Exported(f"tier-{answer.tier}", POINT_COLUMNS, rows)

    def row_text(self) -> str:
        """The tier's figures in the window that is chosen."""
        fleet, tier, window = self.view.fleet, self.view.chosen, self.view.window
        if fleet is None or tier is None:
            return ""
        return f"{tier.spec.name} {figures_line(window, tier.figures[window], fleet.at, self.patience).strip()}"

    def on_resize(self, _event: Resize) -> None:
        """Charts are as wide as the screen."""
        self.call_after_refresh(self.show)

    def action_turn(self, step: int) -> None:
        """The tier after, or before, the chosen one."""
        fleet, tier = self.view.fleet, self.view.chosen
        if fleet is None or tier is None:
            return
        names = [one.spec.name for one in fleet.tiers]
        self.view.tier = names[(names.index(tier.spec.name) + step) % len(names)]
        self.query_one("#pane").scroll_home(animate=False)
        self.show()
        self.post_message(Wanted())

    def _answer_of(self, tier: TierView) -> TierAnswer | None:
        answer = self.answer
        return answer if isinstance(answer, TierAnswer) and answer.tier == tier.spec.name else None

    def _room(self) -> Room:
        height = self.query_one("#pane").size.height
        is_off = self.app.check_action("host_logs", ()) is False
        return Room(self._width, height, "" if is_off else self.key_for("tier.logs", "l"))


def _wakes(service: Service, name: str, at: datetime | None) -> tuple[Anatomy, ...]:
    """The last wakes; of a past instant, those that had ended by then."""
    if at is None:
        return tuple(service.history(name, OperationKind.WAKE, _WAKES))
    found = service.history(name, OperationKind.WAKE, _LOOKED_THROUGH)
    return tuple(wake for wake in found if wake.finished_at is not None and wake.finished_at <= at)[:_WAKES]


def _read(service: Service, name: str, window: str, width: int, at: datetime | None) -> TierAnswer:
    drawn, points = points_that_resolve(window, width, lambda one, count: service.points(name, one, count, at))
    models: Sequence[str] = ()
    if at is None:
        models = [check.text for check in service.preflight(name) if check.what == "model"]
    return TierAnswer(
        tier=name,
        drawn=drawn,
        points=tuple(points),
        resources=service.resources(name, at),
        wakes=_wakes(service, name, at),
        model=tuple(models),
    )
