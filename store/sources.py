"""How each source answers: the providers' bills and the agents' ledgers, tick by tick."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, func, select

from store.counters import not_ended, samples_of
from store.pace import paces_at
from store.steps import is_moving, step_of
from store.tables import AgentRow, BillCounter, Gap, Ledger, ProviderTick, Tick, TierTick, UsageSample
from store.unknown import Unknown
from store.words import State

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_AGENT = "agent:"
_NOT_ASKED, _NEVER_ASKED = "not asked for a day", "never asked"
_NOT_TIMED = Unknown("agents are not timed")
_OF_BILLS = Unknown("agents do not bill")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Ticks in a row without a usable reading, for one reason. `until_at`: the next other tick; None: none yet."""

    start_at: datetime
    until_at: datetime | None
    ticks: int
    problem: str


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """One source. Latencies are of the last hour; `complete`, `incomplete` (ticks) and `gaps` of 24 hours.

    `step`: of the slowest bill that moves; `lag`: how far the provider's clock trails at most, of those. `asleep`:
    ticks at which an agent's tier slept; nobody expects an answer then, and they are in none of the others.
    """

    kind: str
    name: str
    tier: str
    last_complete_at: datetime | None
    problem: str | None
    latency_median_ms: int | Unknown
    latency_p95_ms: int | Unknown
    complete: int
    incomplete: int
    gaps: tuple[Stretch, ...]
    step: timedelta | Unknown
    lag: timedelta | Unknown
    asleep: int = 0


def sources(session: Session, providers: Sequence[str], at: datetime) -> tuple[SourceHealth, ...]:
    """Every provider of `providers`, then every agent that was heard of in the day before `at`."""
    return (*(_provider(session, name, at) for name in providers), *_agents(session, at))


def _provider(session: Session, name: str, at: datetime) -> SourceHealth:
    columns = (ProviderTick.at, ProviderTick.complete, col(ProviderTick.problem), ProviderTick.latency_ms)
    of_day = select(*columns).where(ProviderTick.provider == name, ProviderTick.at > at - _DAY)
    rows = session.exec(of_day.where(ProviderTick.at <= at).order_by(col(ProviderTick.at))).all()
    complete = select(ProviderTick.at).where(ProviderTick.provider == name, col(ProviderTick.complete))
    last = complete.where(ProviderTick.at <= at).order_by(col(ProviderTick.at).desc()).limit(1)
    ticks = [when for when, *_ in rows]
    problems = {when: problem or "incomplete" for when, complete, problem, _ in rows if not complete}
    times = sorted(latency_ms for when, _, _, latency_ms in rows if when > at - _HOUR)
    step, lag = _pace(session, name, at)
    return SourceHealth(
        kind="provider",
        name=name,
        tier="",
        last_complete_at=session.exec(last).first(),
        problem=problems.get(ticks[-1]) if ticks else _unasked(session, name, at),
        latency_median_ms=_ranked(times, 50),
        latency_p95_ms=_ranked(times, 95),
        complete=len(ticks) - len(problems),
        incomplete=len(problems),
        gaps=stretches(ticks, problems),
        step=step,
        lag=lag,
    )


def _unasked(session: Session, provider: str, at: datetime) -> str:
    """Of a provider without a tick in the day before `at`."""
    ever = select(ProviderTick.at).where(ProviderTick.provider == provider, ProviderTick.at <= at).limit(1)
    return _NEVER_ASKED if session.exec(ever).first() is None else _NOT_ASKED


def stretches(ticks: Sequence[datetime], problems: Mapping[datetime, str]) -> tuple[Stretch, ...]:
    """The gaps of `problems` among `ticks`, oldest first: one while in a row for one reason. Newest first."""
    found: list[Stretch] = []
    for at, problem in sorted(problems.items()):
        index = bisect_right(ticks, at)
        until = ticks[index] if index < len(ticks) else None
        before = found[-1] if found else None
        if before is not None and before.until_at == at and before.problem == problem:
            found[-1] = Stretch(before.start_at, until, before.ticks + 1, problem)
        else:
            found.append(Stretch(at, until, 1, problem))
    return tuple(reversed(found))


def _ranked(ordered: Sequence[int], percent: int) -> int | Unknown:
    """By nearest rank."""
    return ordered[-(-percent * len(ordered) // 100) - 1] if ordered else Unknown("no tick in the last hour")


def _pace(session: Session, provider: str, at: datetime) -> tuple[timedelta | Unknown, timedelta | Unknown]:
    known = samples_of(session, not_ended(at, col(BillCounter.provider) == provider), at)
    paces = paces_at(session, [counter for counter, _ in known], at)
    steps, lags = [], []
    for (_, sample), pace in zip(known, paces, strict=True):
        step = step_of(pace.steps)
        if sample is not None and step is not None and is_moving(step, pace.moved_at, at):
            steps.append(step)
            lags.append(max(sample.at - sample.as_of_at, timedelta(0)))
    still = Unknown("no bill has moved three times and moves still")
    return (max(steps), max(lags)) if steps else (still, still)


def _agents(session: Session, at: datetime) -> list[SourceHealth]:
    ticks = session.exec(select(Tick.at).where(Tick.at > at - _DAY, Tick.at <= at).order_by(col(Tick.at))).all()
    query = select(Gap).where(col(Gap.source).startswith(_AGENT), Gap.at > at - _DAY, Gap.at <= at)
    gaps: dict[str, dict[datetime, str]] = {}
    for gap in session.exec(query).all():
        gaps.setdefault(gap.source.removeprefix(_AGENT), {})[gap.at] = gap.problem
    heard = _heard(session, at)
    tiers = dict(session.exec(select(AgentRow.agent, AgentRow.tier)).all())
    names = sorted({*gaps, *(name for name, one in heard.items() if one.last_at > at - _DAY)})
    tiers |= {name: one.tier for name, one in heard.items()}
    asleep = _asleep(session, {tiers.get(name, "") for name in names}, at)
    return [
        _agent(name, tier, heard.get(name), ticks, gaps.get(name, {}), asleep.get(tier, frozenset()))
        for name, tier in ((name, tiers.get(name, "")) for name in names)
    ]


def _asleep(session: Session, tiers: Collection[str], at: datetime) -> dict[str, frozenset[datetime]]:
    """By tier, the ticks of the day before `at` at which it slept."""
    found: dict[str, set[datetime]] = {}
    slept = select(TierTick.tier, TierTick.at).where(TierTick.state == State.ASLEEP, TierTick.at > at - _DAY)
    for tier, when in session.exec(slept.where(TierTick.at <= at, col(TierTick.tier).in_(tiers))).all():
        found.setdefault(tier, set()).add(when)
    return {tier: frozenset(ticks) for tier, ticks in found.items()}


@dataclass(frozen=True, slots=True)
class _Heard:
    """Of one agent's ledgers together: when the first was seen, and the newest sample."""

    tier: str
    first_at: datetime
    last_at: datetime


def _heard(session: Session, at: datetime) -> Mapping[str, _Heard]:
    newest = (
        select(func.max(UsageSample.at))
        .where(UsageSample.ledger_id == Ledger.id, UsageSample.at <= at)
        .correlate(Ledger)
        .scalar_subquery()
    )
    found: dict[str, _Heard] = {}
    query = select(Ledger.agent, Ledger.tier, Ledger.first_seen_at, newest)
    for agent, tier, first_at, last_at in session.exec(query.where(Ledger.first_seen_at <= at)).all():
        before = found.get(agent)
        if before is None:
            found[agent] = _Heard(tier, first_at, last_at or first_at)
        else:
            found[agent] = _Heard(tier, min(first_at, before.first_at), max(last_at or first_at, before.last_at))
    return found


def _agent(
    name: str,
    tier: str,
    heard: _Heard | None,
    ticks: Sequence[datetime],
    silent: Mapping[datetime, str],
    asleep: Collection[datetime],
) -> SourceHealth:
    """`ticks`: of a day, oldest first; `silent`: those without its answer, and why; `asleep`: its tier's.

    Between the first and the last that was noted of it, it was asked at each tick.
    """
    first_at = min([*silent, *([heard.first_at] if heard else [])])
    last_at = max([*silent, *([heard.last_at] if heard else [])])
    known = ticks[bisect_left(ticks, first_at) : bisect_right(ticks, last_at)]
    asked = [when for when in known if when not in asleep]
    gaps = {when: problem for when, problem in silent.items() if when not in asleep}
    return SourceHealth(
        kind="agent",
        name=name,
        tier=tier,
        last_complete_at=heard.last_at if heard else None,
        problem=silent.get(known[-1]) if known else _NOT_ASKED,
        latency_median_ms=_NOT_TIMED,
        latency_p95_ms=_NOT_TIMED,
        complete=len(asked) - len(gaps),
        incomplete=len(gaps),
        gaps=stretches(known, gaps),
        step=_OF_BILLS,
        lag=_OF_BILLS,
        asleep=len(known) - len(asked),
    )
