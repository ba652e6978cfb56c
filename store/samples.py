"""Readings in, samples and gaps out: one tick is one transaction.

A source that did not answer, or whose answer cannot be trusted, leaves a gap with its reason. What each
tick knew is recorded per provider and per tier, and nothing is ever filled in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import insert
from sqlmodel import Session, col, func, select

from store.bill_samples import record_bills
from store.database import Database
from store.edges import TierEdge, newest_of
from store.errors import ClockBehind
from store.leader import check_fence
from store.readings import ProviderReading, TickReadings, TierResources
from store.retired import retire
from store.tables import BillCounter, Gap, ProviderTick, Tick, TierTick
from store.usage_samples import record_usage
from store.words import IGNORED, UNASSIGNED


@dataclass(slots=True)
class _Problems:
    """What kept a tick from being complete, by provider and by tier."""

    provider: dict[str, str] = field(default_factory=dict)
    tier: dict[str, str] = field(default_factory=dict)


def record_tick(database: Database, readings: TickReadings, fence: int) -> bool:
    """Store one tick, all of it or nothing; answers whether it was complete for every provider.

    A tick that is there already is left as it is: the first write wins.

    Raises:
        FenceLost: another collector leads; nothing was written.
        ClockBehind: a newer tick is there; nothing was written.
        StoreUnreachable: nothing was written.
    """
    problems = _Problems()
    with database.write() as session:
        check_fence(database, session, fence)
        newest_at = session.exec(select(func.max(Tick.at))).one()
        if newest_at is not None and readings.at <= newest_at:
            known = session.get(Tick, readings.at)
            if known is None:
                raise ClockBehind(readings.at, newest_at)
            return known.complete
        tick = Tick(at=readings.at, fence=fence, complete=False, duration_ms=readings.duration_ms)
        session.add(tick)
        session.flush()
        retire(session, readings.providers, readings.at)
        for provider, reading in readings.providers.items():
            _record_provider(session, readings, provider, reading, problems)
        _record_agents(session, readings, problems)
        _record_tiers(session, readings, problems)
        tick.complete = bool(readings.providers) and not problems.provider
        return tick.complete


def _record_provider(
    session: Session, readings: TickReadings, provider: str, reading: ProviderReading, problems: _Problems
) -> None:
    found = record_bills(session, provider, readings.providers, reading, readings.at)
    problem = "; ".join(found) or None
    if problem is not None:
        problems.provider[provider] = problem
        session.add(Gap(source=f"provider:{provider}", at=readings.at, problem=problem))
    session.add(
        ProviderTick(
            provider=provider,
            at=readings.at,
            complete=problem is None,
            problem=problem,
            latency_ms=reading.latency_ms,
        )
    )


def _record_agents(session: Session, readings: TickReadings, problems: _Problems) -> None:
    for agent, problem in record_usage(session, readings.agents, readings.at).items():
        session.add(Gap(source=f"agent:{agent}", at=readings.at, problem=problem))
        reading = readings.agents[agent]
        if not reading.asleep:
            problems.tier.setdefault(reading.tier, f"agent {agent}: {problem}")


def _record_tiers(session: Session, readings: TickReadings, problems: _Problems) -> None:
    billed = _billed(session, readings.tiers)
    everything = next(iter(problems.provider.values()), None)
    found: dict[str, tuple[str | None, int | None]] = {}
    for tier, resources in readings.tiers.items():
        problem = problems.provider.get(resources.provider) or problems.tier.get(tier)
        if problem is None:
            problem = _unbilled(billed[tier], resources)
        found[tier] = (problem, resources.running)
    found |= {tier: (everything, 0) for tier in (UNASSIGNED, IGNORED) if _is_billed(session, tier)}
    last = newest_of(session, list(found), readings.at)
    untold = [tier for tier, (_, running) in found.items() if running is None and tier in last]
    before = _before(session, {tier: last[tier] for tier in untold})
    rows = [
        {
            "tier": tier,
            "at": readings.at,
            "complete": problem is None,
            "problem": problem,
            "running_ms": _running_ms(last.get(tier), before.get(tier), readings.at, running),
        }
        for tier, (problem, running) in found.items()
    ]
    if rows:
        session.connection().execute(insert(TierTick), rows)


def _before(session: Session, last: Mapping[str, TierEdge]) -> dict[str, TierEdge]:
    """By tier, the tick before its last one."""
    found: dict[str, TierEdge] = {}
    for at in {edge.at for edge in last.values()}:
        alike = [tier for tier, edge in last.items() if edge.at == at]
        found |= newest_of(session, alike, at - timedelta.resolution)
    return found


def _running_ms(last: TierEdge | None, before: TierEdge | None, at: datetime, running: int | None) -> int:
    """How long a tier's instances have run by now, if `running` of them have since its last tick.

    Where that is not known, as many as had run at the last tick: since the one `before`.
    """
    if last is None:
        return 0
    if running is not None:
        return last.running_ms + round((at - last.at).total_seconds() * 1000) * running
    if before is None:
        return last.running_ms
    return last.running_ms + (last.running_ms - before.running_ms) * (at - last.at) // (last.at - before.at)


def _billed(session: Session, tiers: Mapping[str, TierResources]) -> Mapping[str, frozenset[str]]:
    """By tier, those of its resources that any bill has ever named: most of them by a bill that still goes on."""
    found: dict[str, set[str]] = {tier: set() for tier in tiers}
    named = select(BillCounter.tier, BillCounter.resource_id).distinct()
    for tier, resource in session.exec(named.where(col(BillCounter.final_at).is_(None))).all():
        found.setdefault(tier, set()).add(resource)
    for tier, resources in tiers.items():
        if others := resources.resource_ids - found[tier]:
            ended = named.where(BillCounter.tier == tier, col(BillCounter.resource_id).in_(others))
            found[tier] |= {resource for _, resource in session.exec(ended).all()}
    return {tier: frozenset(resources) for tier, resources in found.items()}


def _is_billed(session: Session, tier: str) -> bool:
    return session.exec(select(BillCounter.id).where(BillCounter.tier == tier).limit(1)).first() is not None


def _unbilled(known: frozenset[str], resources: TierResources) -> str | None:
    missing = sorted(resources.resource_ids - known)
    return f"no bill has ever named {', '.join(missing)}; check the ids in the settings" if missing else None
