"""`mtok tier …`: what tiers do, asking them to sleep or wake, and what past wakes took."""

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from console.commands import dumped
from console.export.operations import (
    history_body,
    history_table,
    operation_body,
    phase_lines,
    phases_table,
    tiers_body,
)
from console.opening import opened
from console.service import Service
from console.wording import hibernate_consequence, wake_consequence
from store.anatomy import Anatomy
from store.clock import SystemClock
from store.errors import ExitCode, MtokError, SettingsError
from store.fleet_view import TierView
from store.operations import OperationRefused
from store.phases import OperationKind, OperationOutcome
from store.printable import printable, printable_lines
from store.words import State

_LOOKS_EVERY_S = 0.5
_UNLED_FOR_S = 60.0  # twice what replacing a dead leader takes


class NobodyLeads(MtokError):
    """No collector is there to carry an operation out; it stays asked for."""

    def __init__(self, kind: str, tier: str) -> None:
        super().__init__(f"{kind} {tier}: COLLECTOR DEAD: nobody carries it out, it stays asked for; mtok collect")
        self.kind, self.tier = kind, tier


def list_tiers(config: Path | None, *, as_json: bool) -> None:
    """Every tier, its state and what is under way, on stdout."""
    with opened(config) as (settings, database):
        fleet = Service(database, settings, SystemClock()).fleet()
    if as_json:
        print(dumped({"tiers": tiers_body(fleet)}))
        return
    for tier in fleet.tiers:
        operation = tier.operation
        doing = f"  {operation.kind}: {operation.phase}" if operation else ""
        print(printable(f"{tier.spec.name:<12} {tier.state:<14} {tier.spec.market:<10} {tier.seen}{doing}"))


def print_history(config: Path | None, tier: str, kind: str, count: int, *, as_json: bool) -> None:
    """Past wakes, or hibernates: each phase's time, the whole, the cost; median and worst."""
    with opened(config) as (settings, database):
        service = Service(database, settings, SystemClock())
        _known(service, tier)
        found = service.history(tier, _kind(kind), count)
        limits = settings.collector
    if as_json:
        print(dumped({"tier": tier, "operations": history_body(found)}))
    elif not found:
        print(f"no {kind} of {tier} yet")
    else:
        budgets = (limits.wake_warn_after, limits.wake_within) if kind == OperationKind.WAKE else None
        screen = Console(highlight=False)
        screen.print(history_table(tier, _kind(kind), found))
        screen.print()
        screen.print(phases_table(_kind(kind), found, budgets))


def operate(
    config: Path | None, kind: OperationKind, tier: str, reason: str, *, yes: bool, wait: bool, as_json: bool
) -> int:
    """Ask for a hibernate or a wake; with `wait` follow it to its outcome.

    Raises:
        OperationRefused: it makes no sense now.
    """
    with opened(config) as (settings, database):
        service = Service(database, settings, SystemClock())
        seen = _known(service, tier)
        if wait and _is_there(kind, seen):
            _say(f"{tier} is {seen.state} already")
            if as_json:
                print(dumped({"kind": kind, "tier": tier, "outcome": "done", "detail": f"{seen.state} already"}))
            return int(ExitCode.OK)
        id_ = _under_way(service, kind, tier) if wait else None
        if id_ is None:
            _confirm(service, kind, seen, yes=yes)
            id_ = _ask(service, kind, seen, reason, wait=wait)
        if not wait:
            _say(f"{kind} of {tier} asked; the collector carries it out (mtok tier history {tier})")
            return int(ExitCode.OK)
        ended = _follow(service, id_)
    if as_json:
        print(dumped(operation_body(ended)))
    return int(ExitCode.OK if ended.outcome == OperationOutcome.DONE else ExitCode.FAILED)


def _ask(service: Service, kind: OperationKind, tier: TierView, reason: str, *, wait: bool) -> int:
    """Ask; whoever waits follows one that somebody else has asked for at the same moment."""
    try:
        return service.ask(kind, tier.spec.name, seen=tier.seen, reason=reason)
    except OperationRefused:
        other = _under_way(service, kind, tier.spec.name) if wait else None
        if other is None:
            raise
        return other


def _under_way(service: Service, kind: OperationKind, tier: str) -> int | None:
    """The operation of this kind that is under way, if one is."""
    newest = service.history(tier, kind, 1)
    if not newest or newest[0].finished_at is not None:
        return None
    _say(f"a {kind} of {tier} is under way (phase {newest[0].phase}): following it")
    return newest[0].id


def _is_there(kind: OperationKind, tier: TierView) -> bool:
    """Whether the tier is as wished for already: what a gateway that asks for a wake wants to hear."""
    is_there = tier.is_serving if kind is OperationKind.WAKE else tier.state == State.ASLEEP
    return tier.operation is None and is_there


def _confirm(service: Service, kind: OperationKind, tier: TierView, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise SettingsError(f"tier {kind}", "asks before it acts, and nobody is there to answer", "add --yes")
    if kind is OperationKind.WAKE:
        _say(wake_consequence(tier, service.preflight(tier.spec.name)))
    else:
        _say(hibernate_consequence(tier))
    typer.confirm(f"{kind} {tier.spec.name}?", abort=True, err=True)


def _follow(service: Service, id_: int) -> Anatomy:
    """Show each phase as it is reached, until the outcome.

    Raises:
        NobodyLeads: no collector carries it out.
    """
    screen = Console(stderr=True)
    shown, led_s = 0, time.monotonic()
    with screen.status("asked; waiting for the collector") as status:
        while True:
            now = service.operation(id_)
            led_s = time.monotonic() if service.is_led() else led_s
            if time.monotonic() - led_s > _UNLED_FOR_S:
                raise NobodyLeads(now.kind, now.tier)
            lines = phase_lines(now)
            for line in lines[shown:]:
                screen.print(Text(printable(line)))
            shown = len(lines)
            if now.finished_at is not None:
                _say(f"{now.kind} {now.tier}: {now.outcome}{f' ({now.detail})' if now.detail else ''}")
                return now
            status.update(Text(printable(_waiting(service, now))))
            time.sleep(_LOOKS_EVERY_S)


def _waiting(service: Service, now: Anatomy) -> str:
    elapsed = service.clock.now() - now.requested_at
    led = "" if service.is_led() else "; COLLECTOR DEAD: nobody carries it out"
    limits = service.settings.collector
    late = elapsed > limits.wake_warn_after and now.kind is OperationKind.WAKE
    slow = f"; slow: over {limits.wake_warn_after}, given up at {limits.wake_within}" if late else ""
    return f"{now.phase}, {_clocked(elapsed)}{slow}{led}"


def _clocked(elapsed: timedelta) -> str:
    minutes, seconds = divmod(int(elapsed.total_seconds()), 60)
    return f"{minutes}:{seconds:02}"


def _known(service: Service, tier: str) -> TierView:
    fleet = service.fleet()
    found = fleet.tier(tier)
    if found is None:
        known: Sequence[str] = [one.spec.name for one in fleet.tiers]
        raise SettingsError(f"tier {tier!r}", "there is no such tier", f"choose one of: {', '.join(known)}")
    return found


def _kind(name: str) -> OperationKind:
    try:
        return OperationKind(name)
    except ValueError:
        raise SettingsError(f"--kind {name}", "is no operation", "choose wake or hibernate") from None


def _say(line: str) -> None:
    print(printable_lines(line), file=sys.stderr)
