"""The providers' own documents beside the checkout, and a simulated world to ask."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from store.clock import SystemClock

# the official SDK pins other versions of half our dependencies: it has an environment of its own, see `make prove`
collect_ignore = [] if os.environ.get("MTOK_VAST_SDK") else ["test_vast_sdk.py"]

WORLD = {
    "instances": [
        {
            "id": 8429,
            "name": "h100-a",
            "flavor": "n3-H100x1-spot",
            "gpu": "H100 PCIe",
            "price_usd_per_hour": "2.00",
            "asleep_usd_per_hour": "0.016",
            "address": "127.0.0.1",
        },
        {"id": 8430, "name": "a100-a", "flavor": "n3-A100x1", "price_usd_per_hour": "1.35"},
    ],
    "volumes": [
        {"id": 5341, "name": "weights", "price_usd_per_hour": "0.0193548", "attached_to": 8429},
        {"id": 8429, "name": "same number as the machine", "price_usd_per_hour": "0.01"},
    ],
    "hibernate_s": 0,
    "restore_s": 0,
}


@pytest.fixture
def world() -> SimulatedWorld:
    """Two instances and two volumes on the machine's own clock."""
    return SimulatedWorld.from_json(WORLD, SystemClock())


@pytest.fixture
def simulator(world: SimulatedWorld) -> Iterator[Simulator]:
    """The world behind HTTP."""
    with running_simulator(world) as running:
        yield running


@pytest.fixture(scope="session")
def official() -> Path:
    """The folder of official documents; where it is not, its tests are reported as not run."""
    folder = Path(__file__).parents[4] / "shared" / "openapi"
    if not folder.is_dir():
        pytest.skip("not run: the providers' official documents are not beside this checkout")
    return folder
