"""Our simulator of Hyperstack, as the conformance suite wants one."""

from collections.abc import Iterator
from contextlib import contextmanager

from console.providers.protocol import Ref
from console.providers.server_trial import ServerTrial
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.providers.trial import Fault
from store.clock import SetClock
from store.words import ResourceKind

_WORLD = {
    "instances": [
        {"id": 8429, "name": "h100-a", "price_usd_per_hour": "2.00", "asleep_usd_per_hour": "0.0164"},
        {"id": 8430, "name": "a100-a", "flavor": "n3-A100x1", "price_usd_per_hour": "1.35"},
    ],
    "volumes": [{"id": 5341, "name": "weights", "price_usd_per_hour": "0.0193548", "attached_to": 8429}],
}
_ACTIONS = ("/hibernate", "/hibernate-restore")
_AN_INSTANCE = "/core/virtual-machines/"


class SimulatorTrial(ServerTrial[Simulator]):
    """One running simulator. Actions are the GETs below a machine's own address."""

    def fault(self, fault: Fault | None, times: int | None = None) -> None:
        """Begin a fault, or end the one there is."""
        only = [f"{_AN_INSTANCE}{one.id}/" for one in self._simulator.world.resources if one.kind == "vm"]
        prefix = tuple(only) if fault is Fault.DROP else ""
        self._simulator.faults.set(fault, prefix, times)

    def actions(self) -> int:
        """How many hibernate and restore requests have arrived."""
        paths = [request.partition("?")[0] for request in self._simulator.requests]
        return sum(path.endswith(_ACTIONS) for path in paths)

    def vanish(self, ref: Ref) -> None:
        """Delete a resource."""
        world = self._simulator.world
        found = world.find("vm" if ref.kind is ResourceKind.INSTANCE else "volume", int(ref.id))
        assert found is not None
        world.vanish(found, is_listed=True)


@contextmanager
def trial(clock: SetClock) -> Iterator[SimulatorTrial]:
    """A simulator whose world goes by `clock`."""
    with running_simulator(SimulatedWorld.from_json(_WORLD, clock)) as simulator:
        yield SimulatorTrial(simulator)
