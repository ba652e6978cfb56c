"""The simulated provider's world: resources that accrue, sleep, wake and vanish, on a clock.

What a resource has been billed is a pure function of its history and a whole second of the world's clock,
in integers: any past total can be computed again exactly. Here alone does a rate times a time make money,
because here is the provider.
"""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Self, TypeVar

from store.clock import Clock
from store.money import parse_nusd

_GPU_FREE = frozenset({"HIBERNATING", "RESTORING", "HIBERNATED"})


class Impossible(Exception):
    """What was asked cannot be done in the resource's state."""


Id = TypeVar("Id", int, str)


@dataclass(slots=True, kw_only=True)
class Lived(Generic[Id]):
    """What any provider's resource is, with its whole history: from which second on it was in which state."""

    id: Id
    kind: str
    name: str
    created_s: int
    awake_nusd_per_hour: int
    gpu: str = ""
    attached_to: Id | None = None
    address: str | None = None
    deleted_s: int | None = None
    history: list[tuple[int, str]] = field(default_factory=list)

    def state_at(self, second: int) -> str:
        """The state in a second of the world."""
        index = bisect_right(self.history, second, key=lambda entry: entry[0]) - 1
        return self.history[max(index, 0)][1]


@dataclass(slots=True, kw_only=True)
class SimulatedResource(Lived[int]):
    """An instance or a volume."""

    asleep_nusd_per_hour: int
    flavor: str = ""
    size_gb: int = 0
    is_listed: bool = True
    credits: list[tuple[int, int]] = field(default_factory=list)

    def total_nusd(self, second: int) -> int:
        """What had been billed by `second`: nano-dollars, floor of the exact sum, less what was credited."""
        end = second if self.deleted_s is None else min(second, self.deleted_s)
        exact = sum(rate * (stop - start) for start, stop, rate in self._stretches(max(end, self.created_s)))
        return exact // 3600 - sum(nusd for at, nusd in self.credits if at <= second)

    def rate_at(self, second: int) -> int:
        """Nano-dollars an hour in a second."""
        return self._rate(self.state_at(second))

    def _stretches(self, end: int) -> Iterator[tuple[int, int, int]]:
        starts = [start for start, _ in self.history if start < end]
        for (start, state), stop in zip(self.history, [*starts[1:], end], strict=False):
            yield start, stop, self._rate(state)

    def _rate(self, state: str) -> int:
        if self.kind == "volume":
            return self.awake_nusd_per_hour
        return self.asleep_nusd_per_hour if state in _GPU_FREE else self.awake_nusd_per_hour


class WorldClock:
    """A world's clock, in whole seconds since 1970, and the second up to which its bills are told."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._standing_s: int | None = None
        self.began_s = self.now_s()
        self.frozen_s: int | None = None

    def now_s(self) -> int:
        """The present second of the world."""
        return self._standing_s if self._standing_s is not None else int(self.clock.now().timestamp())

    @contextmanager
    def standing_still(self) -> Iterator[int]:
        """Keep the world in its present second, which it yields: one answer is of one second."""
        self._standing_s = self.now_s()
        try:
            yield self._standing_s
        finally:
            self._standing_s = None

    def billed_s(self) -> int:
        """The second up to which bills are told now: the present one, unless they are frozen."""
        return self.now_s() if self.frozen_s is None else self.frozen_s


SomeResource = TypeVar("SomeResource", bound=Lived[Any])


class WorldOf(WorldClock, Generic[SomeResource]):
    """Every resource of one simulated account. Times are whole seconds since 1970 on the world's clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.resources: list[SomeResource] = []

    def find(self, kind: str, id_: int | str) -> SomeResource | None:
        """The resource with this id that still exists."""
        found = (one for one in self.resources if one.kind == kind and one.id == id_ and one.deleted_s is None)
        return next(found, None)

    def _add(self, resource: SomeResource, state: str) -> SomeResource:
        resource.history.append((resource.created_s, state))
        self.resources.append(resource)
        return resource


class SimulatedWorld(WorldOf[SimulatedResource]):
    """Instances that hibernate, and volumes."""

    def __init__(self, clock: Clock, *, hibernate_s: int = 3, restore_s: int = 4) -> None:
        super().__init__(clock)
        self.hibernate_s, self.restore_s = hibernate_s, restore_s
        self.has_capacity = True

    @classmethod
    def from_json(cls, body: dict[str, Any], clock: Clock) -> Self:
        """A world as a world file describes it."""
        world = cls(clock, hibernate_s=body.get("hibernate_s", 3), restore_s=body.get("restore_s", 4))
        for row in body.get("instances", []):
            world.create_instance(row)
        for row in body.get("volumes", []):
            world.create_volume(row)
        return world

    def create_instance(self, row: dict[str, Any]) -> SimulatedResource:
        """Add an instance that runs from now on."""
        return self._add(
            SimulatedResource(
                id=row["id"],
                kind="vm",
                name=row["name"],
                created_s=self.now_s(),
                awake_nusd_per_hour=parse_nusd(row["price_usd_per_hour"]),
                asleep_nusd_per_hour=parse_nusd(row.get("asleep_usd_per_hour", "0")),
                flavor=row.get("flavor", "n3-H100x1"),
                gpu=row.get("gpu", "H100"),
                address=row.get("address"),
            ),
            "ACTIVE",
        )

    def create_volume(self, row: dict[str, Any]) -> SimulatedResource:
        """Add a volume that is billed from now on."""
        price = parse_nusd(row["price_usd_per_hour"])
        return self._add(
            SimulatedResource(
                id=row["id"],
                kind="volume",
                name=row["name"],
                created_s=self.now_s(),
                awake_nusd_per_hour=price,
                asleep_nusd_per_hour=price,
                size_gb=row.get("size_gb", 100),
                attached_to=row.get("attached_to"),
            ),
            "IN-USE" if row.get("attached_to") else "AVAILABLE",
        )

    def hibernate(self, resource: SimulatedResource) -> None:
        """Begin to hibernate.

        Raises:
            Impossible: it is not ACTIVE.
        """
        self._begin(resource, "ACTIVE", "HIBERNATING", self.hibernate_s, "HIBERNATED")

    def restore(self, resource: SimulatedResource) -> None:
        """Begin to restore from hibernation; without capacity it falls back.

        Raises:
            Impossible: it is not HIBERNATED.
        """
        ends_in = "ACTIVE" if self.has_capacity else "HIBERNATED"
        self._begin(resource, "HIBERNATED", "RESTORING", self.restore_s, ends_in)

    def preempt(self, resource: SimulatedResource) -> None:
        """Take the GPU away, unasked: it is hibernated at once."""
        resource.history.append((self.now_s(), "HIBERNATED"))

    def vanish(self, resource: SimulatedResource, *, is_listed: bool) -> None:
        """End a resource now; `is_listed` says whether the deleted ones still name it."""
        resource.deleted_s, resource.is_listed = self.now_s(), is_listed

    def credit(self, resource: SimulatedResource, nusd: int) -> None:
        """Give money back, from this second on."""
        resource.credits.append((self.now_s(), nusd))

    def recreate(self, resource: SimulatedResource) -> SimulatedResource:
        """End a resource and make another with its id: a reset, with a new identity."""
        self.vanish(resource, is_listed=True)
        anew = replace(resource, created_s=self.now_s(), deleted_s=None, history=[], credits=[])
        return self._add(anew, resource.state_at(self.now_s()))

    def _begin(self, resource: SimulatedResource, needed: str, transient: str, lasts_s: int, ends_in: str) -> None:
        now = self.now_s()
        state = resource.state_at(now)
        if state != needed:
            msg = f"The virtual machine must be in {needed} state, it is {state}."
            raise Impossible(msg)
        resource.history += [(now, transient), (now + lasts_s, ends_in)]


def instant(second: int) -> str:
    """A second of the world as the provider writes it: `2026-05-06T15:18:42Z`."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")
