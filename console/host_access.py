"""From a name to a host: which agents it means, the connection to one, and what its agent writes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from console.collector.addresses import recall_addresses
from console.hosts.host import SshHost
from console.hosts.logs import agent_logs
from console.settings import AgentSection, Settings, TierSection
from store.database import open_database
from store.errors import SettingsError


@contextlib.asynccontextmanager
async def reached(settings: Settings, agent: AgentSection) -> AsyncIterator[SshHost]:
    """The host of an agent, at the address that the settings fix or the collector saw last."""
    if agent.ssh_user is None:
        raise SettingsError(
            f"agent {agent.name}", "is not reached by SSH", f"give it an ssh_user in {settings.path}"
        )
    host = SshHost(agent.name, settings.ssh_target(agent))
    if host.address is None:
        # a store that is being written makes whoever asks wait, and the screen draws on
        await asyncio.to_thread(_recall, settings, agent, host)
    try:
        yield host
    finally:
        await host.close()


def _recall(settings: Settings, agent: AgentSection, host: SshHost) -> None:
    database = open_database(settings.store_url)
    try:
        with database.read() as session:
            recall_addresses(session, settings, {agent.name: host})
    finally:
        database.close()


def chosen(settings: Settings, name: str | None) -> list[tuple[TierSection, AgentSection]]:
    """The agents that `name` names, by its own name or its tier's; without one, all that are reached by SSH."""
    placed = [(tier, agent) for tier in settings.tiers for agent in tier.agents]
    if name is None:
        return [(tier, agent) for tier, agent in placed if agent.ssh_user is not None]
    found = [(tier, agent) for tier, agent in placed if name in (agent.name, tier.name)]
    if not found:
        known = ", ".join(agent.name for _, agent in placed) or "none"
        raise SettingsError(
            f"host {name!r}", "no agent and no tier with agents has this name", f"choose one of: {known}"
        )
    return [one for one in found if one[1].name == name] or found


def only(settings: Settings, name: str) -> AgentSection:
    """The one agent that `name` means.

    Raises:
        SettingsError: none, or several.
    """
    found = chosen(settings, name)
    if len(found) > 1:
        names = ", ".join(agent.name for _, agent in found)
        raise SettingsError(f"tier {name!r}", "has several agents", f"choose one of: {names}")
    return found[0][1]


async def log_lines(settings: Settings, agent: AgentSection, last: int) -> AsyncIterator[str]:
    """The last lines of an agent's log and every new one, over a connection of their own.

    Raises:
        HostUnreachable: the host cannot be reached, or its journal not be read.
        SettingsError: the agent is not reached by SSH.
    """
    async with reached(settings, agent) as host:
        async for line in agent_logs(host, follow=True, last=last):
            yield line
