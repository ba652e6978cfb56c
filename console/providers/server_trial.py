"""What the trials of our own simulators have in common: an address, a key, and an account that can be added up."""

from datetime import datetime
from typing import Any, Generic, TypeVar

from console.providers.simulator_server import SimulatorServer

SomeSimulator = TypeVar("SomeSimulator", bound=SimulatorServer[Any, Any])


class ServerTrial(Generic[SomeSimulator]):
    """One running simulator."""

    def __init__(self, simulator: SomeSimulator) -> None:
        self._simulator = simulator
        self.base_url, self.key = simulator.base_url, simulator.api_key

    def account_nusd(self, start: datetime, end: datetime) -> int:
        """The sum over every resource, by the world's own arithmetic."""
        first, last = int(start.timestamp()), int(end.timestamp())
        return sum(one.total_nusd(last) - one.total_nusd(first) for one in self._simulator.world.resources)
