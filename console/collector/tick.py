"""The tick: ask, store, decide, lease. One minute of the fleet's history, whole or not at all."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import ParamSpec, TypeVar

import structlog

from console.collector.addresses import follow_addresses, recall_addresses
from console.collector.clock_jumps import ClockJumps, ClockTrust
from console.collector.leases import Leases
from console.collector.sources import (
    ProviderAnswer,
    TierMap,
    agent_reading,
    ask_agent,
    ask_inventory,
    ask_provider,
    ask_status,
    provider_reading,
    rates_of,
    resource_rows,
    tier_resources,
)
from console.errors import ClockApart
from console.hosts.agent_client import AgentClient, AgentStatus, AgentUsage
from console.hosts.host import SshHost
from console.providers.protocol import Batch, Provider, Resource
from console.settings import Settings
from store.clock import Clock
from store.counters import watched_counters
from store.database import Database
from store.gate import Verdict
from store.inventory import (
    follow_names,
    forget_agents,
    forget_resources,
    keep_agent,
    keep_resources,
    mark_lease,
    mark_unreachable,
)
from store.keys import dumped_keys
from store.leader import check_fence, raise_fence
from store.machines import dumped_gpus
from store.operations import under_way
from store.phases import OperationKind
from store.readings import AgentReading, TickReadings
from store.retention import thin
from store.samples import record_tick
from store.states import keep_states
from store.tables import AgentRow
from store.verdicts import record_verdict, verdict_now

log = structlog.get_logger()
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that a collector talks to. `hosts`: of the agents that are reached by SSH, by agent."""

    providers: Mapping[str, Provider]
    agents: Mapping[str, AgentClient]
    hosts: Mapping[str, SshHost] = field(default_factory=dict)

    async def close(self) -> None:
        """Give every connection back."""
        await asyncio.gather(
            *(provider.close() for provider in self.providers.values()),
            *(agent.close() for agent in self.agents.values()),
        )
        await asyncio.gather(*(host.close() for host in self.hosts.values()))


class Collector:
    """Runs ticks against a store, as the leader with a given fence."""

    def __init__(self, database: Database, settings: Settings, account: Account, clock: Clock) -> None:
        self.database, self.settings, self.account, self.clock = database, settings, account, clock
        self.policy = settings.gate_policy
        self.tiers = TierMap(settings)
        self._placed = {agent.name: (tier, agent) for tier in settings.tiers for agent in tier.agents}
        tier_of = {name: tier.name for name, (tier, _) in self._placed.items()}
        self.leases = Leases(self.policy, account.agents, tier_of)
        self._statuses: dict[str, AgentStatus] = {}
        self.trust = ClockTrust(clock)
        self._alone = asyncio.Lock()
        self.ticked_s: float | None = None  # when the last tick that was stored began, by the monotonic clock
        self.verdict: Verdict | None = None

    async def tick(self, fence: int) -> bool:
        """Run one tick; answers whether it was complete for money.

        Raises:
            FenceLost: another collector leads; nothing was written.
            ClockApart: no provider has vouched for our clock, or it jumped meanwhile; nothing was written.
            StoreUnreachable: nothing was written.
        """
        async with self._alone:
            return await self._tick(fence)

    async def read_since(self, fence: int, wanted_s: float) -> None:
        """A tick that began at `wanted_s` or later, by the monotonic clock: one serves all who wait for one.

        Raises:
            MtokError: as `tick` does.
        """
        async with self._alone:
            if self.ticked_s is None or self.ticked_s < wanted_s:
                await self._tick(fence)

    async def _tick(self, fence: int) -> bool:
        jumps = ClockJumps(self.clock)
        jumps.look()
        at, start_s = self.clock.now(), self.clock.monotonic_s()
        bills, usage = await self._ask()
        jump_s, doubt = jumps.look(), self._doubt(bills)
        if jump_s:  # whoever vouches for the clock now says nothing of `at`
            raise ClockApart(at, f"jumped by {jump_s:+.0f} s while the providers were asked")
        if doubt is not None:
            raise ClockApart(at, doubt)
        elapsed_ms = round((self.clock.monotonic_s() - start_s) * 1000)
        readings = self._readings(at, elapsed_ms, bills, usage)
        complete = await in_store(record_tick, self.database, readings, fence)
        await in_store(self._keep_inventory, at, bills, usage, readings.agents, fence)
        for agent, answer in usage.items():
            self.leases.learn(agent, None if isinstance(answer, str) else answer.nonce)
        await self.decide(fence, push_always=True)
        log.info("tick", at=at.isoformat(), complete=complete, took_ms=elapsed_ms)
        self.ticked_s = start_s
        return complete

    async def decide(
        self, fence: int, *, push_always: bool = False, push_to: Collection[str] | None = None
    ) -> Verdict:
        """Let the gate decide by what the store holds now.

        Leases are pushed to every agent where the verdict has changed or `push_always`, else to those of `push_to`.
        """
        self.trust.look()
        verdict, changed, draining = await in_store(self._verdict, fence)
        self.verdict = verdict
        if changed:
            log.info("gate", open=verdict.is_open, reasons=list(verdict.reasons), why=verdict.sentence)
        if changed or push_always or push_to:
            within_s = self.settings.collector.lease_within.total_seconds()
            agents = None if changed or push_always else push_to
            confirmed = await self.leases.push(verdict, fence, draining, within_s, agents)
            await in_store(self._keep_leases, confirmed, fence)
            if self.leases.highest_fence > fence:
                await in_store(raise_fence, self.database, fence, self.leases.highest_fence, self.clock.now())
        return verdict

    async def thin(self, _fence: int) -> None:
        """Thin the history, as the settings say; what another leader thins meanwhile is the same."""
        done = await in_store(thin, self.database, self.settings.retention_policy, self.clock.now())
        log.info("thinned", rows_before=done.before, rows_after=done.after, size_bytes=done.size_bytes)

    async def refresh_inventory(self, fence: int, providers: Collection[str]) -> None:
        """Read these providers' inventories between ticks, for operations that wait for a state."""
        within_s = self.settings.collector.bills_within.total_seconds()
        at = self.clock.now()
        asked = [self.account.providers[name] for name in providers]
        found = await asyncio.gather(*(ask_inventory(provider, within_s) for provider in asked))
        inventories = dict(zip(providers, found, strict=True))
        follow_addresses(self.settings, self.account.hosts, inventories)
        await in_store(self._keep_resources, at, inventories, fence)

    async def give_leases(self, fence: int, agents: Collection[str]) -> None:
        """Ask these agents for a nonce, decide, and push: for a tier that has just woken, or is to drain."""
        within_s = self.settings.collector.usage_within.total_seconds()
        answers = await asyncio.gather(*(ask_agent(self.account.agents[agent], within_s) for agent in agents))
        for agent, answer in zip(agents, answers, strict=True):
            self.leases.learn(agent, None if isinstance(answer, str) else answer.nonce)
        await self.decide(fence, push_to=agents)

    def _doubt(self, bills: Mapping[str, ProviderAnswer]) -> str | None:
        if not any(answer.bills.has_clock for answer in bills.values()):
            return None  # files alone: there is no other clock to compare ours with
        agreed = any(answer.bills.provider_now is not None for answer in bills.values())
        apart = [answer.bills.clock_apart for answer in bills.values()]
        return self.trust.doubt(agreed, [one for one in apart if one is not None])

    async def _ask(self) -> tuple[dict[str, ProviderAnswer], dict[str, AgentUsage | str]]:
        limits = self.settings.collector
        known = await in_store(self._known_counters)
        bills = asyncio.gather(
            *(
                ask_provider(provider, known[name], limits.bills_within.total_seconds(), self.clock.monotonic_s)
                for name, provider in self.account.providers.items()
            )
        )
        usage = asyncio.gather(
            *(ask_agent(agent, limits.usage_within.total_seconds()) for agent in self.account.agents.values())
        )
        answers, usages = await bills, await usage
        await self._learn_statuses(dict(zip(self.account.agents, usages, strict=True)))
        return (
            dict(zip(self.account.providers, answers, strict=True)),
            dict(zip(self.account.agents, usages, strict=True)),
        )

    async def _learn_statuses(self, usage: Mapping[str, AgentUsage | str]) -> None:
        """Ask each agent once per life, concurrently, what it is and runs."""
        for agent in [agent for agent, answer in usage.items() if isinstance(answer, str)]:
            self._statuses.pop(agent, None)
        asked = [agent for agent, answer in usage.items() if not isinstance(answer, str) and self._is_new(agent)]
        within_s = self.settings.collector.usage_within.total_seconds()
        found = await asyncio.gather(*(ask_status(self.account.agents[agent], within_s) for agent in asked))
        for agent, status in zip(asked, found, strict=True):
            if isinstance(status, str):
                log.warning("engine not known", agent=agent, problem=status)
            else:
                self._statuses[agent] = status

    def _is_new(self, agent: str) -> bool:
        known = self._statuses.get(agent)
        return known is None or not known.is_loaded

    def _known_counters(self) -> dict[str, list[str]]:
        with self.database.read() as session:
            recall_addresses(session, self.settings, self.account.hosts)
            return {name: list(watched_counters(session, name)) for name in self.account.providers}

    def _readings(
        self,
        at: datetime,
        elapsed_ms: int,
        bills: Mapping[str, ProviderAnswer],
        usage: Mapping[str, AgentUsage | str],
    ) -> TickReadings:
        agents = {
            name: agent_reading(tier, agent.instance, usage[name], bills[tier.provider].inventory)
            for name, (tier, agent) in self._placed.items()
        }
        return TickReadings(
            at=at,
            duration_ms=elapsed_ms,
            providers={name: provider_reading(self.tiers, name, answer) for name, answer in bills.items()},
            agents=agents,
            tiers={tier.name: tier_resources(tier, bills[tier.provider].inventory) for tier in self.tiers.tiers},
        )

    def _keep_inventory(
        self,
        at: datetime,
        bills: Mapping[str, ProviderAnswer],
        usage: Mapping[str, AgentUsage | str],
        readings: Mapping[str, AgentReading],
        fence: int,
    ) -> None:
        follow_addresses(self.settings, self.account.hosts, {name: bills[name].inventory for name in bills})
        with self.database.write() as session:
            check_fence(self.database, session, fence)
            for name, answer in bills.items():
                rows = resource_rows(self.tiers, name, answer.inventory, at, rates_of(answer.bills))
                keep_resources(session, name, rows, at, complete=answer.inventory.complete)
            forget_resources(session, bills)
            follow_names(session, self.tiers.owner)
            forget_agents(session, self.account.agents)
            for agent, said in usage.items():
                reading = readings[agent]
                if isinstance(said, str):
                    mark_unreachable(session, agent, reading.tier, reading.problem or said)
                else:
                    keep_agent(session, self._agent_row(session.get(AgentRow, agent), agent, reading, said, at))
            keep_states(session, at)

    def _keep_resources(self, at: datetime, found: Mapping[str, Batch[Resource]], fence: int) -> None:
        with self.database.write() as session:
            check_fence(self.database, session, fence)
            for name, inventory in found.items():
                rows = resource_rows(self.tiers, name, inventory, at)
                keep_resources(session, name, rows, at, complete=inventory.complete, with_rates=False)

    def _agent_row(
        self, known: AgentRow | None, agent: str, reading: AgentReading, said: AgentUsage, at: datetime
    ) -> AgentRow:
        status = self._statuses.get(agent)
        return AgentRow(
            agent=agent,
            tier=reading.tier,
            seen_at=at,
            problem=reading.problem,
            in_flight=said.in_flight,
            last_token_at=said.last_token_at,
            engine=status.engine if status else "",
            lease_open=known.lease_open if known else False,
            model=status.model if status else known.model if known else "",
            quantisation=status.quantisation if status else known.quantisation if known else "",
            version=status.version if status else known.version if known else "",
            keys=dumped_keys(said.labels),
            capacity_per_ks=said.machine.capacity_per_ks,
            capacity_measured_at=said.machine.capacity_measured_at,
            capacity_about=said.machine.capacity_about,
            gpu=dumped_gpus(said.machine.gpus),
        )

    def _verdict(self, fence: int) -> tuple[Verdict, bool, frozenset[str]]:
        with self.database.write() as session:
            check_fence(self.database, session, fence)
            verdict = verdict_now(session, self.policy, self.clock.now())
            changed = record_verdict(session, verdict)
            draining = [row.tier for row in under_way(session) if row.kind == OperationKind.HIBERNATE]
            return verdict, changed, frozenset(draining)

    def _keep_leases(self, confirmed: Mapping[str, bool], fence: int) -> None:
        with self.database.write() as session:
            check_fence(self.database, session, fence)
            for is_open in (True, False):
                agents = [agent for agent, state in confirmed.items() if state is is_open]
                mark_lease(session, agents, is_open=is_open)


_STORE = ThreadPoolExecutor(8, "store")  # of its own: name resolution and alarms may fill the loop's


async def in_store(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a store call in a thread: the store blocks, the loop must not."""
    return await asyncio.get_running_loop().run_in_executor(_STORE, partial(call, *args, **kwargs))
