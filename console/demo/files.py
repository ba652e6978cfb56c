"""What the demo writes into its directory: settings, secrets and simulated worlds of its fleet, all local."""

import hashlib
import json
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.demo.fleets import DemoProvider, DemoTier, providers_of
from store.errors import SettingsError

_VOLUME_GB = 200


@dataclass(frozen=True, slots=True)
class DemoAgent:
    """An agent of the demo: where it listens, and what opens it."""

    name: str
    tier: DemoTier
    public_port: int
    control_port: int
    api_key: str
    settings: Path

    @property
    def url(self) -> str:
        """The root of its public API."""
        return f"http://127.0.0.1:{self.public_port}"

    @property
    def control_url(self) -> str:
        """The root of its control API."""
        return f"http://127.0.0.1:{self.control_port}"


def prepare(state: Path) -> None:
    """Make the demo's directory, which must not hold an earlier demo.

    Raises:
        SettingsError: it does, or it cannot be made.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (state / "demo.json").exists():
            raise SettingsError(f"--state {state}", "holds an earlier demo", "remove it or name another directory")
        for part in ("logs", "secrets"):
            (state / part).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(f"--state {state}", error.strerror or str(error), "name another directory") from None


@dataclass(frozen=True, slots=True)
class DemoSimulator:
    """A provider's simulator and its files: the first of a demo has the plain names."""

    provider: DemoProvider
    world: Path
    port: Path
    key: Path
    account: Path


def write_simulators(state: Path, tiers: tuple[DemoTier, ...]) -> tuple[DemoSimulator, ...]:
    """Each simulated provider's world and key: an instance and a volume a tier."""
    found = []
    for index, provider in enumerate(providers_of(tiers)):
        suffix = f"-{provider.name}" if index else ""
        one = DemoSimulator(
            provider,
            world=state / f"world{suffix}.json",
            port=state / f"provider{suffix}.port",
            key=state / "secrets" / f"provider{suffix}.key",
            account=state / f"account{suffix}.json",
        )
        world = _world([tier for tier in tiers if tier.provider is provider], provider)
        write_secret(one.world, json.dumps(world, indent=2))
        write_secret(one.key, secrets.token_hex(16))
        found.append(one)
    return tuple(found)


def _world(tiers: list[DemoTier], provider: DemoProvider) -> dict[str, Any]:
    instances = [
        {
            "id": _id(tier.instance),
            "name": f"{tier.name}-a",
            "flavor": tier.flavor,
            "gpu": tier.gpu,
            "price_usd_per_hour": tier.usd_per_hour,
            "asleep_usd_per_hour": tier.asleep_usd_per_hour,
            "address": "127.0.0.1",
        }
        for tier in tiers
    ]
    volumes = [
        {
            "id": _id(tier.volume),
            "name": f"{tier.name}-weights",
            "size_gb": _VOLUME_GB,
            "price_usd_per_hour": tier.volume_usd_per_hour,
            "attached_to": _id(tier.instance) if tier.is_attached else None,
        }
        for tier in tiers
    ]
    return {"instances": instances, "volumes": volumes, **provider.world}


def _id(text: str) -> int | str:
    """An id as its provider writes it."""
    return int(text) if text.isdigit() else text


def write_agents(state: Path, tiers: tuple[DemoTier, ...]) -> tuple[DemoAgent, ...]:
    """The settings, the control secret and one client's key of each agent."""
    return tuple(_write_agent(state, tier) for tier in tiers)


def _write_agent(state: Path, tier: DemoTier) -> DemoAgent:
    name = f"{tier.name}-a"
    home = state / "agents" / name
    (state / "agents").mkdir(mode=0o700, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    key = f"demo-{secrets.token_hex(16)}"
    write_secret(home / "control.secret", secrets.token_hex(16))
    write_secret(home / "keys", f"load {hashlib.sha256(key.encode()).hexdigest()}\n")
    agent = DemoAgent(name, tier, free_port(), free_port(), key, home / "agent.toml")
    write_secret(
        agent.settings,
        f'name = "{name}"\n'
        f'public_address = "127.0.0.1:{agent.public_port}"\n'
        f'control_address = "127.0.0.1:{agent.control_port}"\n'
        'control_secret_file = "control.secret"\n'
        'keys_file = "keys"\n'
        'ledger = "ledger.db"\n'
        'model_dir = "../model"\n'
        'engine = "reference"\n',
    )
    return agent


def write_settings(state: Path, urls: Mapping[DemoSimulator, str], agents: tuple[DemoAgent, ...]) -> Path:
    """`mtok.toml`: ticks every two seconds, and the times that go with that; `urls`: where simulators answer."""
    providers = "\n".join(_provider_section(state, one, url) for one, url in urls.items())
    tiers = "\n".join(_tier_section(agent) for agent in agents)
    text = f"""\
[store]
url = "sqlite:///mtok.db"

[budget]
daily_usd = "200"
dark_after = "12s"

[collector]
every = "2s"
bills_within = "4s"
usage_within = "3s"
lease_within = "2s"
leader_expires_after = "6s"
drain_within = "15s"
sleep_within = "30s"
wake_within = "2m"
wake_warn_after = "90s"
not_applied_after = "10s"

{providers}
{tiers}"""
    path = state / "mtok.toml"
    write_secret(path, text)
    return path


def _provider_section(state: Path, simulator: DemoSimulator, url: str) -> str:
    provider = simulator.provider
    options = "".join(f'{name} = "{value}"\n' for name, value in provider.options.items())
    return f"""\
[providers.{provider.name}]
kind = "{provider.kind}"
base_url = "{url}"
api_key_file = "{simulator.key.relative_to(state)}"
{options}"""


def _tier_section(agent: DemoAgent) -> str:
    tier = agent.tier
    return f"""\
[[tiers]]
name = "{tier.name}"
provider = "{tier.provider.name}"
gpu = "{tier.gpu}"
market = "{tier.market}"
instances = ["{tier.instance}"]
volumes = ["{tier.volume}"]
agents = [{{ name = "{agent.name}", instance = "{tier.instance}", control_url = "{agent.control_url}", \
control_secret_file = "agents/{agent.name}/control.secret" }}]
"""


def write_secret(path: Path, text: str) -> None:
    """A file that its owner alone can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, body: dict[str, Any]) -> None:
    """Replace a JSON file in one step, so that every reader reads a whole one; it holds keys: owner only."""
    draft = path.with_suffix(".draft")
    write_secret(draft, json.dumps(body, indent=2))
    draft.replace(path)


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
