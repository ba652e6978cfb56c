"""The simulated Vast.ai account: the world of our other simulator, with a market that outbids.

What was billed stays a function of each resource's history and a second, in integers. The words of that history are
the other provider's; `words` says them in Vast.ai's four.
"""

from typing import Any, NamedTuple

from console.providers.simulator_world import Impossible, SimulatedResource, SimulatedWorld
from store.money import format_nusd, parse_nusd
from store.words import State

_NEUTRAL = {
    "ACTIVE": State.RUNNING,
    "HIBERNATING": State.SLEEPING,
    "HIBERNATED": State.ASLEEP,
    "RESTORING": State.WAKING,
}


class Words(NamedTuple):
    """An instance's state as Vast.ai states it."""

    actual: str
    cur: str
    next: str
    intended: str


_WORDS = {
    "ACTIVE": Words("running", "running", "running", "running"),
    "HIBERNATING": Words("running", "running", "stopped", "stopped"),
    "HIBERNATED": Words("stopped", "stopped", "stopped", "stopped"),
    "RESTORING": Words("stopped", "stopped", "running", "running"),
}


class VastWorld(SimulatedWorld):
    """Instances and volumes of one account. A flavor that ends with `spot` was bid for.

    A world file's `bandwidth_usd_per_hour` is billed while an instance runs, and quoted nowhere.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.outbids: set[int] = set()
        self.is_dear = False
        self.bandwidth_nusd: dict[int, int] = {}

    def create_instance(self, row: dict[str, Any]) -> SimulatedResource:
        """Add an instance that runs from now on."""
        self.bandwidth_nusd[row["id"]] = bandwidth = parse_nusd(row.get("bandwidth_usd_per_hour", "0"))
        price = format_nusd(parse_nusd(row["price_usd_per_hour"]) + bandwidth)
        return super().create_instance({**row, "price_usd_per_hour": price})

    def instances(self) -> list[SimulatedResource]:
        """Those that exist, oldest first."""
        return [one for one in self.resources if one.kind == "vm" and one.deleted_s is None]

    def is_bid(self, resource: SimulatedResource) -> bool:
        """Whether others may take its GPU by bidding more."""
        return resource.flavor.endswith("spot")

    def words(self, resource: SimulatedResource) -> Words:
        """Its state now, as the provider says it."""
        words = _WORDS[resource.state_at(self.now_s())]
        return words._replace(intended="running") if resource.id in self.outbids else words

    def neutral(self, resource: SimulatedResource) -> State:
        """Its state now in our own words."""
        return _NEUTRAL[resource.state_at(self.now_s())]

    def dph_nusd(self, resource: SimulatedResource) -> int:
        """What an hour is quoted at: without bandwidth, and never less than its disk."""
        return resource.awake_nusd_per_hour - self.bandwidth_nusd[resource.id]

    def stop(self, resource: SimulatedResource) -> None:
        """Begin to stop, or stop waiting for the GPU; nothing if it is stopped already."""
        self.outbids.discard(resource.id)
        state = resource.state_at(self.now_s())
        if state == "ACTIVE":
            self.hibernate(resource)
        elif state == "RESTORING":
            self._turn(resource, "HIBERNATED")

    def start(self, resource: SimulatedResource) -> None:
        """Begin to start; while others have the GPU it waits, for as long as they do.

        Raises:
            Impossible: it is being stopped.
        """
        state = resource.state_at(self.now_s())
        if state == "HIBERNATING":
            msg = "instance is being stopped"
            raise Impossible(msg)
        if state != "HIBERNATED" or resource.id in self.outbids:
            return
        if self.is_dear and self.is_bid(resource):
            self.outbids.add(resource.id)
        elif self.has_capacity:
            self.restore(resource)
        else:
            self._turn(resource, "RESTORING")

    def preempt(self, resource: SimulatedResource) -> None:
        """Somebody bids more: it is stopped at once, and still meant to run."""
        self._turn(resource, "HIBERNATED")
        self.outbids.add(resource.id)

    def outbid(self, *, is_dear: bool) -> None:
        """The market takes the GPU of every instance that was bid for, or gives them all back."""
        self.is_dear = is_dear
        for one in self.instances():
            if is_dear and self.is_bid(one) and self.neutral(one) in (State.RUNNING, State.WAKING):
                self.preempt(one)
            elif not is_dear and one.id in self.outbids:
                self.outbids.discard(one.id)
                self.restore(one)

    def _turn(self, resource: SimulatedResource, state: str) -> None:
        """From this second on it is in `state`, whatever was to come."""
        now = self.now_s()
        resource.history[:] = [*(one for one in resource.history if one[0] <= now), (now, state)]
