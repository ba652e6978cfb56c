"""Why what somebody was asked about is no longer what it was: the answer to another question must not act."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from store.fleet_view import Fleet, TierView
from store.gate import Reason
from store.resets import day_limit, why_no_reset

if TYPE_CHECKING:
    from store.preflight import Check

WhyChanged = Callable[[Fleet], str | None]
"""By the fleet as it is read now: why the question is another one; None while it is the same."""


def never_changed(_: Fleet) -> str | None:
    """For what no reading of the fleet can change."""
    return None


def tier_changed(tier: TierView) -> WhyChanged:
    """A hibernate is about the tier's state, and about whether it serves: then its name has to be typed."""

    def why_changed(fleet: Fleet) -> str | None:
        name, now = tier.spec.name, fleet.tier(tier.spec.name)
        if now is None:
            return f"{name} is no longer there"
        if now.operation is not None and tier.operation is None:
            return f"a {now.operation.kind} of {name} has been asked for meanwhile"
        if (now.seen, now.is_serving) == (tier.seen, tier.is_serving):
            return None
        return f"{name} is {now.state} now, no longer {tier.state}"

    return why_changed


def wake_changed(tier: TierView, checks: Sequence["Check"]) -> WhyChanged:
    """A wake is about the tier's state, and about the gate as its preflight found it."""
    was_closed, of_tier = any(check.is_closed for check in checks), tier_changed(tier)

    def why_changed(fleet: Fleet) -> str | None:
        is_closed = bool(fleet.verdict.reasons_for(tier.spec.name))
        if is_closed != was_closed:
            return f"the gate has {'closed' if is_closed else 'opened'} meanwhile"
        return of_tier(fleet)

    return why_changed


def reset_changed(seen: Fleet, scope: str, zone: ZoneInfo) -> WhyChanged:
    """A reset is about the limit of one day, and about why the gate is closed; what is spent moves at each tick."""
    limit, reasons = day_limit(seen.verdict, scope, seen.at, zone), seen.verdict.reasons

    def why_changed(fleet: Fleet) -> str | None:
        verdict = fleet.verdict
        why = limit.why_other(day_limit(verdict, scope, fleet.at, zone)) or why_no_reset(verdict, scope)
        if why is None and verdict.reasons != reasons:
            why = f"the gate is closed as {', '.join(verdict.reasons)} now, no longer as {', '.join(reasons)}"
        return why

    return why_changed


def closing_changed(seen: Fleet) -> WhyChanged:
    """A closing by hand is about there being none yet, or about the one that is in force."""

    def why_changed(fleet: Fleet) -> str | None:
        closed_by = fleet.verdict.facts.closed_by
        if closed_by == seen.verdict.facts.closed_by:
            return None
        return "it has been opened meanwhile" if closed_by is None else f"it is closed by {closed_by} now"

    return why_changed


def opening_changed(seen: Fleet) -> WhyChanged:
    """An opening is about the closing by hand, and about what closes the gate all the same."""
    before, of_closing = seen.verdict.reasons_besides(Reason.MANUAL), closing_changed(seen)

    def why_changed(fleet: Fleet) -> str | None:
        others = fleet.verdict.reasons_besides(Reason.MANUAL)
        if others == before:
            return of_closing(fleet)
        return f"it would stay closed now, {', '.join(others)}" if others else "nothing else closes it now"

    return why_changed
