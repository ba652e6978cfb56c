"""Our simulator of RunPod, as the conformance suite wants one."""

from collections.abc import Iterator
from contextlib import contextmanager

from console.providers.protocol import Ref
from console.providers.runpod_simulator import RunPodSimulator, running_runpod
from console.providers.runpod_simulator_world import SimulatedRunPod
from console.providers.server_trial import ServerTrial
from console.providers.trial import Fault
from store.clock import SetClock
from store.words import ResourceKind

_WORLD = {
    "instances": [
        {"id": "7h9k2m4n6p", "name": "h100-a", "price_usd_per_hour": "2.39", "asleep_usd_per_hour": "0.0055556"},
        {"id": "3w8r5t1y2u", "name": "l40s-a", "gpu": "NVIDIA L40S", "price_usd_per_hour": "0.86"},
    ],
    "volumes": [{"id": "2q9m7x4c", "name": "weights", "price_usd_per_hour": "0.0097223", "age_s": 90_000}],
    "quota_per_minute": 6000,
    "retry_after_s": 0,  # the suite does not wait
}


class RunPodTrial(ServerTrial[RunPodSimulator]):
    """One running simulator."""

    def fault(self, fault: Fault | None, times: int | None = None) -> None:
        """Begin a fault, or end the one there is."""
        actions = tuple(f"/v2/pods/{one.id}/action" for one in self._simulator.world.resources)
        self._simulator.faults.set(fault, actions if fault is Fault.DROP else "", times)

    def actions(self) -> int:
        """How many stop and start requests have arrived."""
        return sum(request.startswith("POST ") for request in self._simulator.requests)

    def vanish(self, ref: Ref) -> None:
        """Terminate a pod, or delete a network volume."""
        world = self._simulator.world
        found = world.find("pod" if ref.kind is ResourceKind.INSTANCE else "volume", ref.id)
        assert found is not None
        world.vanish(found)


@contextmanager
def trial(clock: SetClock) -> Iterator[RunPodTrial]:
    """A simulator whose account goes by `clock`."""
    with running_runpod(SimulatedRunPod.from_json(_WORLD, clock)) as simulator:
        yield RunPodTrial(simulator)
