"""From settings to a collector: the adapters, the agents' clients, and every secret that leading needs."""

from console.collector.tick import Account, Collector
from console.hosts.agent_client import AgentClient
from console.providers.hyperstack import Hyperstack
from console.providers.protocol import Provider
from console.settings import Settings
from store.clock import Clock
from store.database import Database
from store.errors import SettingsError


def build_account(settings: Settings, clock: Clock) -> Account:
    """Everything that a collector talks to.

    Raises:
        SettingsError: a secret is missing; it says which.
    """
    providers: dict[str, Provider] = {}
    for name, section in settings.providers.items():
        key = settings.secret(f"providers.{name}.api_key", section.api_key_env, section.api_key_file)
        providers[name] = Hyperstack(name, key, section.base_url, clock=clock, currency=section.currency)
    agents = {}
    for tier in settings.tiers:
        for agent in tier.agents:
            where = f"tier {tier.name}, agent {agent.name}: control_secret"
            secret = settings.secret(where, agent.control_secret_env, agent.control_secret_file)
            within_s = settings.collector.usage_within.total_seconds()
            agents[agent.name] = AgentClient(agent.name, agent.control_url, secret, within_s)
    return Account(providers, agents)


def build_collector(database: Database, settings: Settings, clock: Clock) -> Collector:
    """A collector for these settings.

    Raises:
        SettingsError: a secret is missing.
    """
    return Collector(database, settings, build_account(settings, clock), clock)


def why_not_lead(settings: Settings) -> str | None:
    """Which secret this process lacks to lead, or None when it holds them all."""
    try:
        for name, section in settings.providers.items():
            settings.secret(f"providers.{name}.api_key", section.api_key_env, section.api_key_file)
        for tier in settings.tiers:
            for agent in tier.agents:
                where = f"tier {tier.name}, agent {agent.name}: control_secret"
                settings.secret(where, agent.control_secret_env, agent.control_secret_file)
    except SettingsError as error:
        return str(error)
    return None
