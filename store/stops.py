"""What follows from the gate for operations: which tiers must sleep now, and which may not be woken."""

from collections.abc import Collection
from datetime import timedelta

from sqlmodel import Session, col, func, select

from store.counters import currency_of
from store.gate import GatePolicy, Reason, Verdict
from store.headroom import billed_nusd
from store.money import USD, display
from store.operations import OperationKind, instances, under_way
from store.tables import BillCounter, BillSample
from store.unknown import Unknown
from store.words import ResourceKind, State

_RATES_OVER = timedelta(days=7)


def must_sleep(policy: GatePolicy, verdict: Verdict, tiers: Collection[str]) -> dict[str, str]:
    """The tiers that have to be hibernated at once, each with why: a closed gate stops the bill too.

    Spent budgets do, and a dark time that has lasted; above every other rule.
    """
    if not policy.hibernates:
        return {}
    if Reason.EXHAUSTED in verdict.reasons:
        return dict.fromkeys(tiers, verdict.sentence)
    spent = {tier for tier, scope in verdict.tiers.items() if Reason.EXHAUSTED in scope.reasons}
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
    cost_nusd = wake_cost_nusd(session, policy, verdict, tier)
    currency = currency_of(session, tier)
    account = verdict.fleet if currency == USD else verdict.currencies.get(currency)
    if account is None:
        return f"it bills in {currency}, and [budget.daily] has no limit in it"
    coming = [other for other in _coming_up(session, tier) if currency_of(session, other) == currency]
    others_nusd = sum(wake_cost_nusd(session, policy, verdict, other) for other in coming)
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


def wake_cost_nusd(session: Session, policy: GatePolicy, verdict: Verdict, tier: str) -> int:
    """At most what a wake costs until it could be undone: at the highest rate that its instances quoted lately."""
    highest = (
        select(func.max(BillSample.rate_nusd_per_hour))
        .join(BillCounter, col(BillCounter.id) == BillSample.counter_id)
        .where(
            BillCounter.tier == tier,
            BillCounter.kind == ResourceKind.INSTANCE,
            col(BillCounter.final_at).is_(None),
            BillSample.at >= verdict.facts.now - _RATES_OVER,
        )
        .group_by(col(BillCounter.id))
    )
    rates = session.exec(highest).all()
    return sum(billed_nusd(rate or 0, policy.wake + policy.horizon.whole) for rate in rates)
