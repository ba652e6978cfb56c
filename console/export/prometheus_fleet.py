"""Metrics of the fleet: what each tier does, its operations and their times, alarms, and agents."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from sqlmodel import Session, col, func, select

from store.gate import Verdict
from store.operations import instances, under_way
from store.phases import OperationKind, OperationOutcome
from store.states import state_by_gate, tier_state
from store.tables import AgentRow, AlarmRow, OperationRow
from store.words import SERVING, State

_STATES = (SERVING, *State)
_BUCKETS_S = (30, 60, 120, 180, 240, 300, 420, 480, 600, 900)  # warned at 480, failed at 600 by default


def states(session: Session, verdict: Verdict, tiers: Sequence[str]) -> Iterator[Metric]:
    """What each tier does, in the one word that every screen shows."""
    family = StateSetMetricFamily("mtok_tier_state", "What the tier does.", labels=["tier"])
    for tier in tiers:
        query = select(AgentRow).where(AgentRow.tier == tier)
        state = tier_state(instances(session, tier), session.exec(query).all())
        state = state_by_gate(state, verdict.reasons_for(tier))
        family.add_metric([tier], {str(name): name == state for name in _STATES})
    yield family


def operations(session: Session) -> Iterator[Metric]:
    """Hibernates and wakes: how they ended, what is under way, and how long wakes took."""
    ended = CounterMetricFamily("mtok_operations", "Operations that have ended.", labels=["kind", "outcome"])
    query = select(OperationRow.kind, OperationRow.outcome, func.count()).group_by(
        col(OperationRow.kind), col(OperationRow.outcome)
    )
    counts = {(kind, outcome): count for kind, outcome, count in session.exec(query).all()}
    for kind in OperationKind:
        for outcome in OperationOutcome:
            ended.add_metric([kind, outcome], counts.get((kind, outcome), 0))
    yield ended
    begun = GaugeMetricFamily(
        "mtok_operation_requested_timestamp_seconds",
        "When the operation that is under way was asked for.",
        labels=["tier", "kind"],
        unit="seconds",
    )
    for row in under_way(session):
        begun.add_metric([row.tier, row.kind], row.requested_at.timestamp())
    yield begun
    yield from _wakes(session)


def _wakes(session: Session) -> Iterator[Metric]:
    """Times of wakes that reached their first token."""
    took = HistogramMetricFamily(
        "mtok_wake_duration_seconds",
        "From asking for a wake to serving, of wakes that got there.",
        labels=["tier"],
        unit="seconds",
    )
    last = GaugeMetricFamily(
        "mtok_wake_last_duration_seconds", "What the last such wake took.", labels=["tier"], unit="seconds"
    )
    query = select(OperationRow.tier, OperationRow.requested_at, OperationRow.finished_at).where(
        OperationRow.kind == OperationKind.WAKE, OperationRow.outcome == OperationOutcome.DONE
    )
    durations: defaultdict[str, list[float]] = defaultdict(list)
    for tier, requested_at, finished_at in session.exec(query.order_by(col(OperationRow.id))).all():
        assert finished_at is not None
        durations[tier].append((finished_at - requested_at).total_seconds())
    for tier, found in durations.items():
        counts = Counter(bisect_left(_BUCKETS_S, seconds) for seconds in found)
        sums = accumulate(counts[place] for place in range(len(_BUCKETS_S) + 1))
        names = [*(f"{float(bound)}" for bound in _BUCKETS_S), "+Inf"]
        took.add_metric([tier], list(zip(names, sums, strict=True)), sum(found))
        last.add_metric([tier], found[-1])
    yield from (took, last)


def alarms(session: Session) -> Iterator[Metric]:
    """Alarms by kind, those that are not over, and those that no channel has taken."""
    raised = CounterMetricFamily("mtok_alarms", "Alarms raised.", labels=["kind"])
    lasting = GaugeMetricFamily("mtok_alarms_lasting", "Alarms whose cause is not over.", labels=["kind"])
    open_ = func.count().filter(col(AlarmRow.ended_at).is_(None))
    for kind, count, still in session.exec(
        select(AlarmRow.kind, func.count(), open_).group_by(col(AlarmRow.kind)).order_by(col(AlarmRow.kind))
    ).all():
        raised.add_metric([kind], count)
        lasting.add_metric([kind], still)
    yield from (raised, lasting)
    waiting = select(func.count()).select_from(AlarmRow)
    waiting = waiting.where(col(AlarmRow.told_at).is_(None), AlarmRow.tries > 0)
    yield GaugeMetricFamily(
        "mtok_alarms_undelivered",
        "Alarms that were sent and that some channel did not take.",
        value=session.exec(waiting).one(),
    )


def agents(session: Session) -> Iterator[Metric]:
    """Each agent as the collector sees it."""
    labels = ["tier", "agent"]
    up = GaugeMetricFamily("mtok_agent_up", "1 where the agent answered at the newest tick.", labels=labels)
    seen = GaugeMetricFamily(
        "mtok_agent_seen_timestamp_seconds", "When the agent last answered.", labels=labels, unit="seconds"
    )
    leased = GaugeMetricFamily("mtok_agent_leased", "1 where it has confirmed an open lease.", labels=labels)
    for row in session.exec(select(AgentRow).order_by(col(AgentRow.agent))).all():
        values = [row.tier, row.agent]
        up.add_metric(values, float(row.problem is None and row.seen_at is not None))
        leased.add_metric(values, float(row.lease_open))
        if row.seen_at is not None:
            seen.add_metric(values, row.seen_at.timestamp())
    yield from (up, seen, leased)
