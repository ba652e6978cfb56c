"""`mtok.toml`: what it may say, and one clear line for whatever it may not.

Secrets never stand in the file: it names an environment variable (`…_env`), a file (`…_file`), or what
systemd passed to the service (`…_credential`, the name that `LoadCredential=` gave it).
Relative paths, of files and of a SQLite store, are relative to the settings file.
"""

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from console.alarm_settings import AlarmsSection, ChannelSection
from console.hosts.target import SshTarget
from console.metrics_settings import MetricsSection
from console.provider_settings import ProviderSection
from console.screen_settings import ConsoleSection
from console.setting_types import (
    Amount,
    Credential,
    Currency,
    Duration,
    HomePath,
    Hours,
    Idle,
    Section,
    Zone,
    check_address,
    listed,
    only_one_of,
)
from store.errors import SettingsError
from store.fleet_view import TierSpec
from store.gate import GatePolicy, provider_scope
from store.headroom import Horizon
from store.money import USD
from store.settings_file import load_file, read_key, read_secret
from store.words import IGNORED, UNASSIGNED, Market

if TYPE_CHECKING:
    from store.retention import Retention

# SQLAlchemy's own form, and a port that is a number: it has the last word, but is not loaded for this one
_ADDRESS = re.compile(r"[\w+]+://([^:/]*(:[^@]*)?@)?(\[[^/?]+\]|[^/:?]+)?(:\d+)?(/[^?]*)?(\?.*)?")


class StoreSection(Section):
    """Where the store is."""

    url: str = "sqlite:///mtok.db"

    @field_validator("url")
    @classmethod
    def _is_address(cls, given: str) -> str:
        if _ADDRESS.fullmatch(given) is None:
            msg = "is no address of a store; write one such as 'sqlite:///mtok.db'"
            raise ValueError(msg)
        return given


class BudgetSection(Section):
    """The day's limit, the zone in which a day begins, and how long billing may be silent or stand still.

    `daily`: limits of other currencies, each for what is billed in it; without one, such a bill closes the gate.
    `scope`: whether a provider that is dark closes the gate of the whole account, or of its own tiers alone.
    `on_exhausted`: whether a spent budget, or a long dark, hibernates every tier, or refuses requests alone.
    """

    daily_usd: Amount
    daily: dict[Currency, Amount] = Field(default_factory=dict)
    scope: Literal["account", "provider"] = "account"
    timezone: Zone = ZoneInfo("UTC")
    dark_after: Duration = timedelta(seconds=170)
    dark_hibernate_after: Duration = timedelta(minutes=15)
    frozen_after: Duration = timedelta(minutes=15)
    on_exhausted: Literal["hibernate", "refuse"] = "hibernate"

    @model_validator(mode="after")
    def _in_order(self) -> "BudgetSection":
        if self.dark_hibernate_after < self.dark_after:
            msg = "dark_hibernate_after is shorter than dark_after"
            raise ValueError(msg)
        if USD in self.daily:
            msg = "the limit in USD is daily_usd; remove it from daily"
            raise ValueError(msg)
        return self


class CollectorSection(Section):
    """How often to tick, how long to wait for answers, and when a silent leader is replaced.

    `not_applied_after`: unchanged for so long, an action of the provider's has had no effect. `on_wake_timeout`:
    whether a tier whose wake failed is hibernated again, so that a stuck one does not bill for ever.
    """

    every: Duration = timedelta(seconds=60)
    bills_within: Duration = timedelta(seconds=20)
    usage_within: Duration = timedelta(seconds=10)
    lease_within: Duration = timedelta(seconds=5)
    leader_expires_after: Duration = timedelta(seconds=25)
    drain_within: Duration = timedelta(seconds=120)
    sleep_within: Duration = timedelta(minutes=5)
    wake_within: Duration = timedelta(minutes=10)
    wake_warn_after: Duration = timedelta(minutes=8)
    not_applied_after: Duration = timedelta(seconds=120)
    on_wake_timeout: Literal["hibernate", "leave"] = "hibernate"


class RetentionSection(Section):
    """For how long a sample a minute is kept, and then one an hour; after that, one a day."""

    minutes_for: Duration = timedelta(days=30)
    hours_for: Duration = timedelta(days=365)

    @model_validator(mode="after")
    def _in_order(self) -> "RetentionSection":
        if self.minutes_for < timedelta(days=2):
            msg = "minutes_for is shorter than 2d: today and yesterday are figures' and the gate's"
            raise ValueError(msg)
        if self.hours_for < self.minutes_for:
            msg = "hours_for is shorter than minutes_for"
            raise ValueError(msg)
        return self


class SshSection(Section):
    """How hosts are reached by SSH, where an agent does not say otherwise."""

    config_file: HomePath = Path("~/.ssh/config")
    known_hosts_file: HomePath = Path("~/.ssh/known_hosts")
    connect_within: Duration = timedelta(seconds=10)
    keepalive: Duration = timedelta(seconds=15)

    @model_validator(mode="after")
    def _sound(self) -> "SshSection":
        for name, value in (("connect_within", self.connect_within), ("keepalive", self.keepalive)):
            if value < timedelta(seconds=1):
                msg = f"{name} is shorter than 1s"
                raise ValueError(msg)
        return self


class AgentSection(Section):
    """An agent of a tier: on which instance it runs, and where its control API answers.

    Either at `control_url`, or at `control_port` of its host's loopback, reached by SSH as `ssh_user`.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    instance: str
    control_url: str | None = None
    control_secret_env: str | None = None
    control_secret_file: Path | None = None
    control_secret_credential: Credential | None = None
    control_port: int = Field(default=8701, ge=1, le=65535)
    ssh_user: str | None = Field(default=None, min_length=1)
    ssh_port: int | None = Field(default=None, ge=1, le=65535)
    ssh_address: str | None = Field(default=None, min_length=1)
    ssh_key_file: HomePath | None = None
    proxy_jump: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "AgentSection":
        if (self.control_url is None) == (self.ssh_user is None):
            msg = "give either control_url, or ssh_user to reach it by SSH"
            raise ValueError(msg)
        if self.ssh_user is None:
            by_ssh = ("control_port", "ssh_port", "ssh_address", "ssh_key_file", "proxy_jump")
            for name in [name for name in by_ssh if name in self.model_fields_set]:
                msg = f"{name} is for SSH, and this agent has a control_url; remove one of them"
                raise ValueError(msg)
        if self.control_url is not None:
            check_address("control_url", self.control_url)
        return self

    @model_validator(mode="after")
    def _one_secret(self) -> "AgentSection":
        only_one_of(self, "control_secret_env", "control_secret_file", "control_secret_credential")
        return self


class TierSection(Section):
    """One rung of the fleet: what it consists of at its provider, its agents, and when it sleeps by itself.

    `idle_after`: without a token for so long it is hibernated, but not within the hours of `keep_awake` and not
    before it has run for `min_awake`. `rewake`: a pre-empted one is woken again; `fallback` names a tier to wake
    in its place. Its own limit is `daily_usd`, or `daily` in the currency that it bills in.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    provider: str
    gpu: str = ""
    market: Market
    instances: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    daily_usd: Amount | None = None
    daily: dict[Currency, Amount] = Field(default_factory=dict, max_length=1)
    idle_after: Idle = timedelta(minutes=15)
    keep_awake: Annotated[tuple[Hours, ...], BeforeValidator(listed)] = ()
    min_awake: Duration = timedelta(0)
    rewake: bool = False
    fallback: str | None = None
    agents: tuple[AgentSection, ...] = ()

    @model_validator(mode="after")
    def _one_limit(self) -> "TierSection":
        if self.daily and self.daily_usd is not None:
            msg = "give either daily_usd or daily: a tier bills in one currency"
            raise ValueError(msg)
        return self

    @property
    def limit(self) -> tuple[str, int] | None:
        """Its own limit: the currency, and nano-units a day."""
        if self.daily_usd is not None:
            return USD, self.daily_usd
        return next(iter(self.daily.items()), None)


class Settings(Section):
    """The whole file. `path` is where it was read."""

    path: Path
    store: StoreSection = StoreSection()
    budget: BudgetSection
    collector: CollectorSection = CollectorSection()
    retention: RetentionSection = RetentionSection()
    alarms: AlarmsSection = AlarmsSection()
    ssh: SshSection = SshSection()
    console: ConsoleSection = ConsoleSection()
    metrics: MetricsSection = MetricsSection()
    providers: dict[str, ProviderSection]
    tiers: tuple[TierSection, ...]

    @model_validator(mode="after")
    def _names_agree(self) -> "Settings":
        _unique("channel", [channel.name for channel in self.alarms.channels])
        _unique("tier", [tier.name for tier in self.tiers])
        _unique("agent", [agent.name for tier in self.tiers for agent in tier.agents])
        _unique("instance", [f"{tier.provider}/{id_}" for tier in self.tiers for id_ in tier.instances])
        _unique("volume", [f"{tier.provider}/{id_}" for tier in self.tiers for id_ in tier.volumes])
        for tier in self.tiers:
            if tier.name in (UNASSIGNED, IGNORED):
                msg = f"tier {tier.name!r}: the name is taken for resources that no tier names"
                raise ValueError(msg)
            for other in self.providers[tier.provider].ignore if tier.provider in self.providers else ():
                if other.id in (tier.instances if other.kind == "instance" else tier.volumes):
                    msg = f"tier {tier.name!r} names {other.kind} {other.id}, which is ignored"
                    raise ValueError(msg)
            if tier.provider not in self.providers:
                known = ", ".join(sorted(self.providers)) or "none"
                msg = f"tier {tier.name!r} names provider {tier.provider!r}, which is not among: {known}"
                raise ValueError(msg)
            if tier.fallback is not None and tier.fallback not in {t.name for t in self.tiers} - {tier.name}:
                msg = f"tier {tier.name!r}: fallback {tier.fallback!r} is no other tier"
                raise ValueError(msg)
            for agent in tier.agents:
                if agent.instance not in tier.instances:
                    msg = f"agent {agent.name!r}: tier {tier.name!r} has no instance {agent.instance!r}"
                    raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _gate_can_open(self) -> "Settings":
        """One tick may be lost: the gate opens after two that are no further apart than `dark_after`."""
        least = 2 * self.collector.every
        if self.budget.dark_after < least:
            two = f"two of collector.every, {least.total_seconds():g} s"
            msg = f"budget.dark_after is shorter than {two}: the gate would close between ticks"
            raise ValueError(msg)
        return self

    @property
    def gate_policy(self) -> GatePolicy:
        """What the gate decides by."""
        limits, budget = self.collector, self.budget
        own = {tier.name: tier.limit for tier in self.tiers if tier.limit is not None}
        return GatePolicy(
            limit_nusd=budget.daily_usd,
            zone=budget.timezone,
            dark_after=budget.dark_after,
            tier_limits_nusd={tier: nusd for tier, (_, nusd) in own.items()},
            tier_currencies={tier: currency for tier, (currency, _) in own.items()},
            currency_limits_nusd=budget.daily,
            provider_of=self._provider_of if budget.scope == "provider" else {},
            horizon=Horizon(limits.every, limits.drain_within, limits.sleep_within),
            frozen_after=budget.frozen_after,
            dark_hibernate_after=budget.dark_hibernate_after,
            wake=limits.wake_within,
            wake_warn_after=limits.wake_warn_after,
            hibernates=budget.on_exhausted == "hibernate",
        )

    @property
    def _provider_of(self) -> dict[str, str]:
        """By tier, its provider; one without tiers stands for itself: it is watched all the same."""
        named = {tier.name: tier.provider for tier in self.tiers}
        return named | {provider_scope(name): name for name in self.providers if name not in named.values()}

    @property
    def tier_specs(self) -> tuple[TierSpec, ...]:
        """What a screen needs to know of each tier."""
        return tuple(
            TierSpec(
                tier.name,
                tier.provider,
                tier.gpu,
                tier.market,
                is_simulated=self.providers[tier.provider].registered.is_simulated,
            )
            for tier in self.tiers
        )

    @property
    def store_url(self) -> str:
        """The store's address, a relative SQLite path made absolute from the settings file."""
        prefix = "sqlite:///"
        if self.store.url.startswith(prefix) and not self.store.url.startswith("sqlite:////"):
            return f"{prefix}{(self.path.parent / self.store.url.removeprefix(prefix)).resolve()}"
        return self.store.url

    @property
    def trend_step(self) -> timedelta:
        """How much of the past each bar of a sparkline shows: two ticks, and never an instant."""
        return timedelta(seconds=max(self.collector.every.total_seconds() * 2, 4.0))

    @property
    def retention_policy(self) -> "Retention":
        """What of the history is kept."""
        from store.retention import Retention

        return Retention(self.retention.minutes_for, self.retention.hours_for, self.budget.timezone)

    def ssh_target(self, agent: AgentSection) -> SshTarget:
        """How to reach the host of an agent with an `ssh_user`."""
        assert agent.ssh_user is not None
        folder, ssh = self.path.parent, self.ssh
        return SshTarget(
            user=agent.ssh_user,
            alias=agent.instance,
            config_file=folder / ssh.config_file.expanduser(),
            known_hosts_file=folder / ssh.known_hosts_file.expanduser(),
            address=agent.ssh_address,
            port=agent.ssh_port,
            key_file=folder / agent.ssh_key_file.expanduser() if agent.ssh_key_file else None,
            proxy_jump=agent.proxy_jump,
            connect_within_s=ssh.connect_within.total_seconds(),
            keepalive_s=ssh.keepalive.total_seconds(),
        )

    def secret(self, where: str, env: str | None, file: Path | None, credential: str | None = None) -> str:
        """The secret that the setting at `where` points to.

        Raises:
            SettingsError: the variable is unset, the file or credential cannot be read or is empty, or it is not
                one line.
        """
        return read_key(where, self.path.parent, env, file, credential)

    def channel_url(self, channel: ChannelSection) -> str:
        """Where an alarm channel is: an apprise URL, or several.

        Raises:
            SettingsError: the variable is unset, or the file or credential cannot be read or is empty.
        """
        where = f"alarms.channels.{channel.name}"
        return read_secret(where, self.path.parent, channel.url_env, channel.url_file, channel.url_credential)


def load_settings(path: Path) -> Settings:
    """Read and check a settings file.

    Raises:
        SettingsError: not there, not TOML, an unknown key, a wrong value; it names the first at fault.
    """
    if not path.exists():
        remedy = "write it with mtok init, or name another with --config or MTOK_CONFIG"
        raise SettingsError(str(path), "cannot read it: there is no such file", remedy)
    return load_file(Settings, path)


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            msg = f"{what} {name!r} is named twice"
            raise ValueError(msg)
