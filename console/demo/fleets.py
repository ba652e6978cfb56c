"""The demo's fleets: three tiers at one simulated provider, or one at each of three."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from store.errors import SettingsError


@dataclass(frozen=True, slots=True, eq=False)
class DemoProvider:
    """A simulated provider of the demo. `name`: in the settings; `kind`: in the registry, and its simulator's.

    `below`: what follows the simulator's root in its address. `world`: how its simulated world hurries; `options`:
    what its kind is told in the settings.
    """

    name: str
    kind: str
    below: str = ""
    world: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DemoTier:
    """A tier of the demo, with prices of published rate cards (USD an hour, 2026)."""

    name: str
    provider: DemoProvider
    gpu: str
    flavor: str
    market: str
    instance: str
    volume: str
    usd_per_hour: str
    asleep_usd_per_hour: str
    volume_usd_per_hour: str

    @property
    def is_attached(self) -> bool:
        """Whether its volume is attached to its instance; RunPod's pods have a disk of their own besides."""
        return self.provider is not RUNPOD


HYPERSTACK = DemoProvider("simulated", "simulator", "/v1", {"hibernate_s": 3, "restore_s": 4})
# a real bill moves every five minutes, and a volume's every hour: the demo's does so in seconds, and says it
RUNPOD = DemoProvider(
    "simulated-runpod",
    "runpod-simulator",
    world={"restore_s": 4, "billing_step_s": 2, "volume_step_s": 3, "quota_per_minute": 6000},
    options={"bill_step": "3s"},
)
VAST = DemoProvider("simulated-vast", "vast-simulator", world={"hibernate_s": 3, "restore_s": 4})

_H = ("0.01640", "0.0193548")  # a 100 GB root disk and a public address; 200 GB at $0.000096774 per GB and hour
_R = (
    "0.0055556",
    "0.0194444",
)  # a stopped 20 GB disk at $0.20, 200 GB of network volume at $0.07, per GB and month
_V = ("0.0300000", "0.0277778")  # hosts set their own prices
_HYPERSTACK_TIERS = (
    DemoTier("h100", HYPERSTACK, "H100 PCIe", "n3-H100x1-spot", "spot", "8429", "5341", "2.00", *_H),
    DemoTier("l40", HYPERSTACK, "L40", "n3-L40x1-spot", "spot", "8433", "5347", "0.80", *_H),
    DemoTier("a100", HYPERSTACK, "A100 PCIe", "n3-A100x1", "on-demand", "8437", "5349", "1.35", *_H),
)
_RUNPOD_TIERS = (
    DemoTier("h100", RUNPOD, "NVIDIA H100 PCIe", "", "on-demand", "7h9k2m4n6p", "2q9m7x4c", "2.39", *_R),
    DemoTier("l40", RUNPOD, "NVIDIA L40", "", "on-demand", "3w8r5t1y2u", "5k2h8v1b", "0.99", *_R),
    DemoTier("a100", RUNPOD, "NVIDIA A100 80GB PCIe", "", "on-demand", "9z4x7c2v1n", "8d3f6g9j", "1.59", *_R),
)
_VAST_TIERS = (
    DemoTier("h100", VAST, "H100 PCIe", "H100 spot", "spot", "28429", "25341", "1.87", *_V),
    DemoTier("l40", VAST, "L40", "L40 spot", "spot", "28433", "25347", "0.60", *_V),
    DemoTier("a100", VAST, "A100 PCIe", "A100", "on-demand", "28437", "25349", "0.90", *_V),
)
FLEETS: Mapping[str, tuple[DemoTier, ...]] = {
    "hyperstack": _HYPERSTACK_TIERS,
    "runpod": _RUNPOD_TIERS,
    "vast": _VAST_TIERS,
    "mixed": (_HYPERSTACK_TIERS[0], _RUNPOD_TIERS[1], _VAST_TIERS[2]),
}
TIERS = _HYPERSTACK_TIERS


def fleet_of(name: str) -> tuple[DemoTier, ...]:
    """The tiers of a fleet.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in FLEETS:
        raise SettingsError(f"--provider {name}", "is none of the demo's", f"choose {', '.join(FLEETS)}")
    return FLEETS[name]


def providers_of(tiers: tuple[DemoTier, ...]) -> tuple[DemoProvider, ...]:
    """The providers of some tiers, in the tiers' order."""
    return tuple({tier.provider.name: tier.provider for tier in tiers}.values())
