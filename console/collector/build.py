"""From settings to a collector: the adapters, the agents' clients, and every secret that leading needs."""

from console.collector.alarms import Channels
from console.collector.tick import Account, Collector
from console.hosts.agent_client import AgentClient
from console.hosts.host import SshHost
from console.hosts.ssh_transport import SshTransport
from console.providers.protocol import Provider, Ref
from console.providers.registry import Opening
from console.settings import AgentSection, Settings, TierSection
from store.clock import Clock
from store.database import Database
from store.errors import SettingsError
from store.settings_file import read_text
from store.words import ResourceKind


def build_account(settings: Settings, clock: Clock) -> Account:
    """Everything that a collector talks to.

    Raises:
        SettingsError: a secret is missing; it says which.
    """
    providers: dict[str, Provider] = {}
    for name in settings.providers:
        providers[name] = build_provider(settings, name, clock)
    agents: dict[str, AgentClient] = {}
    hosts: dict[str, SshHost] = {}
    for tier in settings.tiers:
        for agent in tier.agents:
            if agent.ssh_user is not None:
                hosts[agent.name] = SshHost(agent.name, settings.ssh_target(agent))
            agents[agent.name] = build_agent(settings, tier, agent, hosts.get(agent.name))
    return Account(providers, agents, hosts)


def build_provider(settings: Settings, name: str, clock: Clock) -> Provider:
    """The adapter of one provider, as its kind opens it.

    Raises:
        SettingsError: its key is missing.
    """
    section = settings.providers[name]
    opening = Opening(
        name=name,
        key=provider_key(settings, name),
        base_url=section.address,
        options=section.options,
        clock=clock,
        folder=settings.path.parent,
        named=tuple(
            Ref(kind, id_)
            for tier in settings.tiers
            if tier.provider == name
            for kind, ids in ((ResourceKind.INSTANCE, tier.instances), (ResourceKind.VOLUME, tier.volumes))
            for id_ in ids
        ),
    )
    return section.registered.open(opening)


def provider_key(settings: Settings, name: str) -> str:
    """The API key of one provider; empty where its kind has none.

    Raises:
        SettingsError: it is missing.
    """
    section = settings.providers[name]
    if not section.registered.needs_key:
        return ""
    where = f"providers.{name}.api_key"
    return settings.secret(where, section.api_key_env, section.api_key_file, section.api_key_credential)


def control_secret(settings: Settings, tier: TierSection, agent: AgentSection) -> str:
    """What opens an agent's control API.

    Raises:
        SettingsError: it is missing.
    """
    where = f"tier {tier.name}, agent {agent.name}: control_secret"
    kept = (agent.control_secret_env, agent.control_secret_file, agent.control_secret_credential)
    return settings.secret(where, *kept)


def build_agent(settings: Settings, tier: TierSection, agent: AgentSection, host: SshHost | None) -> AgentClient:
    """The client of an agent's control API, through `host` where it has one.

    Raises:
        SettingsError: its control secret is missing.
    """
    secret = control_secret(settings, tier, agent)
    within_s = settings.collector.usage_within.total_seconds()
    if host is None:
        assert agent.control_url is not None
        return AgentClient(agent.name, agent.control_url, secret, within_s)
    transport = SshTransport(host, agent.control_port)
    return AgentClient(agent.name, f"http://127.0.0.1:{agent.control_port}", secret, within_s, transport)


def build_collector(database: Database, settings: Settings, clock: Clock) -> Collector:
    """A collector for these settings.

    Raises:
        SettingsError: a secret is missing.
    """
    return Collector(database, settings, build_account(settings, clock), clock)


def why_not_lead(settings: Settings) -> str | None:
    """Which secret, SSH key or alarm's URL this process lacks to lead, or None when it holds them all."""
    try:
        for name in settings.providers:
            provider_key(settings, name)
        for tier in settings.tiers:
            for agent in tier.agents:
                control_secret(settings, tier, agent)
                if agent.ssh_key_file is not None:
                    where = f"tier {tier.name}, agent {agent.name}: ssh_key_file"
                    read_text(where, settings.path.parent / agent.ssh_key_file.expanduser())
        Channels(settings)
    except SettingsError as error:
        return str(error)
    return None
