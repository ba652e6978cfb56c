"""What the demo writes into its directory: settings and secrets of a fleet of three tiers, all local."""

import hashlib
import json
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.errors import SettingsError


@dataclass(frozen=True, slots=True)
class DemoTier:
    """A tier of the demo, with prices of a published rate card (USD an hour, 2026-08-26)."""

    name: str
    gpu: str
    flavor: str
    market: str
    instance: int
    volume: int
    usd_per_hour: str


TIERS = (
    DemoTier("h100", "H100 PCIe", "n3-H100x1-spot", "spot", 8429, 5341, "2.00"),
    DemoTier("l40", "L40", "n3-L40x1-spot", "spot", 8433, 5347, "0.80"),
    DemoTier("a100", "A100 PCIe", "n3-A100x1", "on-demand", 8437, 5349, "1.35"),
)
_VOLUME_GB = 200
_VOLUME_USD_PER_HOUR = "0.0193548"  # 200 GB at $0.000096774 per GB and hour
_ASLEEP_USD_PER_HOUR = "0.01640"  # a 100 GB root disk and a public address


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
        state.mkdir(parents=True, exist_ok=True)
        if (state / "demo.json").exists():
            raise SettingsError(f"--state {state}", "holds an earlier demo", "remove it or name another directory")
        for part in ("logs", "secrets"):
            (state / part).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(f"--state {state}", error.strerror or str(error), "name another directory") from None


def write_world(state: Path) -> Path:
    """The simulated provider's world: an instance and a volume a tier."""
    world = {
        "instances": [
            {
                "id": tier.instance,
                "name": f"{tier.name}-a",
                "flavor": tier.flavor,
                "gpu": tier.gpu,
                "price_usd_per_hour": tier.usd_per_hour,
                "asleep_usd_per_hour": _ASLEEP_USD_PER_HOUR,
                "address": "127.0.0.1",
            }
            for tier in TIERS
        ],
        "volumes": [
            {
                "id": tier.volume,
                "name": f"{tier.name}-weights",
                "size_gb": _VOLUME_GB,
                "price_usd_per_hour": _VOLUME_USD_PER_HOUR,
                "attached_to": tier.instance,
            }
            for tier in TIERS
        ],
        "hibernate_s": 3,
        "restore_s": 4,
    }
    path = state / "world.json"
    path.write_text(json.dumps(world, indent=2), encoding="utf-8")
    write_secret(state / "secrets" / "provider.key", secrets.token_hex(16))
    return path


def write_agents(state: Path) -> tuple[DemoAgent, ...]:
    """The settings, the control secret and one client's key of each agent."""
    return tuple(_write_agent(state, tier) for tier in TIERS)


def _write_agent(state: Path, tier: DemoTier) -> DemoAgent:
    name = f"{tier.name}-a"
    home = state / "agents" / name
    home.mkdir(parents=True, exist_ok=True)
    key = f"demo-{secrets.token_hex(16)}"
    write_secret(home / "control.secret", secrets.token_hex(16))
    write_secret(home / "keys", f"load {hashlib.sha256(key.encode()).hexdigest()}\n")
    agent = DemoAgent(name, tier, free_port(), free_port(), key, home / "agent.toml")
    agent.settings.write_text(
        f'name = "{name}"\n'
        f'public_address = "127.0.0.1:{agent.public_port}"\n'
        f'control_address = "127.0.0.1:{agent.control_port}"\n'
        'control_secret_file = "control.secret"\n'
        'keys_file = "keys"\n'
        'ledger = "ledger.db"\n'
        'model_dir = "../model"\n'
        'engine = "reference"\n',
        encoding="utf-8",
    )
    return agent


def write_settings(state: Path, provider_url: str, agents: tuple[DemoAgent, ...]) -> Path:
    """`mtok.toml`: ticks every two seconds, and the times that go with that."""
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

[providers.simulated]
kind = "simulator"
base_url = "{provider_url}"
api_key_file = "secrets/provider.key"

{tiers}"""
    path = state / "mtok.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _tier_section(agent: DemoAgent) -> str:
    tier = agent.tier
    return f"""\
[[tiers]]
name = "{tier.name}"
provider = "simulated"
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
