"""What an engineer types into the plain console, understood line by line. It prints nothing and reads nothing.

A state machine: `feed` a line, get lines to say. Nothing acts on one line: each act says what it costs, and asks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from console.plain_lines import everything
from console.service import Service
from console.wording import (
    carried_out,
    close_consequence,
    hibernate_consequence,
    open_consequence,
    reset_consequence,
    wake_consequence,
)
from store.clock import rfc3339
from store.errors import AmountError, MtokError
from store.fleet_view import Fleet, TierView
from store.money import parse_nusd
from store.phases import OperationKind
from store.window import WINDOWS

HELP = (
    "status: every tier now. window 1h: figures of another window (5m 1h 24h 7d 30d today month).",
    "hibernate TIER, wake TIER: each says what it costs, and asks.",
    "gate reset AMOUNT REASON, gate close REASON, gate open REASON: the same.",
    "quit: end. An empty line answers nothing and cancels what was asked.",
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What waits for an answer, the word that is needed, and what it does."""

    what: str
    word: str
    act: Callable[[], object]


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
        asked.act()
        yield f"{asked.what}: asked; {carried_out(is_led=self._service.is_led())}"

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
        yield from self._consequence(kind, tier)
        word = name if kind is OperationKind.HIBERNATE and tier.state == "serving" else "yes"
        self._asked = _Asked(f"{kind} {name}", word, lambda: self._service.ask(kind, name, seen=tier.seen))
        yield f"type {word} to go on; anything else cancels"

    def _consequence(self, kind: OperationKind, tier: TierView) -> Iterator[str]:
        if kind is OperationKind.HIBERNATE:
            yield from hibernate_consequence(tier).splitlines()
        else:
            yield from wake_consequence(tier, self._service.preflight(tier.spec.name)).splitlines()

    def _ask_reset(self, amount: str, reason: str) -> Iterator[str]:
        try:
            nusd = parse_nusd(amount)
        except AmountError as error:
            yield f"gate reset: {amount!r} {error.problem}"
            return
        yield from self._stale()
        if self.fleet is not None:
            yield from reset_consequence(self.fleet).splitlines()
        self._asked = _Asked("gate reset", "yes", lambda: self._service.reset_gate(nusd, reason))
        yield "type yes to go on; anything else cancels"

    def _ask_gate(self, act: str, reason: str) -> Iterator[str]:
        yield from self._stale()
        seen = None
        if self.fleet is not None:
            seen = self.fleet.verdict.facts.closed_by
            text = close_consequence(self.fleet) if act == "close" else open_consequence(self.fleet)
            yield from text.splitlines()
        does = self._service.close_gate if act == "close" else partial(self._service.open_gate, seen=seen)
        self._asked = _Asked(f"gate {act}", "yes", lambda: does(reason))
        yield "type yes to go on; anything else cancels"
