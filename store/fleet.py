"""Reads the fleet: every tier with its state, its figures and its operation, in one view of the store."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, col, func, select

from store.anatomy import phases_in
from store.counters import currencies_of
from store.figures import Figures, Trend
from store.figures_read import figures_and_trends, steps_until
from store.fleet_rows import TierRows, read_rows
from store.fleet_view import Fleet, OperationView, ProviderHealth, SleepView, TierSpec, TierView
from store.gate import GatePolicy, Verdict
from store.keys import summed_keys
from store.machines import capacity_of, gpus_of
from store.money import USD
from store.operations import seen_in, why_not_in
from store.phases import OperationKind
from store.states import state_by_gate, tier_state
from store.tables import AgentRow, BillCounter, ProviderTick, ResourceRow, Tick, VerdictRow
from store.unknown import Unknown
from store.verdicts import last_verdict
from store.window import WINDOWS, day_start, named_window
from store.words import IGNORED, UNASSIGNED, Market, State

TREND_POINTS = 16
FIGURES_HOLD = timedelta(seconds=75)  # edges move with ticks; without any for so long, windows still grow old


def fleet_in(
    session: Session,
    specs: Sequence[TierSpec],
    policy: GatePolicy,
    verdict: Verdict,
    led_by: str | None,
    trend_step: timedelta,
    before: Fleet | None,
) -> Fleet:
    """The fleet at the instant of `verdict`, in the view of `session`.

    `before`, a fleet read earlier, saves reading figures again that no tick has changed since.
    """
    now = verdict.facts.now
    tiers = [*specs, *extra_tiers(session)]
    tick_at = session.exec(select(func.max(Tick.at))).one()
    known = {}
    if before is not None and before.tick_at == tick_at and _hold(before.figures_at, now, policy):
        known = {tier.spec.name: (tier.figures, tier.trend) for tier in before.tiers}
    fresh = [spec.name for spec in tiers if spec.name not in known]
    known = {**known, **figured(session, fresh, policy, now, trend_step)}
    rows, currencies = read_rows(session), currencies_of(session)
    none, fresh_since = TierRows(), now - policy.dark_after
    return Fleet(
        at=now,
        tick_at=tick_at,
        figures_at=before.figures_at if before is not None and not fresh else now,
        tiers=tuple(
            _tier(
                spec,
                rows.get(spec.name, none),
                currencies.get(spec.name, USD),
                verdict,
                fresh_since,
                *known[spec.name],
            )
            for spec in tiers
        ),
        verdict=verdict,
        closed_since=_closed_since(last_verdict(session)),
        health=tuple(health(session, name) for name in sorted({spec.provider for spec in specs})),
        led_by=led_by,
    )


def _hold(figures_at: datetime, now: datetime, policy: GatePolicy) -> bool:
    """Whether figures that no tick has changed since are still right: those of today are the day's."""
    is_same_day = day_start(figures_at, policy.zone) == day_start(now, policy.zone)
    return is_same_day and now - figures_at < FIGURES_HOLD


def extra_tiers(session: Session, until: datetime | None = None) -> Sequence[TierSpec]:
    """The tiers that no settings name: what no tier claims, and what the settings take out; `until`: as of then."""
    query = select(BillCounter.tier, BillCounter.provider).where(col(BillCounter.tier).in_([UNASSIGNED, IGNORED]))
    if until is not None:
        query = query.where(BillCounter.first_seen_at <= until)
    providers: dict[str, set[str]] = {}
    for tier, provider in session.exec(query.distinct()).all():
        providers.setdefault(tier, set()).add(provider)
    return [
        TierSpec(tier, ", ".join(sorted(providers[tier])), "", Market.ON_DEMAND)
        for tier in (UNASSIGNED, IGNORED)
        if tier in providers
    ]


def figured(
    session: Session,
    tiers: Sequence[str],
    policy: GatePolicy,
    now: datetime,
    trend_step: timedelta,
    *,
    is_past: bool = False,
) -> dict[str, tuple[Mapping[str, Figures], Trend]]:
    """By tier, its figures by window name, and its trend; `is_past`: as they were read when `now` was now."""
    windows = [named_window(name, now, policy.zone) for name in WINDOWS]
    steps = steps_until(now, trend_step, TREND_POINTS)
    found = figures_and_trends(session, tiers, windows, steps, now if is_past else None)
    return {tier: (dict(zip(WINDOWS, figures, strict=True)), trend) for tier, (figures, trend) in found.items()}


def _tier(
    spec: TierSpec,
    rows: TierRows,
    currency: str,
    verdict: Verdict,
    fresh_since: datetime,
    windows: Mapping[str, Figures],
    points: Trend,
) -> TierView:
    instances, agents = rows.instances, rows.agents
    gpus, no_gpu = gpus_of(agents)
    refusals = {kind: why_not_in(instances, kind) for kind in OperationKind}
    return TierView(
        spec=spec,
        state=state_by_gate(tier_state(instances, agents), verdict.reasons_for(spec.name)),
        seen=seen_in(instances),
        rate_nusd_per_hour=_rate(rows.resources),
        figures=windows,
        trend=points,
        in_flight=_in_flight(agents, fresh_since),
        engine=", ".join(sorted({agent.engine for agent in agents if agent.engine})),
        problem=_problem(instances, agents),
        operation=_operation(rows),
        sleep=_sleep(instances),
        refusals={kind: why for kind, why in refusals.items() if why is not None},
        keys=summed_keys(agent.keys for agent in agents),
        capacity=capacity_of(agents),
        gpu=gpus,
        no_gpu=no_gpu,
        currency=currency,
    )


def _problem(rows: Sequence[ResourceRow], agents: Sequence[AgentRow]) -> str | None:
    """What is wrong with the tier's agents; nothing is, while its instances sleep."""
    if rows and all(row.state == State.ASLEEP for row in rows):
        return None
    return next((f"agent {agent.agent}: {agent.problem}" for agent in agents if agent.problem), None)


def _rate(rows: Sequence[ResourceRow]) -> int | Unknown:
    """What the provider quotes for a tier per hour, all its resources together; shown, never used."""
    rates = [row.rate_nusd_per_hour for row in rows]
    known = [rate for rate in rates if rate is not None]
    if not rates or len(known) < len(rates):
        return Unknown("the provider quotes no rate")
    return sum(known)


def _in_flight(agents: Sequence[AgentRow], fresh_since: datetime) -> int | Unknown:
    answering = [agent for agent in agents if agent.problem is None and agent.seen_at is not None]
    fresh = [agent.in_flight for agent in answering if agent.seen_at and agent.seen_at >= fresh_since]
    if fresh:
        return sum(fresh)
    return Unknown("its agents have not been asked for a while" if answering else "no agent answers")


def _operation(rows: TierRows) -> OperationView | None:
    row = rows.operation
    if row is None:
        return None
    reached = phases_in(rows.phases, OperationKind(row.kind))
    return OperationView(row.kind, row.phase, row.detail, row.requested_at, reached)


def _sleep(rows: Sequence[ResourceRow]) -> SleepView | None:
    if not rows:
        return None
    loses = sorted({item for row in rows for item in row.sleep_loses.split(", ") if item})
    return SleepView(bills=", ".join(sorted({row.sleep_bills for row in rows})), loses=tuple(loses))


def health(session: Session, provider: str, until: datetime | None = None) -> ProviderHealth:
    """How a provider's billing answers, or answered at the instant `until`."""
    query = select(ProviderTick).where(ProviderTick.provider == provider)
    if until is not None:
        query = query.where(ProviderTick.at <= until)
    query = query.order_by(col(ProviderTick.at).desc()).limit(1)
    newest = session.exec(query).first()
    complete = session.exec(query.where(col(ProviderTick.complete))).first()
    return ProviderHealth(
        provider=provider,
        last_complete_at=complete.at if complete else None,
        problem=newest.problem if newest else "never asked",
        latency_ms=newest.latency_ms if newest else None,
    )


def _closed_since(kept: VerdictRow | None) -> datetime | None:
    return kept.at if kept is not None and not kept.is_open else None
