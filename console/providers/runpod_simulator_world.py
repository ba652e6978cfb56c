"""The simulated RunPod account: pods and network volumes that accrue by the second and are billed in steps.

What a resource has accrued is a pure function of its history and a whole second of the world's clock, in integers.
The bill tells of it in steps, every five minutes for pods and every hour for network volumes, as the provider's
documents say. Here alone does a rate times a time make money, because here is the provider.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from console.providers.simulator_world import Impossible, Lived, WorldOf
from store.clock import Clock
from store.money import parse_nusd

ACTIONS = {
    "PROVISIONING": ("stop", "terminate"),
    "STARTING": ("stop", "terminate"),
    "RUNNING": ("stop", "restart", "terminate"),
    "EXITED": ("start", "terminate"),
    "ERROR": ("start", "terminate"),
}
_STEP_S, _VOLUME_STEP_S = 300, 3600


@dataclass(frozen=True, slots=True)
class Correction:
    """From second `at_s` on, what was billed for second `of_s` is `nusd` more; less, where it is below zero."""

    at_s: int
    of_s: int
    nusd: int


@dataclass(slots=True, kw_only=True)
class SimulatedResource(Lived[str]):
    """A pod or a network volume.

    `disk_nusd_per_hour` is what a stopped pod's disk bills: twice what it does while the pod runs.
    """

    disk_nusd_per_hour: int
    step_s: int
    size_gb: int = 20
    is_locked: bool = False
    corrections: list[Correction] = field(default_factory=list)

    def told_s(self, second: int) -> int:
        """The second up to which the bill tells in `second`."""
        return second - second % self.step_s

    def billed_nusd(self, start: int, end: int, second: int) -> int:
        """What the bill says in `second` of the bucket `[start, end)`, corrections and all."""
        corrected = sum(one.nusd for one in self.corrections if one.at_s <= second and start <= one.of_s < end)
        return self._told(end, second) - self._told(start, second) + corrected

    def total_nusd(self, second: int) -> int:
        """Everything that the bill says in `second`."""
        return self.billed_nusd(0, second + 1, second)

    def disk_nusd(self, start: int, end: int, second: int) -> int:
        """The disk's part of a bucket, as the bill tells in `second`."""
        told = self.told_s(second)
        return self._accrued(min(end, told), disk_only=True) - self._accrued(min(start, told), disk_only=True)

    def _told(self, edge: int, second: int) -> int:
        return self._accrued(min(edge, self.told_s(second)), disk_only=False)

    def _accrued(self, second: int, *, disk_only: bool) -> int:
        end = second if self.deleted_s is None else min(second, self.deleted_s)
        exact = sum(self._rate(state, disk_only) * (stop - start) for start, stop, state in self._stretches(end))
        return exact // 3600

    def _stretches(self, end: int) -> Iterator[tuple[int, int, str]]:
        begun = [(start, state) for start, state in self.history if start < end]
        for (start, state), stop in zip(begun, [*(start for start, _ in begun[1:]), end], strict=False):
            yield start, stop, state

    def _rate(self, state: str, disk_only: bool) -> int:
        if self.kind == "volume":
            return self.awake_nusd_per_hour
        if state == "EXITED":
            return self.disk_nusd_per_hour
        return self.disk_nusd_per_hour // 2 if disk_only or state != "RUNNING" else self.awake_nusd_per_hour


class SimulatedRunPod(WorldOf[SimulatedResource]):
    """Pods, and network volumes."""

    def __init__(
        self, clock: Clock, *, start_s: int = 4, step_s: int = _STEP_S, volume_step_s: int = _VOLUME_STEP_S
    ) -> None:
        super().__init__(clock)
        self.start_s = start_s
        self.step_s, self.volume_step_s = step_s, volume_step_s
        self.quota_per_min = 60
        self.retry_after_s = 12
        self.volume_path = "network-volumes"
        self.has_capacity = True

    @classmethod
    def from_json(cls, body: dict[str, Any], clock: Clock) -> "SimulatedRunPod":
        """A world as a world file describes it; `billing_step_s` makes its bills move more often than real ones."""
        step_s, volume_step_s = body.get("billing_step_s", _STEP_S), body.get("volume_step_s", _VOLUME_STEP_S)
        world = cls(clock, start_s=body.get("restore_s", 4), step_s=step_s, volume_step_s=volume_step_s)
        world.quota_per_min = body.get("quota_per_minute", world.quota_per_min)
        world.retry_after_s = body.get("retry_after_s", world.retry_after_s)
        for row in body.get("instances", []):
            world.create_pod(row)
        for row in body.get("volumes", []):
            world.create_volume(row)
        return world

    def create_pod(self, row: dict[str, Any]) -> SimulatedResource:
        """Add a pod that runs from now on; or has, for `age_s` seconds."""
        return self._add(
            SimulatedResource(
                id=str(row["id"]),
                kind="pod",
                name=row["name"],
                created_s=self.now_s() - row.get("age_s", 0),
                awake_nusd_per_hour=parse_nusd(row["price_usd_per_hour"]),
                disk_nusd_per_hour=parse_nusd(row.get("asleep_usd_per_hour", "0")),
                step_s=self.step_s,
                gpu=row.get("gpu", "NVIDIA H100 PCIe"),
                address=row.get("address"),
            ),
            "RUNNING",
        )

    def create_volume(self, row: dict[str, Any]) -> SimulatedResource:
        """Add a network volume that is billed from now on; or has been, for `age_s` seconds."""
        attached = row.get("attached_to")
        return self._add(
            SimulatedResource(
                id=str(row["id"]),
                kind="volume",
                name=row["name"],
                created_s=self.now_s() - row.get("age_s", 0),
                awake_nusd_per_hour=parse_nusd(row["price_usd_per_hour"]),
                disk_nusd_per_hour=0,
                step_s=self.volume_step_s,
                size_gb=row.get("size_gb", 100),
                attached_to=None if attached is None else str(attached),
            ),
            "listed",
        )

    def do(self, pod: SimulatedResource, action: str) -> None:
        """Carry an action out.

        Raises:
            Impossible: the pod's state does not offer it.
        """
        now = self.now_s()
        state = pod.state_at(now)
        if action not in self.actions(pod):
            msg = f"action {action} is not valid for a pod that is {state}"
            raise Impossible(msg)
        if action == "stop":
            pod.history = [entry for entry in pod.history if entry[0] <= now]
            pod.history.append((now, "EXITED"))
        elif action == "start":
            pod.history += [(now, "STARTING"), (now + self.start_s, "RUNNING" if self.has_capacity else "EXITED")]
        elif action == "terminate":
            self.vanish(pod)

    def actions(self, pod: SimulatedResource) -> tuple[str, ...]:
        """What may be asked of a pod now; a locked one is not stopped."""
        offered = ACTIONS.get(pod.state_at(self.now_s()), ())
        return tuple(one for one in offered if not (pod.is_locked and one in ("stop", "restart")))

    def preempt(self, pod: SimulatedResource) -> None:
        """Stop a pod, unasked."""
        pod.history.append((self.now_s(), "EXITED"))

    def vanish(self, resource: SimulatedResource) -> None:
        """End a resource now. Its records stay."""
        resource.deleted_s = self.now_s()

    def correct(self, resource: SimulatedResource, nusd: int, of_s: int | None = None) -> None:
        """Revise the bill from now on: of second `of_s`, which may be of a bucket that is closed."""
        now = self.now_s()
        resource.corrections.append(Correction(now, now if of_s is None else of_s, nusd))


_LENGTHS_S = {"hour": 3600, "day": 86_400, "week": 7 * 86_400}
_A_MONDAY_S = 4 * 86_400  # 1970-01-05


def bucket_at(size: str, second: int) -> tuple[int, int]:
    """The bucket `[start, end)` in UTC that a second lies in; weeks begin on Monday."""
    if size in _LENGTHS_S:
        length, offset = _LENGTHS_S[size], _A_MONDAY_S if size == "week" else 0
        start = second - (second - offset) % length
        return start, start + length
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    first = datetime(day.year, day.month if size == "month" else 1, 1, tzinfo=UTC)
    after = (first + timedelta(days=32 if size == "month" else 367)).replace(day=1)
    if size == "year":
        after = after.replace(month=1)
    return int(first.timestamp()), int(after.timestamp())
