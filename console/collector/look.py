"""Looking at an operation: everything that its procedure decides by, from the store, the gate and the agents."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlmodel import Session, select

from console.collector.sight import AgentSight, Call, Limits, Sight, Target
from console.collector.sources import ask_agent, ask_status
from console.collector.tick import Collector, in_store
from console.settings import AgentSection, TierSection
from store.gate import Reason, Verdict
from store.operations import calls_of, instances, states_in
from store.phases import OperationKind, Phase
from store.rest import is_at_rest, rest_needed
from store.stops import must_sleep, why_no_wake
from store.tables import AgentRow, OperationCall, OperationRow, ResourceRow
from store.words import State

DOUBTED = "still billing"
"""How the detail of a hibernate begins whose tier the provider calls asleep, and whose bill goes on rising."""

_ASKS_FOR_USAGE = (Phase.DRAINING, Phase.RUNNING, Phase.REACHABLE)


@dataclass(slots=True)
class Looks:
    """Looks, for one collector. `probed`: by operation, the agents that have generated their first token."""

    collector: Collector
    probed: dict[int, set[str]] = field(default_factory=dict)

    async def look(self, fence: int, row: OperationRow, tier: TierSection) -> Sight:
        """What is known of an operation of `tier` now."""
        sight = await in_store(self._stored, row)
        agents = await self._agents(row, tier, sight)
        if row.kind == OperationKind.WAKE:
            sight = await self._gated(fence, row, sight)
        by_ssh = any(agent.name in self.collector.account.hosts for agent in tier.agents)
        return replace(sight, agents=agents, by_ssh=by_ssh, now=self.collector.clock.now())

    def _stored(self, row: OperationRow) -> Sight:
        assert row.id is not None
        with self.collector.database.read() as session:
            calls = tuple(_call(one) for one in calls_of(session, row.id))
            targets = _targets(instances(session, row.tier), row)
            agents = session.exec(select(AgentRow).where(AgentRow.tier == row.tier)).all()
            sight = Sight(
                now=self.collector.clock.now(),
                kind=row.kind,
                phase=row.phase,
                phase_at=row.phase_at,
                requested_at=row.requested_at,
                targets=targets,
                calls=calls,
                agents={agent.agent: AgentSight(is_leased=agent.lease_open) for agent in agents},
                limits=self._limits(),
                readings=row.readings,
                is_doubted=row.detail.startswith(DOUBTED),
                is_clock_doubted=self.collector.trust.doubted_for() is not None,
            )
            return self._rested(session, row, sight)

    def _rested(self, session: Session, row: OperationRow, sight: Sight) -> Sight:
        if row.phase != Phase.ASLEEP:
            return sight
        every = self.collector.settings.collector.every
        at_rest = is_at_rest(session, row.tier, row.phase_at, every)
        return replace(sight, is_at_rest=at_rest, rest=rest_needed(session, row.tier, every))

    def _limits(self) -> Limits:
        limits = self.collector.settings.collector
        return Limits(
            drain=limits.drain_within,
            sleep=limits.sleep_within,
            wake=limits.wake_within,
            not_applied=limits.not_applied_after,
            pause=limits.every / 6,
        )

    async def _agents(self, row: OperationRow, tier: TierSection, sight: Sight) -> Mapping[str, AgentSight]:
        absent = {target.id for target in sight.targets if target.state in _absent_states(row)}
        present = [agent for agent in tier.agents if agent.instance not in absent]
        seen = await asyncio.gather(
            *(self._agent(row, agent, sight.agents.get(agent.name, AgentSight())) for agent in present)
        )
        return {agent.name: one for agent, one in zip(present, seen, strict=True)}

    async def _agent(self, row: OperationRow, agent: AgentSection, known: AgentSight) -> AgentSight:
        """What the phase needs to know of an agent."""
        assert row.id is not None
        within_s = self.collector.settings.collector.usage_within.total_seconds()
        client, host = self.collector.account.agents[agent.name], self.collector.account.hosts.get(agent.name)
        if row.phase == Phase.RUNNING and host is not None:
            host.expect()
            problem = await host.reach()
            return replace(known, is_reachable=problem is None, problem=problem)
        if row.phase in _ASKS_FOR_USAGE:
            usage = await ask_agent(client, within_s)
            if isinstance(usage, str):
                return replace(known, problem=usage)
            return replace(known, in_flight=usage.in_flight)
        if row.phase == Phase.ANSWERING:
            status = await ask_status(client, within_s)
            return replace(known, is_loaded=not isinstance(status, str) and status.is_loaded)
        return replace(known, is_probed=agent.name in self.probed.get(row.id, ()))

    async def _gated(self, fence: int, row: OperationRow, sight: Sight) -> Sight:
        """What the gate says of a wake: asked anew at first, what it may cost too; then by its last verdict."""
        policy, verdict = self.collector.policy, self.collector.verdict
        if row.phase == Phase.REQUESTED or verdict is None:
            verdict = await self.collector.decide(fence)
        if row.phase == Phase.REQUESTED:
            return replace(sight, closed=await in_store(self._why_no_wake, verdict, row.tier))
        reasons = verdict.reasons_for(row.tier)
        return replace(
            sight,
            closed=must_sleep(policy, verdict, [row.tier]).get(row.tier),
            shut=verdict.sentence_for(row.tier) if reasons else None,
            is_only_reserved=reasons == (Reason.RESERVED,),
        )

    def _why_no_wake(self, verdict: Verdict, tier: str) -> str | None:
        with self.collector.database.read() as session:
            return why_no_wake(session, self.collector.policy, verdict, tier)


def _absent_states(row: OperationRow) -> tuple[State, ...]:
    """In which states an instance has no agent that matters: what is to be woken is expected to have one."""
    return (State.GONE,) if row.kind == OperationKind.WAKE else (State.GONE, State.ASLEEP)


def _targets(rows: Sequence[ResourceRow], row: OperationRow) -> tuple[Target, ...]:
    seen = states_in(row.seen)
    return tuple(
        Target(
            id=one.resource_id,
            state=one.state,
            raw_state=one.raw_state,
            seen=seen.get(one.resource_id, ""),
            is_able=one.can_sleep if row.kind == OperationKind.HIBERNATE else one.can_wake,
            read_at=one.seen_at,
        )
        for one in rows
    )


def _call(row: OperationCall) -> Call:
    return Call(
        n=row.n,
        resource_id=row.resource_id,
        seen=row.seen,
        sent_at=row.sent_at,
        answer=row.answer,
        detail=row.detail,
        moved_at=row.moved_at,
        ended=row.ended,
        ended_at=row.ended_at,
    )
