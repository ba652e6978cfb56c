"""What others answer: each provider with its key and its clock, each agent with its version. Only reads."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import version

from console.collector.addresses import follow_addresses
from console.collector.build import build_agent, build_provider
from console.collector.sources import ProviderAnswer, TierMap, ask_provider
from console.doctor.check import Check, failed, fine, refused, warned
from console.doctor.limits import unlimited
from console.errors import AgentUnreachable
from console.hosts.host import SshHost
from console.providers.protocol import Batch, Resource
from console.settings import AgentSection, Settings, TierSection
from store.clock import SystemClock
from store.errors import MtokError
from store.words import UNASSIGNED, ResourceKind, State

_APART = timedelta(seconds=5)  # NTP keeps a machine within one; beyond 30 s no tick is complete
_TOO_FAR = timedelta(seconds=30)


async def outside(settings: Settings) -> list[Check]:
    """Every provider at once, then every agent at once."""
    answers = dict(
        zip(
            settings.providers,
            await asyncio.gather(*(_ask(settings, name) for name in settings.providers)),
            strict=True,
        )
    )
    found: list[Check] = []
    inventories: dict[str, Batch[Resource]] = {}
    for name, answer in answers.items():
        if isinstance(answer, Check):
            found.append(answer)
            continue
        inventories[name] = answer.inventory
        found += _provider(settings, name, answer)
    placed = [(tier, agent) for tier in settings.tiers for agent in tier.agents]
    asked = (_agent(settings, tier, agent, inventories) for tier, agent in placed)
    return found + list(await asyncio.gather(*asked))


async def _ask(settings: Settings, name: str) -> ProviderAnswer | Check:
    try:
        provider = build_provider(settings, name, SystemClock())
    except MtokError as error:
        return refused(f"provider, {name}", error)
    try:
        return await ask_provider(provider, (), settings.collector.bills_within.total_seconds(), time.monotonic)
    finally:
        await provider.close()


def _provider(settings: Settings, name: str, answer: ProviderAnswer) -> list[Check]:
    what = f"provider, {name}"
    problems = (*answer.inventory.problems, *answer.bills.problems)
    found = [_clock(name, answer)] if answer.bills.has_clock else []
    found += unlimited(f"limits, {name}", settings, {one.currency for one in answer.bills.items})
    if problems:
        remedy = f"check its key and base_url in [providers.{name}]"
        return [failed(what, problems[0], remedy), *found]
    tiers, resources = TierMap(settings), answer.inventory.items
    strays = [one for one in resources if tiers.owner(name, one.ref.kind, one.ref.id) == UNASSIGNED]
    detail = f"{len(resources)} resources, {len(answer.bills.items)} bill counters, in {answer.latency_ms} ms"
    if lost := _lost(settings, name, answer):
        return [
            warned(what, f"{detail}; not listed: {', '.join(lost)}", "correct the tiers in the settings"),
            *found,
        ]
    if strays:
        shown = ", ".join(f"{one.ref.kind} {one.ref.id}" for one in strays[:3])
        detail = f"{detail}; {len(strays)} in no tier: {shown}{', …' if len(strays) > 3 else ''}"
        return [warned(what, detail, "name each in a tier, or in ignore with a reason"), *found]
    return [fine(what, detail), *found]


def _lost(settings: Settings, name: str, answer: ProviderAnswer) -> list[str]:
    """What tiers name and the account neither lists nor bills."""
    listed = {(one.ref.kind, one.ref.id) for one in answer.inventory.items}
    listed |= {(one.ref.kind, one.ref.id) for one in answer.bills.items if not one.final}
    return [
        f"{kind} {id_} of tier {tier.name}"
        for tier in settings.tiers
        if tier.provider == name
        for kind, ids in ((ResourceKind.INSTANCE, tier.instances), (ResourceKind.VOLUME, tier.volumes))
        for id_ in ids
        if (kind, id_) not in listed
    ]


def _clock(name: str, answer: ProviderAnswer) -> Check:
    what, there = f"clock, {name}", answer.inventory.provider_now or answer.bills.provider_now
    apart = answer.inventory.clock_apart or answer.bills.clock_apart
    if apart is None and there is not None:
        apart = SystemClock().now() - there
    if apart is None:
        return warned(what, "it did not say what time it is", "see what is said of the provider")
    detail = f"{abs(apart.total_seconds()):.0f} s away from here"
    if abs(apart) > _TOO_FAR:
        return failed(what, f"{detail}: no tick is complete", "set this machine's clock: timedatectl set-ntp true")
    if abs(apart) > _APART + timedelta(milliseconds=answer.latency_ms):
        return warned(what, detail, "set this machine's clock: timedatectl set-ntp true")
    return fine(what, detail)


async def _agent(
    settings: Settings, tier: TierSection, agent: AgentSection, inventories: Mapping[str, Batch[Resource]]
) -> Check:
    what = f"agent, {agent.name}"
    if asleep := _sleeps(agent.instance, inventories.get(tier.provider)):
        return fine(what, f"its instance is {asleep}")
    host = None
    if agent.ssh_user is not None:
        host = SshHost(agent.name, settings.ssh_target(agent))
        follow_addresses(settings, {agent.name: host}, inventories)
    try:
        async with build_agent(settings, tier, agent, host) as client:
            status = await client.status()
    except AgentUnreachable as error:
        return failed(what, error.problem, error.remedy)
    except MtokError as error:
        return refused(what, error)
    finally:
        if host is not None:
            await host.close()
    if status.version != version("mtok"):
        detail = f"it is mtok {status.version}, and {version('mtok')} is here"
        return warned(what, detail, f"mtok host install {agent.name}")
    return fine(what, f"mtok {status.version}, {status.engine}, {status.model or 'no model'}")


def _sleeps(instance: str, inventory: Batch[Resource] | None) -> str | None:
    """The instance's state in the provider's word, where it is one in which no agent answers."""
    for one in inventory.items if inventory else ():
        if one.ref.kind is ResourceKind.INSTANCE and one.ref.id == instance:
            return None if one.state in (State.RUNNING, State.UNKNOWN) else one.raw_state
    return None
