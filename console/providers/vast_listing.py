"""What exists on a Vast.ai account, and which of our states its four words for a state add up to.

`actual_status` is the container's, `cur_state` and `next_state` the machine's allotment, `intended_status` what was
asked for. Source: https://docs.vast.ai, reference of show-instance (2026-08-07).
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from console.providers.protocol import Action, Ref, Resource, SleepEffect
from console.providers.vast_http import VastHttp
from console.providers.vast_wire import InstanceRow, VolumeRow, instance_row, volume_row
from console.providers.wire import Number, Unreadable
from store.errors import AmountError
from store.words import ResourceKind, State

Row = TypeVar("Row")

INSTANCES = "/api/v1/instances/"
VOLUMES = "/api/v0/volumes"
_PER_PAGE = "25"  # more is refused
_COLUMNS = (
    "id",
    "label",
    "actual_status",
    "cur_state",
    "next_state",
    "intended_status",
    "is_bid",
    "public_ipaddr",
    "dph_total",
    "storage_total_cost",
)  # a whole row holds the environment and tokens of its machine: those are not ours to read
_STARTING = frozenset({"created", "loading", "rebooting"})
_SILENT = frozenset({"unknown", "offline"})
_RUNS = frozenset({"running", "frozen"})  # frozen keeps its memory, and is billed in full
_RESTS = frozenset({"stopped", "unloaded", "scheduling"})
_SCHEDULING = "scheduling"
_SLEEP = SleepEffect(billed="storage", loses=("memory", "GPU: others may rent it, and waking then waits for it"))


@dataclass(frozen=True, slots=True)
class Listing:
    """Every instance and volume, what each is quoted an hour, and why some may be missing."""

    resources: tuple[Resource, ...]
    rates_nusd: Mapping[Ref, int | None]
    problems: tuple[str, ...]
    provider_now: datetime | None


async def listing(http: VastHttp) -> Listing:
    """The account's inventory: two endpoints, one after the other."""
    by_id = json.dumps([{"col": "id", "dir": "asc"}])
    query = {"limit": _PER_PAGE, "order_by": by_id, "select_cols": json.dumps(_COLUMNS), "select_filters": "{}"}
    machines = await http.pages(INSTANCES, query, "instances")
    volumes = await http.pages(VOLUMES, {"owner": "me", "type": "all_volume"}, "volumes")
    problems = [one.problem for one in (machines, volumes) if one.problem is not None]
    found: dict[Ref, tuple[Resource, int | None]] = {}
    for row in _sound(INSTANCES, machines.rows, instance_row, problems):
        machine = instance(row)
        found[machine.ref] = machine, _rate(row.storage if machine.state is State.ASLEEP else row.dph)
    for rented in _sound(VOLUMES, volumes.rows, volume_row, problems):
        disk = volume(rented)
        found[disk.ref] = disk, _rate(rented.storage)
    return Listing(
        tuple(resource for resource, _ in found.values()),
        {ref: rate for ref, (_, rate) in found.items()},
        tuple(problems),
        machines.provider_now,
    )


def instance(row: InstanceRow) -> Resource:
    """A rented machine. `spot_hint`: it was bid for, and whoever bids more takes its GPU."""
    state = state_of(row)
    return Resource(
        ref=Ref(ResourceKind.INSTANCE, row.id),
        name=row.label,
        state=state,
        raw_state=raw_state(row),
        spot_hint=row.is_bid,
        address=row.address,
        can=_can(row, state),
        sleep=_SLEEP,
        may_sleep=True,
    )


def volume(row: VolumeRow) -> Resource:
    """A rented disk; it is billed as long as it exists."""
    ref = Ref(ResourceKind.VOLUME, row.id)
    state = State.GONE if row.status in ("deleted", "destroyed") else State.RUNNING
    return Resource(ref, row.label, state, row.status, attached_to=row.attached_to)


def state_of(row: InstanceRow) -> State:
    """Our word for an instance's state; a word that we do not know is UNKNOWN."""
    if row.actual in _SILENT:
        return State.UNKNOWN
    if row.actual in _RUNS:
        return State.SLEEPING if "stopped" in (row.intended, row.next) else State.RUNNING
    if row.actual in _RESTS or row.cur in _RESTS:
        return State.WAKING if _waits_for_its_gpu(row) else State.ASLEEP
    if row.intended == "stopped":
        return State.SLEEPING if row.actual in (*_STARTING, "exited", None) else State.UNKNOWN
    if row.actual is None or row.actual in _STARTING:
        return State.STARTING
    return State.ERROR if row.actual == "exited" else State.UNKNOWN


def _waits_for_its_gpu(row: InstanceRow) -> bool:
    """Told to start, and not yet running: nobody says which of the words change first, and any will do."""
    is_meant = row.intended in _RUNS and row.cur in _RUNS
    return is_meant or row.next in _RUNS or _SCHEDULING in (row.actual, row.cur, row.next)


def is_outbid(row: InstanceRow) -> bool:
    """Stopped though it is meant to run: by the market if it was bid for; it resumes by itself."""
    return state_of(row) is State.ASLEEP and row.intended == "running"


def raw_state(row: InstanceRow) -> str:
    """The provider's words: the container's state, then whatever else is under way or meant."""
    words = [row.actual or "provisioning"]
    if row.next is not None and row.next != row.cur:
        words.append(f"(next {row.next})")
    if row.intended is not None and row.intended not in (row.actual, row.next if len(words) > 1 else None):
        words.append(f"(intended {row.intended})")
    return " ".join(words)


def _can(row: InstanceRow, state: State) -> frozenset[Action]:
    """A machine that waits for its GPU, or has failed, can still be told to stop: that ends what it may bill."""
    if state is State.ASLEEP:
        return frozenset({Action.WAKE})
    stops = state in (State.RUNNING, State.WAKING, State.STARTING, State.ERROR, State.UNKNOWN)
    return frozenset({Action.SLEEP}) if stops and row.intended != "stopped" else frozenset()


def _sound(
    path: str, rows: Iterable[tuple[Any, datetime]], parse: Callable[[Any], Row], problems: list[str]
) -> Iterable[Row]:
    for row, _ in rows:
        try:
            yield parse(row)
        except Unreadable as error:
            id_ = row.get("id") if isinstance(row, dict) else None
            label = f"resource {id_.raw[:40]}" if isinstance(id_, Number) else "a row"
            problems.append(f"{path}: {label}: {error}")


def _rate(quoted: Number | None) -> int | None:
    """The quoted rate, shown only: one that makes no sense is none, and spoils no bill."""
    try:
        return None if quoted is None else quoted.nusd
    except AmountError:
        return None
