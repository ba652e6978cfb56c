"""Our simulator of Vast.ai, as the conformance suite wants one."""

from collections.abc import Iterator
from contextlib import contextmanager

from console.providers.protocol import Ref
from console.providers.server_trial import ServerTrial
from console.providers.trial import Fault
from console.providers.vast_simulator import VastSimulator, running_vast_simulator
from console.providers.vast_simulator_world import VastWorld
from store.clock import SetClock
from store.words import ResourceKind

_WORLD = {
    "instances": [
        {
            "id": 8429,
            "name": "h100-a",
            "flavor": "H100 spot",
            "price_usd_per_hour": "2.00",
            "asleep_usd_per_hour": "0.0164",
            "bandwidth_usd_per_hour": "0.03",
        },
        {"id": 8430, "name": "a100-a", "price_usd_per_hour": "1.35"},
    ],
    "volumes": [{"id": 5341, "name": "weights", "price_usd_per_hour": "0.0193548", "attached_to": 8429}],
}
_AN_INSTANCE = "/api/v0/instances/"


class VastTrial(ServerTrial[VastSimulator]):
    """One running simulator. Actions are the PUTs to an instance's own address."""

    def fault(self, fault: Fault | None, times: int | None = None) -> None:
        """Begin a fault, or end the one there is."""
        self._simulator.faults.set("drop_actions" if fault is Fault.DROP else fault, "", times)

    def actions(self) -> int:
        """How many requests to stop and to start have arrived."""
        return sum(request.startswith(f"PUT {_AN_INSTANCE}") for request in self._simulator.requests)

    def vanish(self, ref: Ref) -> None:
        """Destroy a contract; its charges remain."""
        world = self._simulator.world
        found = world.find("vm" if ref.kind is ResourceKind.INSTANCE else "volume", int(ref.id))
        assert found is not None
        world.vanish(found, is_listed=True)


@contextmanager
def trial(clock: SetClock) -> Iterator[VastTrial]:
    """A simulator whose world goes by `clock`."""
    with running_vast_simulator(VastWorld.from_json(_WORLD, clock)) as simulator:
        yield VastTrial(simulator)
