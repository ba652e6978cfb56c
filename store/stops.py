"""What follows from the gate for operations: which tiers must sleep now, and which may not be woken."""

from collections.abc import Collection
from datetime import datetime

from sqlmodel import Session

from store.counters import currency_of
from store.gate import GatePolicy, Reason, Verdict
from store.headroom import billed_nusd
from store.money import USD, display
from store.operations import instances, under_way
from store.phases import OperationKind
from store.rest import RATES_OVER, highest_rate
from store.tables import ResourceRow
from store.unknown import Unknown
from store.words import State


def must_sleep(policy: GatePolicy, verdict: Verdict, tiers: Collection[str]) -> dict[str, str]:
    """The tiers that have to be hibernated at once, each with why: a closed gate stops the bill too.

    Spent budgets do, and a dark time that has lasted; above every other rule. What a bill that has fallen rose by
    since counts before it is decided what the fall was: it goes on billing meanwhile.
    """
    if not policy.hibernates:
        return {}
    is_seen = verdict.facts.seen_at is not None
    if is_seen and any(scope.is_spent for scope in (verdict.fleet, *verdict.currencies.values())):
        return dict.fromkeys(tiers, verdict.sentence)
    spent = {tier for tier, scope in verdict.tiers.items() if scope.is_spent}
    long_dark = {tier for tier in tiers if _is_long_dark(policy, verdict, tier)}
    return {tier: verdict.sentence_for(tier) for tier in tiers if tier in spent | long_dark}


def _is_long_dark(policy: GatePolicy, verdict: Verdict, tier: str) -> bool:
    last = verdict.sight_of(tier).last_complete_at
    is_dark = Reason.DARK in verdict.reasons_for(tier)
    return is_dark and last is not None and verdict.facts.now - last > policy.dark_hibernate_after


def why_no_wake(session: Session, policy: GatePolicy, verdict: Verdict, tier: str) -> str | None:
    """Why waking `tier` is refused now, or None: the gate is closed for it, or its cost would cross a limit."""
    if verdict.reasons_for(tier):
        return f"the gate is closed: {verdict.sentence_for(tier)}"
    cost_nusd = _known_cost(session, policy, verdict, tier)
    currency = currency_of(session, tier)
    account = verdict.fleet if currency == USD else verdict.currencies.get(currency)
    if account is None:
        return f"it bills in {currency}, and [budget.daily] has no limit in it"
    coming = [other for other in _coming_up(session, tier) if currency_of(session, other) == currency]
    others_nusd = sum(_known_cost(session, policy, verdict, other) for other in coming)
    own = verdict.tiers.get(tier)
    for scope in (account, *([own] if own else [])):
        bound = scope.facts.bound_nusd
        if scope is account and isinstance(bound, int):
            bound += others_nusd  # no bill speaks of them yet
        if isinstance(bound, Unknown):
            return f"today has no upper bound ({bound.reason})"
        if bound + cost_nusd >= scope.limit_nusd:
            return (
                f"it may cost {display(cost_nusd, currency)} before it could be stopped again, and up to "
                f"{display(bound, currency)} of {display(scope.limit_nusd, currency)} are spoken for; "
                "mtok gate reset"
            )
    return None


def _coming_up(session: Session, tier: str) -> list[str]:
    """The other tiers with a wake under way of which an instance does not run yet."""
    waking = {row.tier for row in under_way(session) if row.kind == OperationKind.WAKE and row.tier != tier}
    return [one for one in waking if any(row.state != State.RUNNING for row in instances(session, one))]


def wake_rate_nusd_per_hour(session: Session, verdict: Verdict, tier: str) -> int | Unknown:
    """The highest rate that each instance of a tier has quoted lately, all together: for a bound alone."""
    total_nusd = 0
    for row in instances(session, tier):
        if row.state == State.GONE:
            continue
        rate = highest_rate(session, row, _awake_until(row, verdict.facts.now) - RATES_OVER)
        if rate is None:
            return Unknown(f"instance {row.resource_id} has quoted no rate")
        total_nusd += rate
    return total_nusd


def wake_cost_nusd(policy: GatePolicy, rate_nusd_per_hour: int) -> int:
    """At most what a wake costs until it could be undone, at `wake_rate_nusd_per_hour`."""
    return billed_nusd(rate_nusd_per_hour, policy.wake + policy.horizon.whole)


def _known_cost(session: Session, policy: GatePolicy, verdict: Verdict, tier: str) -> int:
    """What is not known keeps nothing asleep: the preflight says so, and the gate closes once it runs unbounded."""
    rate = wake_rate_nusd_per_hour(session, verdict, tier)
    return 0 if isinstance(rate, Unknown) else wake_cost_nusd(policy, rate)


def _awake_until(row: ResourceRow, now: datetime) -> datetime:
    """A tier may sleep for weeks, of whose hours no bucket has heard the price of the GPU."""
    return min(row.state_since_at or now, now) if row.state == State.ASLEEP else now
