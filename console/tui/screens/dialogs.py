"""Dialogs before anything that costs or loses: Cancel has the focus, and a burst of typed keys does nothing."""

import time
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import Key, Paste
from textual.screen import ModalScreen
from textual.widgets import Button, Input

from console.changed import WhyChanged, never_changed
from console.tui.cells import Role, lines
from console.tui.render.status import wrapped
from console.tui.widgets.lines import Lines
from console.tui.widgets.too_small import TooSmall, is_too_small
from console.wording import reset_understood
from store.errors import AmountError
from store.fleet_view import Fleet
from store.money import typed_nusd
from store.resets import DayLimit

_WIDEST = 67  # the box, less its border, padding and scroll bar
_AROUND = 5  # what of them takes columns from the terminal
_ROWY_FROM = 22  # a lower terminal has no empty rows to spare
_DEAF_S = 0.3  # keys typed for the screen below must not act here


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset of the gate needs."""

    amount_nusd: int
    reason: str


class Dialog(ModalScreen[object]):
    """A title, lines of consequence, and Cancel first. `why_changed` looks at each new reading of the fleet."""

    AUTO_FOCUS = "#cancel"  # where it does no harm: a field would take what was typed for the screen below
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("up", "scroll_text(-1)", "Scroll up"),
        Binding("down", "scroll_text(1)", "Scroll down"),
    ]

    def __init__(self, title: str, consequence: str, why_changed: WhyChanged = never_changed) -> None:
        super().__init__()
        self._heading, self._consequence, self._why_changed = title, consequence, why_changed
        self._changed: str | None = None
        self._opened_s = time.monotonic()

    def compose(self) -> ComposeResult:
        """The box; what stands between the text and the buttons is the dialog's own."""
        with Vertical(id="box"):
            yield Lines(id="title")
            with VerticalScroll(id="text", can_focus=False):
                yield Lines(id="consequence")
            yield from self.questions()
            yield Lines(id="hint")
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(self._heading.split(" ")[0], id="act", disabled=True, compact=True)
        yield TooSmall()

    def questions(self) -> ComposeResult:
        """What has to be typed; nothing, by default."""
        yield from ()

    def on_mount(self) -> None:
        """Fill in the text."""
        self.refit()

    def refit(self) -> None:
        """Fill in the text for the size that the terminal has; what there is no room for scrolls."""
        if not self.query("#act"):
            return
        self.set_class(self.app.size.height < _ROWY_FROM, "-low")
        self.query_one("#title", Lines).show(lines(wrapped(self._heading, self._text_width), Role.STRONG))
        self.query_one("#consequence", Lines).show(lines(_folded(self._consequence, self._text_width)))
        self._hint()

    def _make_room(self) -> None:
        """Leave the title, the fields, the hint and the buttons their rows: what a hint takes, it has once said."""
        title, hint = (self.query_one(name, Lines).text.count("\n") + 1 for name in ("#title", "#hint"))
        fields = len(self.query(Input))
        around = 2 + title + (fields + hint + 1 if self.has_class("-low") else 2 * fields + hint + 3)
        self.query_one("#text").styles.max_height = max(self.app.size.height - around, 1)

    @property
    def _text_width(self) -> int:
        return min(self.app.size.width - _AROUND, _WIDEST)

    def action_scroll_text(self, step: int) -> None:
        """The consequences, where they are longer than the terminal is high."""
        self.query_one("#text").scroll_relative(y=step, animate=False)

    @property
    def is_deaf(self) -> bool:
        """Whether nobody can have read it yet: what is typed was typed for the screen below."""
        return time.monotonic() - self._opened_s < _DEAF_S

    def follow(self, fleet: Fleet) -> None:
        """The fleet has been read again: what has changed under the question takes the answer away."""
        self._changed = self._changed or self._why_changed(fleet)
        if self._changed is not None and self.query("#act"):  # else it is said as soon as there is a place for it
            self._hint()

    def is_ready(self) -> bool:
        """Whether nothing is missing."""
        return True

    def hint(self) -> str:
        """What is still missing, or that nothing is."""
        return "Tab to the button, then Enter acts; Esc cancels"

    def outcome(self) -> object:
        """What the dialog answers when it acts."""
        return True

    def on_key(self, event: Key) -> None:
        """Drop a burst that was typed before this dialog was seen; letters cancel unless they are typed in."""
        if self.is_deaf:
            event.stop()
            event.prevent_default()
        elif event.key in ("n", "q") and not isinstance(self.focused, Input):
            self.action_cancel()

    def on_paste(self, event: Paste) -> None:
        """Whatever must be typed must be typed."""
        event.prevent_default()
        event.stop()
        if isinstance(self.focused, _Typed):
            self._say("a pasted name does not count: type it")

    def on_input_changed(self) -> None:
        """Say what is missing, as it is typed."""
        self._hint()

    def on_descendant_focus(self) -> None:
        """What has to be pressed is another where the focus is another."""
        if self.query("#act"):
            self._hint()

    def on_input_submitted(self) -> None:
        """Enter in a field acts when nothing is missing."""
        if self._may_act():
            self._end(self.outcome())

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Act, or do not."""
        if event.button.id == "cancel":
            self.action_cancel()
        elif self._may_act():
            self._end(self.outcome())

    def action_cancel(self) -> None:
        """Close without acting."""
        self._end(None)

    def _end(self, outcome: object) -> None:
        """Close, once: a second key may come before this one has taken the dialog down."""
        if self.is_current:
            self.dismiss(outcome)

    def _may_act(self) -> bool:
        return self._changed is None and self.is_ready() and not is_too_small(*self.app.size)

    def _told(self) -> str:
        if isinstance(self.focused, Input) or not self.query(Input):
            return self.hint()
        return Dialog.hint(self) if self.is_ready() else f"Tab to the field: {self.hint()}"

    def _hint(self) -> None:
        text = self._told() if self._changed is None else f"{self._changed}: close this and start again"
        self._say(text)
        self.query_one("#act", Button).disabled = not self._may_act()

    def _say(self, text: str) -> None:
        self.query_one("#hint", Lines).show(lines(wrapped(text, self._text_width)))
        self._make_room()


class ConfirmDialog(Dialog):
    """Yes or no; where `name` is given, it has to be typed."""

    def __init__(
        self, title: str, consequence: str, name: str | None = None, why_changed: WhyChanged = never_changed
    ) -> None:
        self._tier = name
        super().__init__(title, consequence, why_changed)

    def questions(self) -> ComposeResult:
        """The field for the name."""
        if self._tier is not None:
            yield _field("name", f"type {self._tier}", _Typed)

    def is_ready(self) -> bool:
        """Whether the name is right."""
        return self._tier is None or (self.is_mounted and self._typed() == self._tier)

    def hint(self) -> str:
        """Whether the name is right, in words."""
        if self._tier is None:
            return super().hint()
        if self._typed() == self._tier:
            return "ready: Enter acts"
        return f"type {self._tier} to go on" if not self._typed() else f"{self._typed()} is not the name"

    def _typed(self) -> str:
        return self.query_one("#name", Input).value


class ResetDialog(Dialog):
    """An amount to add to today's `limit`, and why."""

    def __init__(
        self, title: str, consequence: str, limit: DayLimit, why_changed: WhyChanged = never_changed
    ) -> None:
        self._limit = limit
        super().__init__(title, consequence, why_changed)

    def questions(self) -> ComposeResult:
        """The fields for the amount and the reason."""
        yield _field("amount", f"amount in {self._limit.currency}, such as 50")
        yield _field("reason", "reason, for the journal")

    def is_ready(self) -> bool:
        """Whether there are an amount and a reason."""
        return self.is_mounted and not isinstance(self._amount(), str) and bool(_text_of(self, "reason"))

    def hint(self) -> str:
        """What is missing; else what has been understood."""
        amount = self._amount()
        if isinstance(amount, str):
            return amount
        if not _text_of(self, "reason"):
            return "a reason is needed"
        return f"ready: {self._understood(amount, 'ready: . Enter acts')}. Enter acts"

    def outcome(self) -> Reset:
        """The amount and the reason."""
        amount = self._amount()
        assert isinstance(amount, int)
        return Reset(amount, _text_of(self, "reason"))

    def _told(self) -> str:
        amount, told = self._amount(), super()._told()
        if isinstance(self.focused, Input) or isinstance(amount, str) or not self.is_ready():
            return told
        return f"{self._understood(amount)}. {told}"  # Enter may be the next key on the button too

    def _understood(self, amount_nusd: int, around: str = "") -> str:
        return reset_understood(self._limit, amount_nusd, self._text_width - len(around))

    def _amount(self) -> int | str:
        text = _text_of(self, "amount")
        if not text:
            return "an amount is needed"
        try:
            amount = typed_nusd(text)
        except AmountError as error:
            return f"{text[:20]} {error.problem}"
        if amount == 0:
            return "the amount must be above zero"
        return self._limit.why_too_much(amount) or amount


class ReasonDialog(Dialog):
    """Why: for what needs nothing else."""

    def questions(self) -> ComposeResult:
        """The field for the reason."""
        yield _field("reason", "reason, for the journal")

    def is_ready(self) -> bool:
        """Whether there is a reason."""
        return self.is_mounted and bool(_text_of(self, "reason"))

    def hint(self) -> str:
        """What is missing."""
        return "ready: Enter acts" if _text_of(self, "reason") else "a reason is needed"

    def outcome(self) -> str:
        """The reason."""
        return _text_of(self, "reason")


class _Typed(Input):
    """Takes letters alone: whoever has typed a name has read it. A reason, or an amount, may be pasted."""

    def _on_paste(self, event: Paste) -> None:
        event.prevent_default()  # Input's own; the dialog says why

    def action_paste(self) -> None:
        """Nothing."""


def _field(name: str, placeholder: str, of: type[Input] = Input) -> Input:
    field = of(placeholder=placeholder, id=name, compact=True)
    field.cursor_blink = False
    return field


def _text_of(dialog: Dialog, name: str) -> str:
    return dialog.query_one(f"#{name}", Input).value.strip()


def _folded(text: str, width: int) -> list[str]:
    return [part for sentence in text.split("\n") for part in wrapped(sentence, width)]
