"""Readings in, samples and gaps out: one tick is one transaction.

A source that did not answer, or whose answer cannot be trusted, leaves a gap with its reason. What each
tick knew is recorded per provider and per tier, and nothing is ever filled in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel import Session, col, select

from store.counters import find_or_open, last_bill, last_usage, ledger_of
from store.database import Database
from store.leader import check_fence
from store.readings import Bill, LedgerTotals, ProviderReading, TickReadings, TierResources
from store.tables import BillCounter, BillSample, Gap, ProviderTick, Tick, TierTick, UsageSample


@dataclass(slots=True)
class _Problems:
    """What kept a tick from being complete, by provider and by tier."""

    provider: dict[str, str] = field(default_factory=dict)
    tier: dict[str, str] = field(default_factory=dict)


def record_tick(database: Database, readings: TickReadings, fence: int) -> bool:
    """Store one tick, all of it or nothing; answers whether it was complete for every provider.

    Raises:
        FenceLost: another collector leads; nothing was written.
        StoreUnreachable: nothing was written.
    """
    problems = _Problems()
    with database.write() as session:
        check_fence(database, session, fence)
        tick = Tick(at=readings.at, fence=fence, complete=False, duration_ms=readings.duration_ms)
        session.add(tick)
        session.flush()
        for provider, reading in readings.providers.items():
            _record_provider(session, readings.at, provider, reading, problems)
        _record_agents(session, readings, problems)
        _record_tiers(session, readings, problems)
        tick.complete = bool(readings.providers) and not problems.provider
        return tick.complete


def _record_provider(
    session: Session, at: datetime, provider: str, reading: ProviderReading, problems: _Problems
) -> None:
    problem = reading.problem
    before = _last_complete(session, provider)
    for bill in reading.bills:
        counter = find_or_open(session, provider, bill, at, before)
        _record_bill(session, counter, bill, at)
    if problem is None:
        problem = _unread(session, provider, reading.bills)
    if problem is not None:
        problems.provider[provider] = problem
        session.add(Gap(source=f"provider:{provider}", at=at, problem=problem))
    session.add(
        ProviderTick(
            provider=provider, at=at, complete=problem is None, problem=problem, latency_ms=reading.latency_ms
        )
    )


def _record_bill(session: Session, counter: BillCounter, bill: Bill, at: datetime) -> None:
    assert counter.id is not None
    last = last_bill(session, counter.id)
    if last is None:
        debits = max(bill.total_nusd, 0)
    else:
        debits = last.debits_nusd + max(bill.total_nusd - last.total_nusd, 0)
    if bill.final and last is not None and last.total_nusd == bill.total_nusd:
        counter.final_at = at  # said to be gone, and at rest: it will not be asked for again
    session.add(
        BillSample(
            counter_id=counter.id,
            at=at,
            total_nusd=bill.total_nusd,
            debits_nusd=debits,
            raw=bill.raw,
            as_of_at=bill.as_of,
            rate_nusd_per_hour=bill.rate_nusd_per_hour,
        )
    )


def _unread(session: Session, provider: str, bills: Sequence[Bill]) -> str | None:
    """Known counters that this answer leaves out make it incomplete, whatever the answer says of itself."""
    read = {bill.counter for bill in bills}
    missing = [counter for counter in live_counters(session, provider) if counter not in read]
    return f"no reading of {', '.join(sorted(missing))}" if missing else None


def live_counters(session: Session, provider: str) -> Sequence[str]:
    """The identities of a provider's counters that may still move."""
    query = select(BillCounter.counter).where(BillCounter.provider == provider, col(BillCounter.final_at).is_(None))
    return session.exec(query).all()


def _record_agents(session: Session, readings: TickReadings, problems: _Problems) -> None:
    owners: dict[str, str] = {}
    for agent, reading in readings.agents.items():
        problem = reading.problem
        if reading.totals is not None and problem is None:
            other = owners.setdefault(reading.totals.uuid, agent)
            if other != agent:
                problem = f"agents {other} and {agent} have one ledger; one of them is a cloned disk"
            else:
                problem = _record_usage(session, agent, reading.tier, reading.totals, readings.at)
        if problem is None:
            continue
        session.add(Gap(source=f"agent:{agent}", at=readings.at, problem=problem))
        if not reading.asleep:
            problems.tier.setdefault(reading.tier, f"agent {agent}: {problem}")


def _record_usage(session: Session, agent: str, tier: str, totals: LedgerTotals, at: datetime) -> str | None:
    ledger = ledger_of(session, totals.uuid, totals.created_at, tier, agent, at)
    assert ledger.id is not None
    last = last_usage(session, ledger.id)
    sample = UsageSample(
        ledger_id=ledger.id,
        at=at,
        prompt_tokens=totals.prompt_tokens,
        cached_tokens=totals.cached_tokens,
        completion_tokens=totals.completion_tokens,
        delivered_tokens=totals.delivered_tokens,
        requests=totals.requests,
        busy_ms=totals.busy_ms,
        reserved_prompt_tokens=totals.reserved_prompt_tokens,
        reserved_completion_tokens=totals.reserved_completion_tokens,
    )
    fallen = [name for name in _TOTALS if last is not None and getattr(sample, name) < getattr(last, name)]
    if fallen:
        return f"ledger {totals.uuid} fell in {', '.join(fallen)}; a snapshot was restored"
    session.add(sample)
    return None


_TOTALS = ("prompt_tokens", "cached_tokens", "completion_tokens", "delivered_tokens", "requests", "busy_ms")


def _record_tiers(session: Session, readings: TickReadings, problems: _Problems) -> None:
    for tier, resources in readings.tiers.items():
        problem = problems.provider.get(resources.provider) or problems.tier.get(tier)
        if problem is None:
            problem = _unbilled(session, tier, resources)
        last = session.exec(
            select(TierTick).where(TierTick.tier == tier).order_by(col(TierTick.at).desc()).limit(1)
        ).first()
        elapsed_ms = round((readings.at - last.at).total_seconds() * 1000) if last else 0
        running_ms = (last.running_ms if last else 0) + elapsed_ms * resources.running
        session.add(
            TierTick(tier=tier, at=readings.at, complete=problem is None, problem=problem, running_ms=running_ms)
        )


def _unbilled(session: Session, tier: str, resources: TierResources) -> str | None:
    known = set(session.exec(select(BillCounter.resource_id).where(BillCounter.tier == tier)).all())
    missing = sorted(resources.resource_ids - known)
    return f"no bill has ever named {', '.join(missing)}; check the ids in the settings" if missing else None


def _last_complete(session: Session, provider: str) -> datetime | None:
    query = (
        select(ProviderTick.at)
        .where(ProviderTick.provider == provider, col(ProviderTick.complete))
        .order_by(col(ProviderTick.at).desc())
        .limit(1)
    )
    return session.exec(query).first()
