"""What costs or loses: each asks first, says what it will do, and is done by the service, away from the screen."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from textual import work
from textual.app import App

from console.changed import closing_changed, opening_changed, reset_changed, tier_changed, wake_changed
from console.loading import load_store
from console.service import Service
from console.tui.keys import ACTS
from console.tui.messages import Said
from console.tui.screens.dialogs import ConfirmDialog, Dialog, ReasonDialog, Reset, ResetDialog
from console.tui.view import View
from console.wording import (
    carried_out,
    close_consequence,
    close_title,
    hibernate_consequence,
    hibernate_title,
    open_consequence,
    open_title,
    quit_consequence,
    quit_title,
    reset_consequence,
    reset_title,
    unled,
    wake_consequence,
    wake_title,
)
from store.errors import MtokError
from store.fleet_view import Fleet, TierView
from store.phases import OperationKind, Phase
from store.resets import day_limit, scope_to_reset, why_no_reset

if TYPE_CHECKING:
    _Base = App[None]
else:
    _Base = object


class Acts(_Base):
    """For an App: the actions `hibernate`, `wake`, `reset_gate`, `close_gate` and `open_gate`."""

    service: Service
    view: View

    def say(self, text: str, *, is_problem: bool = False) -> None:
        """Put a line where the last message stays."""
        raise NotImplementedError

    def read_soon(self) -> None:
        """Read the store again at once."""
        raise NotImplementedError

    def why_not(self, action: str) -> str | None:
        """Why an action makes no sense now; None where it does."""
        fleet, tier = self.view.fleet, self.view.chosen
        if fleet is None:
            return "nothing has been read yet"
        if action in ACTS and self.view.is_paused:
            return "paused: what is shown is old; p goes on, then again"
        if action in ("hibernate", "wake"):
            return "there is no tier" if tier is None else _why_no_operation(fleet, tier, OperationKind(action))
        if action == "reset_gate":
            return why_no_reset(fleet.verdict, scope_to_reset(fleet.verdict))
        closed_by = fleet.verdict.facts.closed_by
        if action == "close_gate" and closed_by is not None:
            return f"{closed_by} has closed it already"
        if action == "open_gate" and closed_by is None:
            return "nobody has closed it by hand"
        return None

    def action_hibernate(self) -> None:
        """Ask whether to hibernate the tier that is looked at."""
        tier = self._askable("hibernate")
        if tier is not None:
            name = tier.spec.name if tier.is_serving else None
            text = self._unled(hibernate_consequence(tier))
            dialog = ConfirmDialog(hibernate_title(tier), text, name, tier_changed(tier))
            self._ask(OperationKind.HIBERNATE, tier, dialog)

    def action_wake(self) -> None:
        """Ask whether to wake the tier that is looked at."""
        tier = self._askable("wake")
        if tier is not None:
            self._preflight(tier)

    @work(thread=True, exclusive=True, group="preflight", exit_on_error=False)
    def _preflight(self, tier: TierView) -> None:
        """Read what is known before the wake, away from the screen, then ask."""
        load_store()
        try:
            checks = self.service.preflight(tier.spec.name)
        except MtokError as error:
            self.post_message(Said(str(error), is_problem=True))
            return
        text = self._unled(wake_consequence(tier, checks))
        dialog = ConfirmDialog(wake_title(tier), text, why_changed=wake_changed(tier, checks))
        self.call_from_thread(self._ask, OperationKind.WAKE, tier, dialog)

    def action_reset_gate(self) -> None:
        """Ask for an amount and a reason."""
        fleet = self._gate_for("reset_gate")
        if fleet is None:
            return

        scope, zone = scope_to_reset(fleet.verdict), self.service.settings.gate_policy.zone
        limit = day_limit(fleet.verdict, scope, fleet.at, zone)

        def answered(answer: object) -> None:
            if isinstance(answer, Reset):
                act = partial(self.service.reset_gate, currency=limit.currency, seen=limit)
                self._do("the gate", lambda: act(answer.amount_nusd, answer.reason), "reset")

        text = self._unled(reset_consequence(fleet, scope))
        dialog = ResetDialog(reset_title(fleet, scope), text, limit, reset_changed(fleet, scope, zone))
        self.push_screen(dialog, answered)

    def action_close_gate(self) -> None:
        """Ask for a reason to close the gate."""
        fleet = self._gate_for("close_gate")
        if fleet is not None:
            dialog = ReasonDialog(close_title(fleet), self._unled(close_consequence(fleet)), closing_changed(fleet))
            self._ask_reason(dialog, self.service.close_gate, "close")

    def action_open_gate(self) -> None:
        """Ask for a reason to end a closing by hand."""
        fleet = self._gate_for("open_gate")
        if fleet is not None:
            dialog = ReasonDialog(open_title(fleet), self._unled(open_consequence(fleet)), opening_changed(fleet))
            act = partial(self.service.open_gate, seen=fleet.verdict.facts.closed_by)
            self._ask_reason(dialog, act, "open")

    async def action_quit(self) -> None:
        """End; where that ends the collector that leads, ask first."""
        if not self.view.leads or isinstance(self.screen, Dialog):
            await super().action_quit()
            return

        def answered(answer: object) -> None:
            if answer:
                self.exit()

        dark_after = self.service.settings.gate_policy.dark_after
        self.push_screen(ConfirmDialog(quit_title(), quit_consequence(dark_after)), answered)

    def _unled(self, consequence: str) -> str:
        return consequence if self.view.fleet is None else unled(self.view.fleet, consequence)

    def _ask_reason(self, dialog: Dialog, act: Callable[[str], None], word: str) -> None:
        def answered(answer: object) -> None:
            if isinstance(answer, str):
                self._do("the gate", lambda: act(answer), word)

        self.push_screen(dialog, answered)

    def _gate_for(self, action: str) -> Fleet | None:
        why = self.why_not(action)
        if why is not None:
            self.say(f"{action.replace('_', ' ')}: {why}", is_problem=True)
            return None
        return self.view.fleet

    def _askable(self, action: str) -> TierView | None:
        tier, why = self.view.chosen, self.why_not(action)
        if why is not None or tier is None:
            self.say(f"{action}{f' {tier.spec.name}' if tier else ''}: {why}", is_problem=True)
            return None
        return tier

    def _ask(self, kind: OperationKind, tier: TierView, dialog: Dialog) -> None:
        def answered(answer: object) -> None:
            if answer:
                act = partial(self.service.ask, kind, tier.spec.name, seen=tier.seen)
                self._do(tier.spec.name, act, kind)

        self.push_screen(dialog, answered)

    @work(thread=True, group="act", exit_on_error=False)
    def _do(self, subject: str, act: Callable[[], object], what: str) -> None:
        """Do what was confirmed; its outcome goes to the message line."""
        load_store()
        try:
            act()
        except MtokError as error:
            self.post_message(Said(str(error), is_problem=True))
        else:
            is_led = self.service.is_led_or_unknown()
            said = f"{what} of {subject} asked; {carried_out(is_led=is_led)}"
            self.post_message(Said(said, is_problem=is_led is not True))
        self.call_from_thread(self.read_soon)


def _why_no_operation(fleet: Fleet, tier: TierView, kind: OperationKind) -> str | None:
    under_way = tier.operation
    rests = under_way is not None and kind is OperationKind.WAKE and under_way.phase == Phase.ASLEEP
    why = tier.refusals.get(kind) if under_way is None or rests else f"a {under_way.kind} is under way"
    if why is None and kind is OperationKind.WAKE and fleet.verdict.reasons_for(tier.spec.name):
        why = f"the gate is closed: {fleet.verdict.sentence_for(tier.spec.name)}"
    return why
