"""Asking every source at once, each within its deadline: what they said, as the store keeps it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog

from console.errors import AgentUnreachable
from console.hosts.agent_client import AgentClient, AgentStatus, AgentUsage
from console.providers.protocol import Action, Batch, BillReading, Provider, Resource
from console.settings import Settings, TierSection
from store.printable import named
from store.readings import AgentReading, Bill, ProviderReading, TierResources
from store.tables import ResourceRow
from store.words import IGNORED, UNASSIGNED, ResourceKind, State

Answer = TypeVar("Answer")
Item = TypeVar("Item")
log = structlog.get_logger()
_LONGEST_PROBLEM = 2_000  # of everything that was wrong with one answer


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """One provider's bills and inventory."""

    bills: Batch[BillReading]
    inventory: Batch[Resource]
    latency_ms: int


class TierMap:
    """Which tier a resource belongs to, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self.tiers = settings.tiers
        self._owner: dict[tuple[str, ResourceKind, str], str] = {}
        for provider, section in settings.providers.items():
            for one in section.ignore:
                self._owner[provider, ResourceKind(one.kind), one.id] = IGNORED
        for tier in settings.tiers:
            for id_ in tier.instances:
                self._owner[tier.provider, ResourceKind.INSTANCE, id_] = tier.name
            for id_ in tier.volumes:
                self._owner[tier.provider, ResourceKind.VOLUME, id_] = tier.name

    def owner(self, provider: str, kind: ResourceKind, resource_id: str) -> str:
        """The tier that names the resource, `ignored`, or `unassigned`: the whole account is watched."""
        return self._owner.get((provider, kind, resource_id), UNASSIGNED)


async def ask_provider(
    provider: Provider, known: Collection[str], within_s: float, clock_s: Callable[[], float]
) -> ProviderAnswer:
    """Bills and inventory of one provider; whatever is late is a problem, not an exception."""
    start_s = clock_s()
    bills, inventory = await asyncio.gather(
        _batch_within(provider.bills(known), within_s, f"{provider.name}: bills"),
        _batch_within(provider.inventory(), within_s, f"{provider.name}: inventory"),
    )
    return ProviderAnswer(
        bills=bills,
        inventory=inventory,
        latency_ms=round((clock_s() - start_s) * 1000),
    )


async def ask_inventory(provider: Provider, within_s: float) -> Batch[Resource]:
    """One provider's inventory alone."""
    return await _batch_within(provider.inventory(), within_s, f"{provider.name}: inventory")


async def ask_agent(client: AgentClient, within_s: float) -> AgentUsage | str:
    """One agent's usage, or why there is none."""
    return await _within(client.usage(), within_s, client.agent)


async def ask_status(client: AgentClient, within_s: float) -> AgentStatus | str:
    """What one agent is and runs, or why that is not known."""
    return await _within(client.status(), within_s, client.agent)


async def _batch_within(question: Awaitable[Batch[Item]], within_s: float, what: str) -> Batch[Item]:
    found = await _within(question, within_s, what)
    return Batch((), (f"{what}: {found}",)) if isinstance(found, str) else found


async def _within(question: Awaitable[Answer], within_s: float, what: str) -> Answer | str:
    """An answer, or why there is none. Whatever one source meets ends nobody else's tick."""
    try:
        async with asyncio.timeout(within_s):
            return await question
    except AgentUnreachable as error:
        return error.problem
    except TimeoutError:
        return f"no answer within {within_s:g} s"
    except Exception as error:
        log.exception("a source failed", source=what)
        return f"it failed ({type(error).__name__}); the log has more"


def provider_reading(tiers: TierMap, provider: str, answer: ProviderAnswer) -> ProviderReading:
    """A provider's answer as the store takes it."""
    bills = tuple(_bill(tiers, provider, reading) for reading in answer.bills.items)
    problem = named("; ".join(answer.bills.problems), _LONGEST_PROBLEM) or None
    return ProviderReading(bills, problem, answer.latency_ms, frozenset(answer.bills.vanished))


def _bill(tiers: TierMap, provider: str, reading: BillReading) -> Bill:
    return Bill(
        counter=reading.counter,
        kind=reading.ref.kind,
        resource_id=reading.ref.id,
        name=named(reading.name),
        tier=tiers.owner(provider, reading.ref.kind, reading.ref.id),
        currency=reading.currency,
        raw=reading.raw,
        total_nusd=reading.total_nusd,
        as_of=reading.as_of,
        started_at=reading.started_at,
        rate_nusd_per_hour=reading.rate_nusd_per_hour,
        final=reading.final,
        excluded=reading.excluded,
        ends_at=reading.ends_at,
        step=reading.step,
    )


def agent_reading(
    tier: TierSection, instance: str, answer: AgentUsage | str, inventory: Batch[Resource]
) -> AgentReading:
    """An agent's answer as the store takes it, with whether its instance is known to sleep."""
    asleep = any(
        resource.ref.kind is ResourceKind.INSTANCE
        and resource.ref.id == instance
        and resource.state is State.ASLEEP
        for resource in inventory.items
    )
    if isinstance(answer, str):
        return AgentReading(tier.name, None, f"{answer}{' (its instance is asleep)' * asleep}", asleep)
    return AgentReading(tier.name, answer.totals, None, asleep, answer.machine.capacity_per_ks)


def tier_resources(tier: TierSection, inventory: Batch[Resource]) -> TierResources:
    """What a tier consists of, and how many of its instances run, where the inventory tells of each."""
    states = {
        resource.ref.id: resource.state
        for resource in inventory.items
        if resource.ref.kind is ResourceKind.INSTANCE and resource.ref.id in tier.instances
    }
    is_told = inventory.complete or len(states) == len(set(tier.instances))  # else one that is not listed may run
    running = sum(state is State.RUNNING for state in states.values())
    ids = frozenset((*tier.instances, *tier.volumes))
    return TierResources(tier.provider, ids, running if is_told else None)


def rates_of(bills: Batch[BillReading]) -> Mapping[tuple[ResourceKind, str], int | None]:
    """The rate that each resource's bills quote, together: of several buckets the newest alone quotes one."""
    rates: dict[tuple[ResourceKind, str], int | None] = {}
    for bill in bills.items:
        key, rate = (bill.ref.kind, bill.ref.id), bill.rate_nusd_per_hour
        rates[key] = rate if rates.get(key) is None else (rates[key] or 0) + (rate or 0)
    return rates


def resource_rows(
    tiers: TierMap,
    provider: str,
    inventory: Batch[Resource],
    at: datetime,
    rates: Mapping[tuple[ResourceKind, str], int | None] | None = None,
) -> tuple[ResourceRow, ...]:
    """The inventory as the store keeps it, each resource with its rate where the bills were read too."""
    quoted = rates or {}
    return tuple(
        ResourceRow(
            provider=provider,
            kind=resource.ref.kind,
            resource_id=resource.ref.id,
            tier=tiers.owner(provider, resource.ref.kind, resource.ref.id),
            name=named(resource.name),
            state=resource.state,
            raw_state=named(resource.raw_state),
            address=resource.address,
            rate_nusd_per_hour=quoted.get((resource.ref.kind, resource.ref.id)),
            can_sleep=Action.SLEEP in resource.can,
            can_wake=Action.WAKE in resource.can,
            sleep_bills=resource.sleep.billed if resource.sleep else "unknown",
            sleep_loses=", ".join(resource.sleep.loses) if resource.sleep else "",
            seen_at=at,
            may_sleep=resource.may_sleep,
            attached_to=resource.attached_to,
        )
        for resource in inventory.items
    )
