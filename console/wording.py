"""What an act costs or loses, in words, before anyone confirms it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from store.fleet_view import Fleet, TierView
from store.gate import Reason
from store.money import display, display_exact
from store.resets import DayLimit
from store.unknown import Unknown

if TYPE_CHECKING:
    from store.preflight import Check

NOBODY_LEADS = "COLLECTOR DEAD: nobody carries it out, it stays asked for; start mtok collect."
_WIDE = 80
_MARKS = {True: "ok", False: "NO", None: "? "}


def carried_out(*, is_led: bool | None) -> str:
    """Who does what has been asked for."""
    if is_led is None:
        return "whether a collector leads, to carry it out, is not known"
    return "the collector carries it out" if is_led else NOBODY_LEADS


def unled(fleet: Fleet, consequence: str) -> str:
    """A consequence, and before it that nobody is there to bring it about; itself where somebody leads."""
    return consequence if fleet.led_by else f"{NOBODY_LEADS}\n{consequence}"


def quit_title() -> str:
    """The act, and what ends with it."""
    return "Quit this console? It is the collector that leads"


def quit_consequence(dark_after: timedelta) -> str:
    """What nobody does any more when the only collector ends."""
    return (
        "It reads the bills and keeps the agents' leases alive. Unless another collector stands by, every agent "
        f"answers 503 {dark_after.total_seconds():.0f} s after the last tick, and nothing puts a tier to sleep.\n"
        "mtok collect, as a service, goes on without a screen."
    )


def hibernate_title(tier: TierView) -> str:
    """The act, and what it is about in service and money."""
    return f"Hibernate {tier.spec.name}: {_in_flight(tier)}, quoted {_rate(tier)}"


def hibernate_consequence(tier: TierView) -> str:
    """What hibernating a tier ends, saves, goes on billing and loses."""
    lines = [f"{_in_flight(tier)}; they finish first, new ones get 503.", f"It bills {_rate(tier)} now, as quoted."]
    if tier.sleep is not None:
        lines.append(f"Asleep it goes on billing: {tier.sleep.bills}.")
        if tier.sleep.loses:
            lines.append(f"It loses: {', '.join(tier.sleep.loses)}. Its volumes stay.")
    lines.append("Waking takes minutes, and may fail when the provider has no capacity left.")
    return "\n".join(lines)


def wake_title(tier: TierView) -> str:
    """The act, and when it begins to cost."""
    return f"Wake {tier.spec.name}: billed in full before it serves"


def wake_consequence(tier: TierView, checks: Sequence["Check"]) -> str:
    """What waking a tier begins to cost, and what is known beforehand."""
    lines = [
        "Its GPU is billed in full from the moment it runs, before it serves.",
        f"Asleep it is quoted {_rate(tier)}; awake, the provider's price for {tier.spec.gpu or 'its GPU'}.",
        *(f"{_MARKS[check.is_ok]} {check.what}: {check.text}" for check in checks),
    ]
    return "\n".join(lines)


def reset_title(fleet: Fleet, scope: str) -> str:
    """The act, and the money that it is about."""
    return f"Reset the gate: {_spent(fleet, scope, 'an unknown part')} spent today"


def reset_consequence(fleet: Fleet, scope: str) -> str:
    """What a reset allows, and from which limit on the gate opens."""
    money = fleet.verdict.money_of(scope)
    bound, others = money.facts.bound_nusd, fleet.verdict.reasons_besides(*money.reasons)
    opens = (
        f"From which limit on it opens is not known: {bound.reason}."
        if isinstance(bound, Unknown)
        else (f"With what is not billed yet, a limit above {display(bound, money.currency)} opens it.")
    )
    rest = f"\nIt stays closed all the same: {', '.join(others)}." if others else ""
    return f"{opens}{rest}\nThe amount is added to today's limit alone. It is journaled with your name."


def reset_understood(limit: DayLimit, amount_nusd: int, width: int = _WIDE) -> str:
    """What an amount has been understood to be, and what the limit becomes by it, in fewer words where narrow."""
    added = display_exact(amount_nusd, limit.currency)
    becomes = display_exact(limit.limit_nusd + amount_nusd, limit.currency)
    told = f"adds {added}; today's limit becomes {becomes}"
    return told if len(told) <= width else f"+{added} makes {becomes} today"


def close_title(fleet: Fleet) -> str:
    """The act, and whom it stops."""
    return f"Close the gate: new requests to {_serving(fleet)} get 503"


def close_consequence(fleet: Fleet) -> str:
    """What closing by hand ends."""
    return (
        f"{_serving(fleet)}: new requests get 503 at once, running ones are "
        "capped after their limit.\nNothing is hibernated. It stays closed until somebody opens it."
    )


def open_title(fleet: Fleet) -> str:
    """The act, and whether it lets anybody serve."""
    others = fleet.verdict.reasons_besides(Reason.MANUAL)
    rest = f"it stays closed, {', '.join(others)}" if others else "requests are served again"
    return f"Open the gate: {rest}"


def open_consequence(fleet: Fleet) -> str:
    """What opening allows, and what it does not."""
    others = fleet.verdict.reasons_besides(Reason.MANUAL)
    closed_by = fleet.verdict.facts.closed_by
    rest = f"It stays closed all the same: {', '.join(others)}." if others else "Agents get their leases at once."
    who = f"Closed by {closed_by}." if closed_by else "Nobody had closed it by hand when it was last read."
    return f"{who}\n{rest}"


def _spent(fleet: Fleet, scope: str, otherwise: str) -> str:
    money = fleet.verdict.money_of(scope)
    spent, limit = money.facts.debits_nusd, display(money.limit_nusd, money.currency)
    return f"{otherwise if isinstance(spent, Unknown) else display(spent, money.currency)} of {limit}"


def _in_flight(tier: TierView) -> str:
    flight = tier.in_flight
    if isinstance(flight, Unknown):
        return "requests in flight are not known"
    return f"{flight} request{'' if flight == 1 else 's'} in flight"


def _serving(fleet: Fleet) -> str:
    serving = sum(tier.is_serving for tier in fleet.tiers)
    return f"{serving} serving tier{'' if serving == 1 else 's'}"


def _rate(tier: TierView) -> str:
    rate = tier.rate_nusd_per_hour
    return "an unknown rate" if isinstance(rate, Unknown) else f"{display(rate, tier.currency)}/h"
