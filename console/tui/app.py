"""The console's screen: it reads the store each second, and asks before anything that costs or loses."""

import asyncio
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from console.service import Service
from console.tui.messages import FleetRead, Said, StoreSilent
from console.tui.screens.dialogs import ConfirmDialog, ReasonDialog, Reset, ResetDialog
from console.tui.screens.fleet import FleetScreen
from console.tui.screens.help import HelpScreen
from console.tui.screens.logs import LogsScreen
from console.wording import (
    close_consequence,
    hibernate_consequence,
    open_consequence,
    reset_consequence,
    wake_consequence,
)
from store.errors import MtokError, StoreUnreachable
from store.fleet import TierView
from store.gate import why_no_reset
from store.operations import OperationKind, Phase

_READ_EVERY_S = 1.0
_LOG_LINES = 200


class MtokApp(App[None]):
    """Owns the service and the screens. Nothing here talks to a provider or an agent."""

    CSS_PATH = "console.tcss"
    TITLE = "mtok"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit", "Quit", show=False, priority=True)]

    def __init__(self, service: Service, export_to: Path, collector_note: str = "") -> None:
        super().__init__()
        self.animation_level = "none"  # each frame of an animation is bytes on somebody's SSH line
        self._service, self._export_to = service, export_to
        self._home = FleetScreen(service.actor, collector_note)
        self._read_s: float | None = None

    def get_default_screen(self) -> Screen[None]:
        """The fleet."""
        return self._home

    def on_mount(self) -> None:
        """Begin to read, and end cleanly on a signal: Textual alone leaves the terminal broken."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(signum, self.exit, None, 128 + signum)
        self.set_interval(_READ_EVERY_S, self.read)
        self.read()

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def read(self) -> None:
        """Read the store, away from the screen."""
        try:
            self.post_message(FleetRead(self._service.fleet()))
        except StoreUnreachable as error:
            self.post_message(StoreSilent(f"the store does not answer: {error.reason}"))
        except MtokError as error:
            self.post_message(StoreSilent(str(error)))

    def on_fleet_read(self, message: FleetRead) -> None:
        """Show it, under a dialog too."""
        self._read_s = time.monotonic()
        self._home.show(message.fleet)

    def on_store_silent(self, message: StoreSilent) -> None:
        """Keep what is shown, marked as old."""
        self._home.show_stale(message.problem, time.monotonic(), self._read_s)

    def on_said(self, message: Said) -> None:
        """Put it into the message line."""
        self._home.say(message.line, is_problem=message.is_problem)

    def action_hibernate(self) -> None:
        """Ask whether to hibernate the tier under the cursor."""
        tier = self._askable(OperationKind.HIBERNATE)
        if tier is not None:
            name = tier.spec.name if tier.state == "serving" else None
            dialog = ConfirmDialog(f"Hibernate {tier.spec.name}", hibernate_consequence(tier), name)
            self._ask(OperationKind.HIBERNATE, tier, dialog)

    def action_wake(self) -> None:
        """Ask whether to wake the tier under the cursor."""
        tier = self._askable(OperationKind.WAKE)
        if tier is None:
            return
        fleet = self._home.fleet
        if fleet is not None and fleet.verdict.reasons_for(tier.spec.name):
            why = fleet.verdict.sentence_for(tier.spec.name)
            self._home.say(f"wake {tier.spec.name}: the gate is closed: {why}", is_problem=True)
            return
        self._preflight(tier)

    @work(thread=True, exclusive=True, group="preflight", exit_on_error=False)
    def _preflight(self, tier: TierView) -> None:
        """Read what is known before the wake, away from the screen, then ask."""
        try:
            checks = self._service.preflight(tier.spec.name)
        except MtokError as error:
            self.post_message(Said(str(error), is_problem=True))
            return
        dialog = ConfirmDialog(f"Wake {tier.spec.name}", wake_consequence(tier, checks))
        self.call_from_thread(self._ask, OperationKind.WAKE, tier, dialog)

    def action_reset_gate(self) -> None:
        """Ask for an amount and a reason, if a reset is possible."""
        fleet = self._home.fleet
        if fleet is None:
            return
        why = why_no_reset(fleet.verdict)
        if why is not None:
            self._home.say(f"reset: {why}", is_problem=True)
            return

        def answered(answer: object) -> None:
            if isinstance(answer, Reset):
                self._do("the gate", lambda: self._service.reset_gate(answer.amount_nusd, answer.reason), "reset")

        self.push_screen(ResetDialog("Reset the gate", reset_consequence(fleet)), answered)

    def action_turn_gate(self) -> None:
        """Close the gate by hand, or end such a closing."""
        fleet = self._home.fleet
        if fleet is None:
            return
        is_closed = fleet.verdict.facts.closed_by is not None
        act = self._service.open_gate if is_closed else self._service.close_gate
        word = "open" if is_closed else "close"

        def answered(answer: object) -> None:
            if isinstance(answer, str):
                self._do("the gate", lambda: act(answer), word)

        consequence = open_consequence(fleet) if is_closed else close_consequence(fleet)
        self.push_screen(ReasonDialog(f"{word.capitalize()} the gate", consequence), answered)

    def action_host_logs(self) -> None:
        """Follow what the agent of the tier under the cursor writes, over SSH with this user's own key."""
        tier = self._home.tier
        section = None if tier is None else self._service.tier_section(tier.spec.name)
        agent = next((one for one in section.agents if one.ssh_user is not None), None) if section else None
        if agent is None:
            self._home.say("host logs: no agent of this tier is reached by SSH", is_problem=True)
            return
        from console.host_access import log_lines  # paramiko: 80 ms that only this key pays

        lines = partial(log_lines, self._service.settings, agent, _LOG_LINES)
        self.push_screen(LogsScreen(f"{agent.name}: log of its host, newest last", lines))

    def action_export(self) -> None:
        """Write what is shown to a CSV file."""
        self._write_csv()

    def action_help(self) -> None:
        """Every key and word."""
        bindings = [binding for binding in FleetScreen.BINDINGS if isinstance(binding, Binding)]
        self.push_screen(HelpScreen(bindings))

    def action_redraw(self) -> None:
        """Draw every cell again."""
        self.screen.refresh(layout=True)

    def _askable(self, kind: OperationKind) -> TierView | None:
        tier = self._home.tier
        if tier is None:
            self._home.say(f"{kind}: there is no tier under the cursor", is_problem=True)
            return None
        under_way = tier.operation
        rests = under_way is not None and kind is OperationKind.WAKE and under_way.phase == Phase.ASLEEP
        why = tier.refusals.get(kind) if under_way is None or rests else f"a {under_way.kind} is under way"
        if why is not None:
            self._home.say(f"{kind} {tier.spec.name}: {why}", is_problem=True)
            return None
        return tier

    def _ask(self, kind: OperationKind, tier: TierView, dialog: ConfirmDialog) -> None:
        def answered(answer: object) -> None:
            if answer:
                self._do(tier.spec.name, partial(self._service.ask, kind, tier.spec.name, seen=tier.seen), kind)

        self.push_screen(dialog, answered)

    @work(thread=True, group="act", exit_on_error=False)
    def _do(self, subject: str, act: Callable[[], None], what: str) -> None:
        """Do what was confirmed; its outcome goes to the message line."""
        try:
            act()
        except MtokError as error:
            self.post_message(Said(str(error), is_problem=True))
        else:
            self.post_message(Said(f"{what} of {subject} asked; the collector carries it out"))
        self.call_from_thread(self.read)

    @work(thread=True, group="act", exit_on_error=False)
    def _write_csv(self) -> None:
        try:
            self.post_message(Said(f"exported to {self._service.export_csv(self._export_to)}"))
        except MtokError as error:
            self.post_message(Said(str(error), is_problem=True))

    def _fatal_error(self) -> None:
        """One line: Textual's own traceback shows local variables, and those may hold secrets."""
        self.bell()
        self._exit_renderables.append("mtok: the screen failed; nothing that was asked for is lost")
        self._close_messages_no_wait()
