"""Carrying operations out: each call looks once at every operation and takes it one step further.

Everything that must survive this process is in the store before the provider is asked. A provider is asked
once per instance and attempt; a lost answer is resolved by reading the state, never by asking again.
"""

import structlog

from console.collector.sources import ask_agent
from console.collector.tick import Collector, in_store
from console.hosts.agent_client import AgentUsage
from console.providers.protocol import Accepted, Action, Ambiguous, Outcome, Ref, Refused
from console.settings import TierSection
from store.gate import Verdict
from store.journal import note
from store.leader import check_fence
from store.operations import (
    OperationKind,
    OperationOutcome,
    Phase,
    enter,
    finish,
    instances,
    under_way,
)
from store.stops import must_sleep, why_no_wake
from store.tables import OperationRow, ResourceRow
from store.words import ResourceKind, State

log = structlog.get_logger()


class Operations:
    """Drives every operation under way, as the leader with a given fence."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._database = collector.database
        self._limits = collector.settings.collector
        self._tiers = {tier.name: tier for tier in collector.settings.tiers}

    async def advance(self, fence: int) -> None:
        """Take each operation one step further, if its time has come.

        Raises:
            FenceLost: another collector leads; it goes on from where the store says.
        """
        rows = await in_store(self._under_way)
        if any(row.phase == Phase.PROVIDER for row in rows):
            await self._collector.refresh_inventory(fence)
        for row in rows:
            tier = self._tiers.get(row.tier)
            if tier is None:
                await self._finish(fence, row, OperationOutcome.FAILED, "the settings no longer name this tier")
            elif row.kind == OperationKind.HIBERNATE:
                await self._hibernate(fence, row, tier)
            else:
                await self._wake(fence, row, tier)

    async def _hibernate(self, fence: int, row: OperationRow, tier: TierSection) -> None:
        if row.phase == Phase.REQUESTED:
            await self._enter(fence, row, Phase.DRAINING)
            await self._collector.decide(fence, push_always=True)
        elif row.phase == Phase.DRAINING:
            is_late = self._waited_s(row) > self._limits.drain_within.total_seconds()
            if is_late or await self._is_drained(tier):
                await self._collector.tick(fence)  # the last usage reading, stored before the host goes
                await self._ask_provider(fence, row, tier, Action.SLEEP)
        elif row.phase == Phase.PROVIDER:
            await self._await_state(fence, row, State.ASLEEP, failure=State.RUNNING)

    async def _wake(self, fence: int, row: OperationRow, tier: TierSection) -> None:
        if row.phase == Phase.REQUESTED:
            verdict = await self._collector.decide(fence)
            why = await in_store(self._why_no_wake, verdict, row.tier)
            if why is not None:
                await self._finish(fence, row, OperationOutcome.REFUSED, why)
            else:
                await self._ask_provider(fence, row, tier, Action.WAKE)
        elif (overruled := self._overruled(row.tier)) is not None:
            await self._finish(fence, row, OperationOutcome.FAILED, f"the gate has closed: {overruled}")
        elif row.phase == Phase.PROVIDER:
            await self._await_state(fence, row, State.RUNNING, failure=State.ASLEEP)
        elif self._waited_s(row) > self._limits.wake_within.total_seconds():
            await self._finish(fence, row, OperationOutcome.FAILED, "wake_timeout: its agents do not answer")
        elif await self._answers(tier):
            await self._collector.tick(fence)  # reads the agents and gives them their leases
            await self._enter(fence, row, Phase.LEASED)
            await self._finish(fence, row, OperationOutcome.DONE, "")

    async def _ask_provider(self, fence: int, row: OperationRow, tier: TierSection, action: Action) -> None:
        """Journal, then ask once per instance that can; what was refused everywhere ends the operation."""
        targets = await in_store(self._targets, row.tier, action)
        await self._enter(fence, row, Phase.PROVIDER)
        outcomes: list[Outcome] = []
        for target in targets:
            await in_store(self._journal_call, fence, row, target, f"{action} sent", target.raw_state)
            provider = self._collector.account.providers[tier.provider]
            ref = Ref(ResourceKind.INSTANCE, target.resource_id)
            outcome = await provider.act(ref, action, seen=target.raw_state)
            outcomes.append(outcome)
            what, detail = _told(outcome)
            await in_store(self._journal_call, fence, row, target, f"{action} {what}", detail)
            log.info("provider asked", tier=row.tier, action=action, instance=target.resource_id, outcome=what)
        if all(isinstance(outcome, Refused) for outcome in outcomes):
            reasons = "; ".join(outcome.reason for outcome in outcomes if isinstance(outcome, Refused))
            why = reasons or "no instance is in a state that allows it"
            await self._finish(fence, row, OperationOutcome.FAILED, why)

    async def _await_state(self, fence: int, row: OperationRow, wanted: State, failure: State) -> None:
        rows = await in_store(self._instances, row.tier)
        settled = [one for one in rows if one.state in (wanted, State.GONE)]
        if rows and len(settled) == len(rows):
            if wanted is State.ASLEEP:
                await self._finish(fence, row, OperationOutcome.DONE, "")
                await self._collector.decide(fence, push_always=True)
            else:
                await self._enter(fence, row, Phase.RUNNING)
        elif self._waited_s(row) > self._limits.wake_within.total_seconds():
            states = ", ".join(f"{one.resource_id} is {one.raw_state}" for one in rows)
            word = "not_applied" if any(one.state == failure for one in rows) else "timeout"
            await self._finish(fence, row, OperationOutcome.FAILED, f"{word}: {states}")

    async def _is_drained(self, tier: TierSection) -> bool:
        for agent in tier.agents:
            answer = await self._usage(agent.name)
            if isinstance(answer, str) or answer.in_flight:
                return False
        return True

    async def _answers(self, tier: TierSection) -> bool:
        return not any([isinstance(await self._usage(agent.name), str) for agent in tier.agents])

    async def _usage(self, agent: str) -> AgentUsage | str:
        client = self._collector.account.agents[agent]
        return await ask_agent(client, self._limits.usage_within.total_seconds())

    def _why_no_wake(self, verdict: Verdict, tier: str) -> str | None:
        with self._database.read() as session:
            return why_no_wake(session, self._collector.policy, verdict, tier)

    def _overruled(self, tier: str) -> str | None:
        """Why a tier that is being woken has to sleep instead: the gate goes above everyone."""
        verdict = self._collector.verdict
        return None if verdict is None else must_sleep(self._collector.policy, verdict, [tier]).get(tier)

    def _waited_s(self, row: OperationRow) -> float:
        return (self._collector.clock.now() - row.phase_at).total_seconds()

    def _under_way(self) -> list[OperationRow]:
        with self._database.read() as session:
            return list(under_way(session))

    def _instances(self, tier: str) -> list[ResourceRow]:
        with self._database.read() as session:
            return list(instances(session, tier))

    def _targets(self, tier: str, action: Action) -> list[ResourceRow]:
        rows = self._instances(tier)
        return [row for row in rows if (row.can_sleep if action is Action.SLEEP else row.can_wake)]

    def _journal_call(self, fence: int, row: OperationRow, target: ResourceRow, what: str, detail: str) -> None:
        with self._database.write() as session:
            check_fence(self._database, session, fence)
            note(
                session,
                self._collector.clock.now(),
                row.actor,
                what,
                f"{row.tier}/{target.resource_id}",
                detail,
            )
            if what.endswith("sent"):
                row.calls += 1
                session.merge(row)

    async def _enter(self, fence: int, row: OperationRow, phase: Phase) -> None:
        def write() -> None:
            with self._database.write() as session:
                check_fence(self._database, session, fence)
                enter(session, session.merge(row), phase, self._collector.clock.now())

        await in_store(write)
        row.phase, row.phase_at = phase, self._collector.clock.now()

    async def _finish(self, fence: int, row: OperationRow, outcome: OperationOutcome, detail: str) -> None:
        def write() -> None:
            with self._database.write() as session:
                check_fence(self._database, session, fence)
                finish(session, session.merge(row), outcome, self._collector.clock.now(), detail)

        await in_store(write)
        log.info("operation ended", tier=row.tier, kind=row.kind, outcome=outcome, detail=detail)


def _told(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Accepted):
        return "accepted", ""
    return ("ambiguous" if isinstance(outcome, Ambiguous) else "refused"), outcome.reason
