"""What an engineer types into the plain console, understood line by line. It prints nothing and reads nothing.

A state machine: `feed` a line, get lines to say. Nothing acts on one line: each act says what it costs, and asks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from console.changed import (
    WhyChanged,
    closing_changed,
    never_changed,
    opening_changed,
    reset_changed,
    tier_changed,
    wake_changed,
)
from console.plain_lines import everything
from console.service import Service
from console.wording import (
    carried_out,
    close_consequence,
    hibernate_consequence,
    open_consequence,
    reset_consequence,
    reset_title,
    reset_understood,
    wake_consequence,
)
from store.clock import rfc3339
from store.errors import AmountError, MtokError
from store.fleet_view import Fleet, TierView
from store.money import typed_nusd
from store.phases import OperationKind
from store.resets import day_limit, scope_to_reset
from store.window import WINDOWS

HELP = (
    "status: every tier now. window 1h: figures of another window (5m 1h 24h 7d 30d today month).",
    "hibernate TIER, wake TIER: each says what it costs, and asks.",
    "gate reset AMOUNT REASON, gate close REASON, gate open REASON: the same.",
    "quit: end. An empty line answers nothing and cancels what was asked.",
)
_UNREAD: WhyChanged = never_changed  # nothing has been said of the fleet


@dataclass(frozen=True, slots=True)
class _Asked:
    """What waits for an answer, the word that is needed, what it does, and why it is no longer asked."""

    what: str
    word: str
    act: Callable[[], object]
    why_changed: WhyChanged = never_changed


class Talk:
    """One conversation. `fleet`: as last read; `problem`: why it cannot be read now. `is_over` after `quit`."""

    def __init__(self, service: Service, window: str) -> None:
        self._service, self.window = service, window
        self._asked: _Asked | None = None
        self.fleet: Fleet | None = None
        self.problem = ""
        self.is_over = False

    def feed(self, text: str) -> list[str]:
        """The answer to one line."""
        try:
            return list(self._answer(text.strip()))
        except MtokError as error:
            self._asked = None
            return [str(error)]

    def _answer(self, text: str) -> Iterator[str]:
        asked, self._asked = self._asked, None
        if asked is not None:
            yield from self._decide(asked, text)
            return
        words = text.split()
        match words:
            case []:
                return
            case ["quit" | "exit"]:
                self.is_over = True
            case ["status"]:
                yield from self._stale()
                yield from everything(self.fleet, self.window) if self.fleet is not None else ()
            case ["window", name] if name in WINDOWS:
                self.window = name
                yield f"figures are of the last {name}"
            case ["hibernate" | "wake" as kind, tier]:
                yield from self._ask_operation(OperationKind(kind), tier)
            case ["gate", "reset", amount, *reason]:
                yield from self._ask_reset(amount, " ".join(reason))
            case ["gate", "close" | "open" as act, *reason]:
                yield from self._ask_gate(act, " ".join(reason))
            case _:
                yield from HELP

    def _stale(self) -> Iterator[str]:
        """What is said next is stamped with the present; this, that it is not of the present."""
        if self.fleet is None:
            yield f"nothing has been read yet{self.problem and f': {self.problem}'}"
        elif self.problem:
            yield f"STALE: read at {rfc3339(self.fleet.at.replace(microsecond=0))}: {self.problem}"

    def _decide(self, asked: _Asked, text: str) -> Iterator[str]:
        if text != asked.word:
            yield f"{asked.what}: cancelled"
            return
        why = asked.why_changed(self.fleet) if self.fleet is not None else None
        if why is not None:
            yield f"{asked.what}: {why}; nothing was changed"
            return
        asked.act()
        yield f"{asked.what}: asked; {carried_out(is_led=self._service.is_led_or_unknown())}"

    def _ask_operation(self, kind: OperationKind, name: str) -> Iterator[str]:
        yield from self._stale()
        if self.fleet is None:
            return
        tier = self.fleet.tier(name)
        if tier is None:
            yield f"{kind}: there is no tier {name!r}"
            return
        if kind in tier.refusals:
            yield f"{kind} {name}: {tier.refusals[kind]}"
            return
        text, why_changed = self._consequence(kind, tier)
        yield from text.splitlines()
        word = name if kind is OperationKind.HIBERNATE and tier.is_serving else "yes"
        act = partial(self._service.ask, kind, name, seen=tier.seen)
        self._asked = _Asked(f"{kind} {name}", word, act, why_changed)
        yield f"type {word} to go on; anything else cancels"

    def _consequence(self, kind: OperationKind, tier: TierView) -> tuple[str, WhyChanged]:
        if kind is OperationKind.HIBERNATE:
            return hibernate_consequence(tier), tier_changed(tier)
        checks = self._service.preflight(tier.spec.name)
        return wake_consequence(tier, checks), wake_changed(tier, checks)

    def _ask_reset(self, amount: str, reason: str) -> Iterator[str]:
        try:
            nusd = typed_nusd(amount)
        except AmountError as error:
            yield f"gate reset: {amount!r} {error.problem}"
            return
        yield from self._stale()
        act, why_changed = partial(self._service.reset_gate, nusd, reason), _UNREAD
        if self.fleet is not None:
            scope, zone = scope_to_reset(self.fleet.verdict), self._service.settings.gate_policy.zone
            limit = day_limit(self.fleet.verdict, scope, self.fleet.at, zone)
            yield f"{reset_title(self.fleet, scope)}."
            yield from reset_consequence(self.fleet, scope).splitlines()
            yield f"It {reset_understood(limit, nusd)}."
            act = partial(act, currency=limit.currency, seen=limit)
            why_changed = reset_changed(self.fleet, scope, zone)
        self._asked = _Asked("gate reset", "yes", act, why_changed)
        yield "type yes to go on; anything else cancels"

    def _ask_gate(self, act: str, reason: str) -> Iterator[str]:
        yield from self._stale()
        seen, why_changed = None, _UNREAD
        if self.fleet is not None:
            is_close = act == "close"
            seen = self.fleet.verdict.facts.closed_by
            text = close_consequence(self.fleet) if is_close else open_consequence(self.fleet)
            why_changed = closing_changed(self.fleet) if is_close else opening_changed(self.fleet)
            yield from text.splitlines()
        does = self._service.close_gate if act == "close" else partial(self._service.open_gate, seen=seen)
        self._asked = _Asked(f"gate {act}", "yes", partial(does, reason), why_changed)
        yield "type yes to go on; anything else cancels"
