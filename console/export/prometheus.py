"""`/metrics` and `mtok export prometheus`: what the store holds now, as Prometheus and OpenMetrics read it.

docs/metrics.md lists every name. Labels are names of tiers, providers and agents, as the settings have them, and
words of closed lists. A figure that is not known has no sample, and never a zero.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from sqlmodel import Session

from console.export.files import write_export
from console.export.prometheus_fleet import agents, alarms, operations, states
from console.export.prometheus_gate import budget, gate
from console.export.prometheus_money import money
from console.export.prometheus_ticks import sight, ticks
from console.settings import Settings
from store.database import Database
from store.fleet import extra_tiers
from store.verdicts import overspend_terms, verdict_now

CLASSIC = "text/plain; version=0.0.4; charset=utf-8"
_READABLE = 0o644  # names and sums: the textfile collector runs under another account


def families(database: Database, settings: Settings, now: datetime) -> list[Metric]:
    """Everything, read in one consistent view of the store.

    Raises:
        StoreUnreachable: the store does not answer.
    """
    with database.read() as session:
        return list(_families(database, session, settings, now))


def prometheus_text(found: Sequence[Metric], *, openmetrics: bool) -> str:
    """`found` as OpenMetrics 1.0, or in the classic text format."""
    registry = CollectorRegistry()
    registry.register(_Found(found))
    return (generate_openmetrics if openmetrics else generate_latest)(registry).decode()


def content_type(*, openmetrics: bool) -> str:
    """What a server says of `prometheus_text`."""
    return OPENMETRICS if openmetrics else CLASSIC


def takes_openmetrics(accept: str) -> bool:
    """Whether a client that sends this `Accept` reads OpenMetrics."""
    return "application/openmetrics-text" in accept


def export_prometheus(
    database: Database, settings: Settings, now: datetime, path: Path | None, *, openmetrics: bool
) -> None:
    """Write everything to `path`, readable by all, or to stdout.

    Raises:
        ExportFailed: the file could not be written.
    """
    text = prometheus_text(families(database, settings, now), openmetrics=openmetrics)
    write_export(path, [text], mode=_READABLE)


def _families(database: Database, session: Session, settings: Settings, now: datetime) -> Iterator[Metric]:
    policy = settings.gate_policy
    tiers = [spec.name for spec in (*settings.tier_specs, *extra_tiers(session))]
    verdict = verdict_now(session, policy, now)
    yield InfoMetricFamily("mtok_build", "The mtok that says all this.", value={"version": version("mtok")})
    yield from ticks(database, session, settings, now)
    yield from sight(session, sorted(settings.providers), now)
    yield from money(session, tiers, now)
    yield from budget(policy, verdict, overspend_terms(session, policy, now))
    yield from gate(session, verdict, tiers)
    yield from states(session, verdict, tiers)
    yield from operations(session)
    yield from alarms(session)
    yield from agents(session)


class _Found(Collector):
    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Sequence[Metric]:
        """What was read."""
        return self._found
