"""Metrics of the gate: today's money against its limits, and why the gate is closed."""

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric, StateSetMetricFamily
from sqlmodel import Session, col, func, select

from store.gate import GatePolicy, Reason, ScopeVerdict, Verdict
from store.headroom import Term
from store.money import USD
from store.tables import BillCounter
from store.unknown import Unknown
from store.verdicts import last_verdict, overspend


def budget(policy: GatePolicy, verdict: Verdict, promise: Sequence[Term]) -> Iterator[Metric]:
    """Each limit with what is spent and what may still be billed today; what is not known has no sample."""
    limits = {USD: verdict.fleet, **verdict.currencies}
    yield from _scopes("mtok_budget", ["currency"], [((name,), scope) for name, scope in limits.items()])
    of_tiers = [((tier, scope.currency), scope) for tier, scope in verdict.tiers.items()]
    yield from _scopes("mtok_tier_budget", ["tier", "currency"], of_tiers)
    bound = GaugeMetricFamily(
        "mtok_overspend_bound_nanodollars",
        "What may be billed beyond the limit, at most, if the gate closed at it now.",
        labels=["currency"],
        unit="nanodollars",
    )
    for currency, nusd in overspend(policy, verdict, promise).items():
        if not isinstance(nusd, Unknown):
            bound.add_metric([currency], nusd)
    yield bound


def gate(session: Session, verdict: Verdict, tiers: Sequence[str]) -> Iterator[Metric]:
    """The verdict on the whole account and on each tier, and what of the bills the gate cannot trust."""
    yield GaugeMetricFamily("mtok_gate_open", "1 while the gate is open.", value=float(verdict.is_open))
    reasons = StateSetMetricFamily("mtok_gate_reason", "Why the gate is closed, for the whole account.", labels=[])
    reasons.add_metric([], _set(verdict.reasons))
    yield reasons
    opened = GaugeMetricFamily("mtok_tier_gate_open", "1 while the tier may serve.", labels=["tier"])
    closed = StateSetMetricFamily("mtok_tier_gate_reason", "Why the tier may not serve.", labels=["tier"])
    for tier in tiers:
        why = verdict.reasons_for(tier)
        opened.add_metric([tier], float(not why))
        closed.add_metric([tier], _set(why))
    yield from (opened, closed)
    kept = last_verdict(session)
    since = GaugeMetricFamily(
        "mtok_gate_verdict_timestamp_seconds", "Since when the verdict has been what it is.", unit="seconds"
    )
    if kept is not None:
        since.add_metric([], kept.at.timestamp())
    yield since
    frozen = len(verdict.facts.frozen)
    yield GaugeMetricFamily("mtok_bills_frozen", "Bills that stand still while their instance runs.", value=frozen)
    query = select(func.count()).select_from(BillCounter).where(col(BillCounter.unsettled_at).is_not(None))
    unsettled = session.exec(query).one()
    yield GaugeMetricFamily(
        "mtok_bills_unsettled", "Bills that vanished, whose last amount nobody has said.", value=unsettled
    )


def _scopes(
    name: str, labels: Sequence[str], scopes: Sequence[tuple[tuple[str, ...], ScopeVerdict]]
) -> Iterator[Metric]:
    debits, headroom, limit = (
        GaugeMetricFamily(f"{name}_{part}_nanodollars", what, labels=labels, unit="nanodollars")
        for part, what in (
            ("debits", "Debited today."),
            ("headroom", "Not billed yet today, at most: an upper bound, for the gate alone."),
            ("limit", "Today's limit, with its allowances."),
        )
    )
    for values, scope in scopes:
        for family, nusd in (
            (debits, scope.facts.debits_nusd),
            (headroom, scope.facts.headroom_nusd),
            (limit, scope.limit_nusd),
        ):
            if not isinstance(nusd, Unknown):
                family.add_metric(values, nusd)
    yield from (debits, headroom, limit)


def _set(reasons: Sequence[Reason]) -> dict[str, bool]:
    return {str(reason): reason in reasons for reason in Reason}
