"""What this machine can do at most, and what its GPUs do now: said alike by usage, status and metrics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.capacity import Capacity
from agent.engine.protocol import EngineInfo
from agent.gpu import GpuWatch, gpu_body
from store.unknown import Unknown


@dataclass(frozen=True, slots=True)
class Machine:
    """The agent's measured capacity, and its GPUs."""

    capacity: Capacity
    gpus: GpuWatch

    def body(self, info: EngineInfo | None) -> dict[str, Any]:
        """The fields of both control calls. A capacity that is not known is null, and `capacity` says why."""
        found = self.capacity.now(info)
        if isinstance(found, Unknown):
            rate, about = None, {"unknown": found.reason}
        else:
            rate = found.capacity_tokens_per_s
            about = {"measured_at": found.measured_at.isoformat(), "conditions": found.conditions}
        return {"capacity_tokens_per_s": rate, "capacity": about, "gpu": gpu_body(self.gpus.now())}


def this_machine(ledger: Path) -> Machine:
    """The machine of the agent with this ledger; its GPUs are read from now on."""
    machine = Machine(Capacity(ledger), GpuWatch())
    machine.gpus.start()
    return machine
