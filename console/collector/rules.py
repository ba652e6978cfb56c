"""Rules become operations: what follows from the gate and the fleet is asked for as an engineer would ask.

The gate goes above everything; then a wake that failed, a pre-emption, and last the idle rule.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlmodel import Session, col, or_, select

from console.collector.tick import Collector, in_store
from console.settings import TierSection
from store.gate import Reason, Verdict
from store.idle import is_idle
from store.leader import check_fence
from store.operations import OperationRefused, calls_of, current, instances, last_of, request, seen_state, why_not
from store.phases import WAKE_FAILED, WAKE_TIMEOUT, OperationKind, OperationOutcome
from store.states import is_up_since, state_at
from store.stops import must_sleep
from store.tables import OperationRow
from store.verdicts import was_open_since
from store.words import SERVING, State

log = structlog.get_logger()
GATE, REWAKE, FALLBACK, IDLE = "gate", "rewake", "fallback", "idle"
_RULES = (GATE, WAKE_TIMEOUT, REWAKE, FALLBACK, IDLE)
_DOES_NOT_RUN = (State.ASLEEP, State.GONE, State.ERROR, State.HALTED_BILLED)
_LONGEST_PAUSE = timedelta(minutes=15)
_FRESH_TICKS = 3


@dataclass(frozen=True, slots=True)
class Demand:
    """What a rule wants done with a tier, in its own name."""

    kind: OperationKind
    tier: str
    actor: str
    reason: str


class Rules:
    """Looks at the last verdict and the fleet, and asks for what follows, one operation at a time per tier."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._limits = collector.settings.collector
        self._tiers = {tier.name: tier for tier in collector.settings.tiers}
        self._seen_s: float | None = None
        self._dark_s: dict[str, float] = {}  # since when each dark tier has been, by the monotonic clock

    async def apply(self, fence: int) -> None:
        """Ask for everything that is due.

        Raises:
            FenceLost: another collector leads; it does this.
        """
        await in_store(self._apply, fence, self._collector.verdict)

    def _apply(self, fence: int, verdict: Verdict | None) -> None:
        database, now = self._collector.database, self._collector.clock.now()
        with database.read() as session:
            demands = list(self._demands(session, verdict, now))
        if not demands:
            return
        with database.write() as session:
            check_fence(database, session, fence)
            for demand in demands:
                self._ask(session, demand, now)

    def _demands(self, session: Session, verdict: Verdict | None, now: datetime) -> Iterator[Demand]:
        """What is due. Ledgers have news only after a tick; a tier that may not serve is not idle but closed."""
        looks_at_ledgers = self._collector.ticked_s != self._seen_s
        self._seen_s = self._collector.ticked_s
        due = self._due(verdict) if verdict is not None else {}
        for name, why in due.items():
            yield Demand(OperationKind.HIBERNATE, name, GATE, why)
        for tier in self._tiers.values():
            if tier.name in due:
                continue
            yield from self._after_a_failed_wake(session, tier)
            yield from self._after_a_preemption(session, tier)
            if looks_at_ledgers and verdict is not None and not verdict.reasons_for(tier.name):
                yield from self._when_idle(session, tier, now)

    def _due(self, verdict: Verdict) -> Mapping[str, str]:
        """What the gate demands. A wall clock that was set makes a dark time look too long, or short for ever."""
        policy, doubted = self._collector.policy, self._collector.trust.doubted_for()
        now_s = self._collector.clock.monotonic_s()
        dark = [tier for tier in self._tiers if Reason.DARK in verdict.reasons_for(tier)]
        self._dark_s = {tier: self._dark_s.get(tier, now_s) for tier in dark}
        if doubted is not None and doubted < policy.dark_hibernate_after and dark:
            return {}
        long_s = policy.dark_hibernate_after.total_seconds()
        long = [tier for tier, since_s in self._dark_s.items() if policy.hibernates and now_s - since_s > long_s]
        return {tier: verdict.sentence_for(tier) for tier in long} | must_sleep(policy, verdict, self._tiers)

    def _after_a_failed_wake(self, session: Session, tier: TierSection) -> Iterator[Demand]:
        """A stuck wake bills for ever: back to sleep, unless the settings leave it to people."""
        last = last_of(session, tier.name)
        if last is None or last.outcome != OperationOutcome.FAILED or self._limits.on_wake_timeout == "leave":
            return
        bills = last.kind == OperationKind.WAKE and last.detail.startswith((WAKE_TIMEOUT, WAKE_FAILED))
        if bills and _ran_before(session, last):
            return
        assert last.finished_at is not None
        came_late = last.finished_at + self._limits.wake_within
        if (bills or last.actor == WAKE_TIMEOUT) and is_up_since(session, tier.name, came_late):
            yield Demand(OperationKind.HIBERNATE, tier.name, WAKE_TIMEOUT, "its wake did not come to serve")

    def _after_a_preemption(self, session: Session, tier: TierSection) -> Iterator[Demand]:
        unasked = [row.unasked_at for row in instances(session, tier.name) if row.unasked_at is not None]
        if not unasked:
            return
        if tier.rewake:
            yield Demand(OperationKind.WAKE, tier.name, REWAKE, "it stopped and nobody had asked")
        if tier.fallback is not None and not _is_seen_to(session, tier.fallback, min(unasked)):
            yield Demand(OperationKind.WAKE, tier.fallback, FALLBACK, f"{tier.name} stopped and nobody had asked")

    def _when_idle(self, session: Session, tier: TierSection, now: datetime) -> Iterator[Demand]:
        if tier.idle_after is None or any(hours.holds(now) for hours in tier.keep_awake):
            return
        if not was_open_since(session, self._collector.policy, tier.name, now - tier.idle_after):
            return  # it could not be served for as long
        fresh = _FRESH_TICKS * self._limits.every
        agents = {agent.name: agent.instance for agent in tier.agents}
        if is_idle(session, tier.name, agents, now, tier.idle_after, tier.min_awake, fresh):
            minutes = f"{tier.idle_after.total_seconds() / 60:g} min"
            yield Demand(OperationKind.HIBERNATE, tier.name, IDLE, f"no token and nothing in flight for {minutes}")

    def _ask(self, session: Session, demand: Demand, now: datetime) -> None:
        tier = demand.tier
        if current(session, tier) is not None:
            return  # no rule ends what somebody has asked for
        if why_not(session, demand.kind, tier) is not None or now < self._not_before(session, demand, now):
            return
        seen = seen_state(session, tier)
        try:
            request(session, now, demand.kind, tier, actor=demand.actor, reason=demand.reason, seen=seen)
        except OperationRefused:  # one is under way that may not end for this
            return
        log.warning("demanded", kind=demand.kind, tier=tier, by=demand.actor, why=demand.reason)

    def _not_before(self, session: Session, demand: Demand, now: datetime) -> datetime:
        """A demand that failed is made again after a pause, which doubles with every failure in a row."""
        query = select(OperationRow).where(OperationRow.tier == demand.tier, OperationRow.actor == demand.actor)
        failures, last_at = 0, now
        for row in session.exec(query.order_by(col(OperationRow.id).desc()).limit(8)).all():
            if row.outcome == OperationOutcome.DONE or row.finished_at is None:
                break
            last_at = row.finished_at if failures == 0 else last_at
            failures += 1
        if not failures:
            return now
        pause: timedelta = self._limits.every * 2 ** (failures - 1)
        return last_at + min(pause, _LONGEST_PAUSE)


def _is_seen_to(session: Session, tier: str, since: datetime) -> bool:
    """Whether a fallback stays as it is: it ran when the other one stopped, was woken for it, or people saw to it.

    Only a wake that never began to bill, refused or without capacity, is worth another.
    """
    query = select(OperationRow).where(
        OperationRow.tier == tier,
        OperationRow.requested_at >= since,
        or_(OperationRow.actor == FALLBACK, col(OperationRow.actor).not_in(_RULES)),
    )
    return state_at(session, tier, since) in (SERVING, State.RUNNING) or any(
        row.outcome != OperationOutcome.REFUSED and not row.detail.startswith("no_capacity")
        for row in session.exec(query).all()
    )


def _ran_before(session: Session, wake: OperationRow) -> bool:
    """Whether something runs that a tier's wake did not bring up: it must not be put to sleep for that.

    What the wake had no time to ask for, and what has failed by itself, keeps nothing else awake.
    """
    assert wake.id is not None
    asked = {call.resource_id for call in calls_of(session, wake.id)}
    up = {row.resource_id for row in instances(session, wake.tier) if row.state not in _DOES_NOT_RUN}
    return not asked or bool(up - asked)
