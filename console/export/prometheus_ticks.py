"""Metrics of the collector: its ticks, who leads, and how each provider's billing answers."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from sqlmodel import Session, col, func, select

from console.settings import Settings
from store.database import Database
from store.leader import leader
from store.tables import Leadership, ProviderTick, Tick

_OVER = timedelta(hours=1)  # ticks are thinned: a total since the beginning would fall
_OUTCOMES = {True: "complete", False: "incomplete"}


def ticks(database: Database, session: Session, settings: Settings, now: datetime) -> Iterator[Metric]:
    """When the last tick was, how long it took, and who leads; with the settings that alerts compare them to."""
    yield _instant("mtok_read_timestamp_seconds", "When the store was read for this.", now)
    newest = session.exec(select(Tick).order_by(col(Tick.at).desc()).limit(1)).first()
    at = newest.at if newest else None
    yield _instant("mtok_tick_timestamp_seconds", "The newest tick, complete or not.", at)
    took = _gauge("mtok_tick_duration_seconds", "How long the newest tick took, to its commit.", unit="seconds")
    if newest is not None:
        took.add_metric([], newest.duration_ms / 1000)
    yield took
    counted = _gauge("mtok_ticks_last_hour", "Ticks of the last hour.", ["outcome"])
    query = select(Tick.complete, func.count()).where(Tick.at > now - _OVER).group_by(col(Tick.complete))
    found = dict(session.exec(query).all())
    for complete, outcome in _OUTCOMES.items():
        counted.add_metric([outcome], found.get(complete, 0))
    yield counted
    led = leader(database, session) is not None
    yield GaugeMetricFamily("mtok_leader", "1 while some collector leads.", value=float(led))
    fence = _gauge("mtok_leader_fence", "The leader's fence: it rises whenever another collector takes the lead.")
    row = session.get(Leadership, 1)
    if row is not None:
        fence.add_metric([], row.fence)
    yield fence
    policy = settings.gate_policy
    for name, what, length in (
        ("tick_interval", "How often the collector ticks, by its settings.", settings.collector.every),
        ("dark_after", "After how long without a complete tick the gate closes.", policy.dark_after),
        ("wake_warn_after", "After how long a wake is slow.", policy.wake_warn_after),
    ):
        seconds = length.total_seconds()
        yield GaugeMetricFamily(f"mtok_{name}_seconds", what, value=seconds, unit="seconds")


def sight(session: Session, providers: Sequence[str], now: datetime) -> Iterator[Metric]:
    """Each provider's last complete tick, its newest answer, and its ticks of the last hour."""
    complete_at = _gauge(
        "mtok_provider_complete_timestamp_seconds",
        "The last tick at which every bill of the provider was read.",
        ["provider"],
        unit="seconds",
    )
    latency = _gauge(
        "mtok_provider_latency_seconds", "How long its newest answer took.", ["provider"], unit="seconds"
    )
    up = _gauge("mtok_provider_up", "1 where the newest tick read every bill of the provider.", ["provider"])
    counted = _gauge(
        "mtok_provider_ticks_last_hour", "The provider's ticks of the last hour.", ["provider", "outcome"]
    )
    for provider in providers:
        of_it = select(ProviderTick).where(ProviderTick.provider == provider).order_by(col(ProviderTick.at).desc())
        newest = session.exec(of_it.limit(1)).first()
        complete = session.exec(of_it.where(col(ProviderTick.complete)).limit(1)).first()
        if complete is not None:
            complete_at.add_metric([provider], complete.at.timestamp())
        if newest is not None:
            latency.add_metric([provider], newest.latency_ms / 1000)
        up.add_metric([provider], float(newest is not None and newest.complete))
        last_hour = (ProviderTick.provider == provider, ProviderTick.at > now - _OVER)
        query = select(ProviderTick.complete, func.count()).where(*last_hour)
        found = dict(session.exec(query.group_by(col(ProviderTick.complete))).all())
        for is_complete, outcome in _OUTCOMES.items():
            counted.add_metric([provider, outcome], found.get(is_complete, 0))
    yield from (complete_at, latency, up, counted)


def _instant(name: str, what: str, at: datetime | None) -> GaugeMetricFamily:
    family = _gauge(name, what, unit="seconds")
    if at is not None:
        family.add_metric([], at.timestamp())
    return family


def _gauge(name: str, what: str, labels: Sequence[str] = (), unit: str = "") -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, labels=labels, unit=unit)
