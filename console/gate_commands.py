"""`mtok gate …`: the decision with all its inputs, and the hands that may change it."""

from pathlib import Path

from console.commands import dumped
from console.export.gate import gate_body, gate_text
from console.opening import opened
from console.service import Service
from store.clock import SystemClock
from store.errors import AmountError, SettingsError
from store.money import typed_nusd
from store.printable import printable


def show_gate(config: Path | None, *, as_json: bool) -> None:
    """The gate now, on stdout."""
    with opened(config) as (settings, database):
        verdict, promise = Service(database, settings, SystemClock()).verdict()
        body = gate_body(settings.gate_policy, verdict, promise)
    print(dumped(body) if as_json else gate_text(body))


def close_gate(config: Path | None, reason: str) -> None:
    """Close it by hand."""
    with opened(config) as (settings, database):
        Service(database, settings, SystemClock()).close_gate(reason)
    print("the gate is closed; the collector revokes every lease")


def open_gate(config: Path | None, reason: str) -> None:
    """End a closing by hand."""
    with opened(config) as (settings, database):
        service = Service(database, settings, SystemClock())
        service.open_gate(reason)
        verdict, _ = service.verdict()
    closed = f"no longer closed by hand, but still closed: {verdict.sentence}"
    print("the gate is open" if verdict.is_open else printable(closed))


def reset_gate(config: Path | None, amount: str, reason: str, tier: str | None, currency: str) -> None:
    """Add money to today's limit."""
    try:
        nusd = typed_nusd(amount)
    except AmountError as error:
        raise SettingsError(f"--amount {amount}", error.problem, "write one such as 50 or 12.50") from None
    with opened(config) as (settings, database):
        service = Service(database, settings, SystemClock())
        service.reset_gate(nusd, reason, tier, currency)
        verdict, _ = service.verdict()
    print(printable("the gate is open" if verdict.is_open else f"added, but still closed: {verdict.sentence}"))
