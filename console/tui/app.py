"""The console's screen: it reads the store each second, and asks before anything that costs or loses."""

import gc
import os
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import Screen

from console.loading import LOADING, load_store
from console.service import Service
from console.tui.acts import Acts
from console.tui.clipboard import osc52
from console.tui.ends import Ends
from console.tui.keys import ACTS, BINDINGS, OF_NOW, OF_THE_PAST, OWN_USERS, check_keys
from console.tui.look import THEMES, Look
from console.tui.messages import Said, StoreRead, StoreSilent
from console.tui.pages import PageKey, make_page, page_keys
from console.tui.screens.dialogs import Dialog
from console.tui.screens.logs import LogsScreen
from console.tui.screens.page import Exported, Page, key_of
from console.tui.still import still
from console.tui.thin import ThinOutput
from console.tui.view import View
from console.tui.widgets.lines import CLASSES
from console.tui.widgets.too_small import TooSmall
from store.errors import MtokError, StoreUnreachable
from store.printable import printable

_READ_EVERY_S = 1.0
_SILENT_AFTER_S = 4.0  # a reading under way for longer is no answer either
_LOG_LINES = 200


class MtokApp(ThinOutput, Acts, Ends, App[None]):
    """Owns the service and the screens. Nothing here talks to a provider or an agent."""

    CSS_PATH = "console.tcss"
    COMPONENT_CLASSES: ClassVar[set[str]] = set(CLASSES)
    TITLE = "mtok"
    BINDINGS: ClassVar[list[BindingType]] = BINDINGS

    def __init__(
        self,
        service: Service,
        view: View,
        export_to: Path,
        look: Look | None = None,
        on_standing: Callable[[], object] = lambda: None,
    ) -> None:
        look = look or Look()
        super().__init__(
            ansi_color=look.is_ansi or None
        )  # without it NO_COLOR paints the ansi themes black on black
        self.animation_level = "none"  # each frame of an animation is bytes on somebody's SSH line
        self.is_thin, self.is_ascii, self.erases = look.is_thin, look.is_ascii, look.erases
        self.theme = THEMES[look.theme]
        self.service, self.view, self._export_to = service, view, export_to
        self._pages: dict[str, Page] = {"Fleet": self._made("Fleet")}
        self._reading_since_s: float | None = None
        self._on_standing: Callable[[], object] | None = on_standing  # once, when the first reading has been drawn
        self._is_wanted = False  # a reading, by somebody who came while another one was under way
        if look.keys:
            self.set_keymap(dict(check_keys(look.keys, [key.binding for key in self.keys_now()])))

    def get_default_screen(self) -> Screen[None]:
        """The fleet."""
        return self._pages["Fleet"]

    @property
    def page(self) -> Page:
        """The screen that is looked at, under any dialog."""
        return next(screen for screen in reversed(self.screen_stack) if isinstance(screen, Page))

    def keys_now(self) -> Sequence[PageKey]:
        """Every key of the console, as it is bound now, those of screens that nobody has looked at too."""
        own = [PageKey(binding, ()) for binding in BINDINGS if isinstance(binding, Binding)]
        return [self._as_bound(key) for key in (*own, *page_keys())]

    def _as_bound(self, key: PageKey) -> PageKey:
        binding = key.binding
        return PageKey(binding.with_key(self._keymap.get(binding.id or "", binding.key)), key.pages)

    def on_mount(self) -> None:
        """Begin to read, and end cleanly on a signal: Textual alone leaves the terminal broken."""
        self.end_on_signals()
        self.set_interval(_READ_EVERY_S, self.read)
        self.read()

    def on_resize(self) -> None:
        """Say what size is needed where there is less; go on where there is enough again."""
        self.call_later(self._refit)  # its own size is the old one yet

    def on_key(self, event: Key) -> None:
        """A key comes here after the one before it has acted, even where both came in one packet of SSH."""
        screen = self.screen
        is_too_early = isinstance(screen, Dialog) and screen.is_deaf  # which it has opened since
        if is_too_early or (isinstance(screen, Page) and screen.takes(event)):
            event.prevent_default()  # it is no binding's

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What changes something has no key where the console is read-only, nor has what is of now in the past."""
        if (action in ACTS and self.view.is_read_only) or (action in OF_NOW and self.view.at is not None):
            return False
        if action in OWN_USERS and self.is_web:
            return False
        if not self._turns_window(action) or (action == "export" and not self._exports()):
            return False
        return super().check_action(action, parameters)

    def _turns_window(self, action: str) -> bool:
        """Whether there is a window to turn, on this screen; `[ ]` step from minute to minute in a replay."""
        is_past = self.view.at is not None
        if action in OF_THE_PAST and not is_past:
            return False
        is_turn = action in OF_THE_PAST or (action == "window" and not is_past)
        return not is_turn or not self.screen_stack or self.page.HAS_WINDOW

    def _exports(self) -> bool:
        """Whether this screen has something that goes to a file."""
        return not self.screen_stack or self.page.HAS_EXPORT

    def read(self, *, is_wanted: bool = False) -> None:
        """Read the store; a reading that takes too long is told like no answer.

        `is_wanted`: somebody asks for something that has not been read yet, and gets it though figures stand still.
        """
        self.end_if_hung_up()
        if not self.screen_stack:  # a second may pass while the app closes its screens
            return
        self._is_wanted = self._is_wanted or is_wanted
        if self._reading_since_s is not None:
            waited = time.monotonic() - self._reading_since_s
            if waited > _SILENT_AFTER_S:
                self._silent(f"the store has not answered for {waited:.0f} s")
        else:
            question = self.page.question() if self._is_wanted or not self.view.is_paused else None
            self._is_wanted, self._reading_since_s = False, time.monotonic()
            self._read(self.page.NAME, question, self.view.at)

    def read_soon(self) -> None:
        """Read again at once."""
        self.call_later(self.read, is_wanted=True)

    @work(thread=True, group="read", exit_on_error=False)
    def _read(self, name: str, question: Callable[[Service], Any] | None, at: datetime | None) -> None:
        try:
            fleet = self.service.fleet() if at is None else self.service.fleet_at(at)
            answer = question(self.service) if question is not None else None
        except StoreUnreachable as error:
            self.post_message(StoreSilent(f"the store does not answer: {error.reason}"))
        except MtokError as error:
            self.post_message(StoreSilent(str(error)))
        except Exception as error:  # noqa: BLE001 - the screen must go on, and say that it cannot read
            self.post_message(StoreSilent(f"reading failed: {type(error).__name__}: {error}"))
        else:
            self.post_message(StoreRead(fleet, name, answer))

    def on_store_read(self, message: StoreRead) -> None:
        """Show it, under a dialog too."""
        self._has_read()
        if not self.screen_stack:  # a reading may end while the app closes its screens
            return
        if self.view.at not in (None, message.fleet.at):  # stepped on meanwhile: that minute is read next
            return
        view, asked = self.view, self._pages.get(message.page)
        view.latest, view.read_s, view.problem = still(view.latest, message.fleet), time.monotonic(), None
        if view.at is not None or not view.is_paused or view.fleet is None:
            view.fleet = view.latest
        if asked is not None and message.answer is not None:
            asked.answer = message.answer
        self.page.show()
        if isinstance(self.screen, Dialog):
            self.screen.follow(message.fleet)

    def on_store_silent(self, message: StoreSilent) -> None:
        """Keep what is shown, marked as old."""
        self._has_read()
        self._silent(message.problem)

    def _has_read(self) -> None:
        """Whoever was turned away meanwhile gets their reading now."""
        if self._on_standing is not None:
            self.call_after_refresh(self._on_standing)
            self._on_standing = None
            if not gc.isenabled():
                gc.freeze()
                gc.enable()
        self._reading_since_s = None
        if self._is_wanted:
            self.read_soon()

    def on_wanted(self) -> None:
        """A screen asks something else now."""
        self.read_soon()

    def on_said(self, message: Said) -> None:
        """Put it into the message line."""
        self.say(message.text, is_problem=message.is_problem)

    def say(self, text: str, *, is_problem: bool = False) -> None:
        """Put a line where the last message stays."""
        self.view.note, self.view.note_is_problem = text, is_problem
        if self.screen_stack:
            self.page.show_frame()

    async def action_page(self, name: str) -> None:
        """Go to a screen."""
        if isinstance(self.screen, Dialog) or name == self.page.NAME:
            return
        if name not in self._pages:
            self._pages[name] = self._made(name)
            self.install_screen(self._pages[name], name)  # else Textual takes it down for good when it is left
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        if name != "Fleet":
            await self.push_screen(self._pages[name])
        self.page.show()
        self.read_soon()

    def action_window(self, step: int) -> None:
        """Show another window; in a replay, another minute."""
        if self.view.at is not None:
            self._step(self.view.at, step)
        else:
            self.action_replay_window(step)

    def action_replay_window(self, step: int) -> None:
        """Show another window, of a past minute too."""
        self.view.turn_window(step)
        self.say(f"window: {self.view.window}")
        self.page.show()
        self.read_soon()

    def action_pause(self) -> None:
        """Let figures stand still, or go on."""
        self.view.is_paused = not self.view.is_paused
        self.say("paused: figures stand still; p goes on" if self.view.is_paused else "figures go on")
        self.read_soon()

    def action_copy(self) -> None:
        """Copy the tier's name."""
        tier = self.view.chosen
        self._copy(tier.spec.name if tier else "")

    def action_copy_row(self) -> None:
        """Copy the row under the cursor."""
        self._copy(self.page.row_text())

    def action_host_logs(self) -> None:
        """Follow what the agent of the tier writes, over SSH with this user's own key."""
        tier = self.view.chosen
        section = None if tier is None else self.service.tier_section(tier.spec.name)
        agent = next((one for one in section.agents if one.ssh_user is not None), None) if section else None
        if agent is None:
            self.say("host logs: no agent of this tier is reached by SSH", is_problem=True)
            return
        with LOADING:
            from console.host_access import log_lines  # paramiko: 80 ms that only this key pays
            from store.logs import silence_logs

        silence_logs()

        lines = partial(log_lines, self.service.settings, agent, _LOG_LINES)
        self.push_screen(LogsScreen(f"{agent.name}: log of its host, newest last", lines))

    def action_export(self) -> None:
        """Write what is shown to a CSV file."""
        exported = self.page.exported()
        if exported is None:
            self.say("export: there is nothing to write yet", is_problem=True)
            return
        self._export(exported)

    def action_redraw(self) -> None:
        """Draw every cell again."""
        self.forget_screen()
        self.screen.refresh(layout=True)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:  # noqa: ARG002
        """Every key by its name, for the palette."""
        for key in self.keys_now():
            binding = key.binding
            base, _, _ = binding.action.partition("(")
            is_of_tables = (binding.id or "").startswith("table.")
            if self.check_action(base, ()) is not False and base != "command_palette" and not is_of_tables:
                where = "" if key.is_everywhere else f"{', '.join(key.pages)}: "
                text = f"{where}{binding.tooltip or binding.description} ({key_of(binding)})"
                yield SystemCommand(binding.description, text, partial(self._press, key))
        for name in [tier.spec.name for tier in self.view.fleet.tiers] if self.view.fleet else ():
            yield SystemCommand(f"Tier {name}", "look at it", partial(self._look_at, name))

    async def _press(self, key: PageKey) -> None:
        """What a key does; one of another screen does it there."""
        if not key.is_everywhere and self.page.NAME not in key.pages:
            await self.action_page(key.pages[0])
        name, _, _ = key.binding.action.partition("(")
        await self.run_action(key.binding.action, self.page if hasattr(self.page, f"action_{name}") else self)

    async def _look_at(self, name: str) -> None:
        self.view.tier = name
        await self.action_page("Tier")

    @work(thread=True, exclusive=True, group="step", exit_on_error=False)
    def _step(self, at: datetime, step: int) -> None:
        """To the minute before, or after, that is on record."""
        load_store()
        try:
            found = self.service.minute_before(at) if step < 0 else self.service.minute_after(at)
        except MtokError as error:
            self.post_message(Said(str(error), is_problem=True))
            return
        if found is None:
            self.post_message(Said("replay: nothing is on record beyond this minute", is_problem=True))
            return
        self.call_from_thread(self._show_past, found)

    def _show_past(self, at: datetime) -> None:
        self.view.at = at
        self.read_soon()

    def _made(self, name: str) -> Page:
        return make_page(name, self.view, self.keys_now)

    def _refit(self) -> None:
        for screen in self.screen_stack:
            for front in screen.query(TooSmall):
                front.fit()
            if isinstance(screen, Page):
                screen.show_frame()
            elif isinstance(screen, Dialog):
                screen.refit()

    def _silent(self, problem: str) -> None:
        self.view.problem = problem
        if self.screen_stack:
            self.page.show()

    def _copy(self, text: str) -> None:
        text = printable(text)  # a line end in what is pasted into a shell would run it
        sequence = osc52(text, os.environ) if text else None
        if sequence is None:
            self.say(
                "copy: there is nothing to copy" if not text else "copy: too long for a terminal", is_problem=True
            )
            return
        if self._driver is not None:
            self._driver.write(sequence)
        self.say(f"copied: {text[:60]}")

    @work(thread=True, group="act", exit_on_error=False)
    def _export(self, exported: Exported) -> None:
        load_store()
        rows = exported.rows(self.service) if callable(exported.rows) else exported.rows
        try:
            path = self.service.export_table(self._export_to, exported.name, exported.headings, rows)
            self.post_message(Said(f"exported: {path.name} in {path.parent}"))
        except MtokError as error:
            self.post_message(Said(str(error), is_problem=True))

    def _fatal_error(self) -> None:
        """One line: Textual's own traceback shows local variables, and those may hold secrets."""
        self.bell()
        self._exit_renderables.append("mtok: the screen failed; nothing that was asked for is lost")
        self._close_messages_no_wait()
