"""Why the gate is as it is: its decision, the day's money against the limit, every input, and older verdicts."""

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from console.export.gate_table import COLUMNS, gate_rows
from console.tui.cells import Role, Row, line
from console.tui.render.gate import GateAnswer, budget_rows, curve_rows, input_rows, verdict_rows
from console.tui.render.gate_tables import allowance_rows, change_rows, limit_rows, term_rows
from console.tui.screens.page import Exported, Page, Question
from console.tui.screens.remembered import Remembered
from console.tui.view import View
from console.tui.widgets.lines import Lines
from store.gate import BLIND, Verdict
from store.headroom import Term
from store.unknown import NOT_RECORDED, Unknown
from store.window import day_start

if TYPE_CHECKING:
    from console.service import Service

_STEPS_A_DAY = 96  # a quarter of an hour: two steps fit beside each other on 80 columns by noon
_CHANGES = 100
_INPUT_LINES = 6  # of the inputs, these are in sight before anything is scrolled
_CURVE_LINES = (5, 16)


class GatePage(Page):
    """Shows the last fleet read, and what the store said of its gate when that last changed."""

    NAME: ClassVar[str] = "Gate"
    answer: GateAnswer | None

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._remembered: Remembered[GateAnswer] = Remembered()

    def body(self) -> ComposeResult:
        """One text, as long as it is."""
        with VerticalScroll(id="pane"):
            yield Lines(id="gate-text")

    def on_mount(self) -> None:
        """Arrows scroll."""
        self.query_one("#pane").focus()

    def on_resize(self) -> None:
        """Another width: lines break elsewhere."""
        self.show()

    def question(self) -> Question:
        """The inputs, the curve and the history: read again when a tick, a reset, a verdict or a day is new."""
        key, fleet, at, remembered = _key(self.view), self.view.fleet, self.view.at, self._remembered

        def ask(service: "Service") -> GateAnswer:
            day = None if fleet is None else day_start(fleet.at, service.settings.gate_policy.zone)
            return remembered.get((day, key), lambda: _read(service, at))

        return ask

    def show_body(self) -> None:
        """The whole text; what is not in sight scrolls."""
        self.query_one("#gate-text", Lines).show(self._rows())

    def exported(self) -> Exported | None:
        """The inputs, the curve, the allowances and the history, exact."""
        answer = self.answer
        if answer is None:
            return None
        rows = gate_rows(
            answer.verdict, answer.overspend_nusd, answer.curve, answer.changes, is_replay=answer.is_replay
        )
        return Exported("gate", COLUMNS, rows)

    def _rows(self) -> list[Row]:
        fleet, answer = self.view.fleet, self.answer
        assert fleet is not None
        if answer is None:
            return [line(" reading the gate…", Role.MUTED)]
        width = self.app.size.width - 1  # the scroll bar's column
        decision = [
            *verdict_rows(_shown(fleet.verdict, answer.verdict), answer, width),
            *budget_rows(answer.verdict.fleet, width),
        ]
        verdict, facts = answer.verdict, answer.verdict.facts
        own = {**verdict.currencies, **verdict.tiers}
        return [
            *decision,
            *curve_rows(answer.curve, width, self._curve_height(len(decision))),
            *input_rows(answer, width),
            *_apart(limit_rows(own, width)),
            *_apart(term_rows(facts.terms, verdict.fleet.facts.headroom_nusd, width)),
            *_apart(allowance_rows(answer.curve.allowances, answer.verdict, width)),
            *_apart(change_rows(answer.changes, width)),
        ]

    def _curve_height(self, lines_above: int) -> int:
        """What is left of the screen, within what a curve can be read in."""
        least, most = _CURVE_LINES
        room = self.query_one("#pane").size.height - lines_above - _INPUT_LINES - 1
        return min(max(room, least), most)


def _key(view: View) -> Hashable:
    """What the answer depends on; headroom grows each second, and is shown as of the last change."""
    fleet = view.fleet
    if fleet is None:
        return None
    facts = fleet.verdict.facts
    scopes = (fleet.verdict.fleet, *fleet.verdict.currencies.values(), *fleet.verdict.tiers.values())
    allowed = tuple(scope.facts.allowances_nusd for scope in scopes)
    reasons = tuple(fleet.verdict.by_scope.items())
    return (view.at, fleet.tick_at, reasons, fleet.closed_since, facts.closed_by, allowed)


def _read(service: "Service", at: datetime | None) -> GateAnswer:
    verdict: Verdict
    promise: Sequence[Term] | Unknown
    if at is None:
        verdict, promise = service.verdict()
    else:
        verdict, promise = service.fleet_at(at).verdict, NOT_RECORDED
    return GateAnswer(
        service.settings.gate_policy,
        verdict,
        promise,
        service.budget_curve(_STEPS_A_DAY, at),
        service.verdict_changes(_CHANGES, at),
        is_replay=at is not None,
    )


def _shown(now: Verdict, answered: Verdict) -> Verdict:
    """The decision to show: ages count on while the gate is blind, headroom does not while it is not."""
    is_blind = any(reason in BLIND for reason in now.reasons)
    return now if is_blind or now.by_scope != answered.by_scope else answered


def _apart(rows: list[Row]) -> list[Row]:
    return [line(""), *rows] if rows else []
