"""Metrics of money and tokens: running totals per tier, whose differences are mtok's own figures.

All totals of one scrape stand at the tick that `mtok_figures_timestamp_seconds` names, and change at ticks alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlmodel import Session, col, select

from store.machines import capacity_of
from store.tables import AgentRow
from store.totals import Totals, totals_of
from store.unknown import Unknown

_TOKENS = {
    "prompt_tokens": "Tokens of prompts, cached ones among them.",
    "cached_tokens": "Tokens of prompts that were known already.",
    "completion_tokens": "Tokens generated.",
    "delivered_tokens": "Tokens sent to clients.",
    "reserved_completion_tokens": "Tokens generated for probes and benchmarks; completion_tokens has them too.",
}
_FIGURES = ("spend", "tokens", "capacity")


def money(session: Session, tiers: Sequence[str], now: datetime) -> Iterator[Metric]:
    """Spend, debits and usage of each tier up to its last complete tick."""
    totals = totals_of(session, tiers, now)
    known = {tier: one for tier, one in totals.items() if not isinstance(one, Unknown)}
    at = GaugeMetricFamily(
        "mtok_figures_timestamp_seconds",
        "The complete tick at which the tier's totals stand.",
        labels=["tier"],
        unit="seconds",
    )
    for tier, one in known.items():
        at.add_metric([tier], one.at.timestamp())
    yield at
    yield from _amounts(known)
    yield from _usage(known)
    capacity = {tier: capacity_of(_agents(session, tier)) for tier in tiers}
    most = GaugeMetricFamily(
        "mtok_capacity_tokens_per_second",
        "Completion tokens a second that the tier's agents can make at most, as benchmarks have measured it.",
        labels=["tier"],
    )
    for tier, view in capacity.items():
        if not isinstance(view, Unknown):
            most.add_metric([tier], float(view.tokens_per_s))
    yield most
    unknown = GaugeMetricFamily(
        "mtok_figure_unknown", "1 where a figure of the tier is not known now.", labels=["tier", "figure"]
    )
    for tier in tiers:
        has_spend = tier in known and bool(_or_none(known[tier].spend))
        for figure, is_known in zip(
            _FIGURES, (has_spend, tier in known, not isinstance(capacity[tier], Unknown)), strict=True
        ):
            unknown.add_metric([tier, figure], float(not is_known))
    yield unknown


def _amounts(known: Mapping[str, Totals]) -> Iterator[Metric]:
    labels = ["tier", "currency"]
    spend = GaugeMetricFamily(
        "mtok_spend_nanodollars",
        "Billed since our first look, credits and corrections included: it may fall, so never use increase().",
        labels=labels,
        unit="nanodollars",
    )
    debits = CounterMetricFamily(
        "mtok_debits_nanodollars",
        "The rises of the bill since our first look, added up; no credit lowers them.",
        labels=labels,
        unit="nanodollars",
    )
    for tier, one in known.items():
        for currency, nusd in (_or_none(one.spend) or {}).items():
            spend.add_metric([tier, currency], nusd)
        for currency, nusd in (_or_none(one.debits) or {}).items():
            debits.add_metric([tier, currency], nusd)
    yield spend
    yield debits


def _usage(known: Mapping[str, Totals]) -> Iterator[Metric]:
    for name, what in _TOKENS.items():
        family = CounterMetricFamily(f"mtok_{name}", what, labels=["tier"], unit="tokens")
        for tier, one in known.items():
            family.add_metric([tier], getattr(one.usage, name))
        yield family
    requests = CounterMetricFamily("mtok_requests", "Requests that reached an engine.", labels=["tier"])
    busy = CounterMetricFamily(
        "mtok_busy_seconds",
        "Time with at least one active sequence, of every agent.",
        labels=["tier"],
        unit="seconds",
    )
    running = CounterMetricFamily(
        "mtok_running_seconds", "Time that the tier's instances ran, added up.", labels=["tier"], unit="seconds"
    )
    for tier, one in known.items():
        requests.add_metric([tier], one.usage.requests)
        busy.add_metric([tier], one.usage.busy_ms / 1000)
        running.add_metric([tier], one.usage.running_ms / 1000)
    yield from (requests, busy, running)


def _agents(session: Session, tier: str) -> Sequence[AgentRow]:
    return session.exec(select(AgentRow).where(AgentRow.tier == tier).order_by(col(AgentRow.agent))).all()


def _or_none(amounts: Mapping[str, int] | Unknown) -> Mapping[str, int] | None:
    return None if isinstance(amounts, Unknown) else amounts
