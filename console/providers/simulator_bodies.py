"""The simulated provider's answers, in the shapes of Hyperstack's documents and captures."""

import math
from collections.abc import Sequence
from typing import Any

from console.providers.simulator_world import SimulatedResource, SimulatedWorld, instant
from store.money import NUSD
from store.words import State

Body = dict[str, Any]

_ORG = 2058
_FEATURES = (
    "network_optimised",
    "no_reboot",
    "no_hibernation",
    "no_snapshot",
    "local_storage_only",
    "api_only",
)
_NEUTRAL = {
    "ACTIVE": State.RUNNING,
    "HIBERNATING": State.SLEEPING,
    "HIBERNATED": State.ASLEEP,
    "RESTORING": State.WAKING,
}
_ENVIRONMENT = {"id": 3287, "name": "simulated", "org_id": _ORG, "region": "SIMULATED-1"}


def usage(world: SimulatedWorld, *, deleted: bool) -> Body:
    """`GET /billing/billing/usage`."""
    second = world.billed_s()
    chosen = [
        one for one in world.resources if (one.deleted_s is not None) is deleted and (one.is_listed or not deleted)
    ]
    return {"message": "Successful", "status": True, "data": [_usage_row(one, second) for one in chosen]}


def _usage_row(resource: SimulatedResource, second: int) -> Body:
    is_gone = resource.deleted_s is not None
    return {
        "resource_id": resource.id,
        "resource_type": resource.kind,
        "name": resource.name,
        "organization_id": _ORG,
        "bill_per_minute": None if is_gone else resource.rate_at(second) / NUSD / 60,
        "create_time": instant(resource.created_s),
        "terminate_time": instant(resource.deleted_s) if resource.deleted_s is not None else None,
        "total_up_time": max(second - resource.created_s, 0) // 60,
        "total_bill": noisy(resource.total_nusd(second), second),
        "active": not is_gone,
        "exclude_billing": False,
    }


def noisy(nusd: int, second: int) -> float:
    """The amount as a float with the provider's kind of noise in its last digit, every third second."""
    amount = nusd / NUSD
    return math.nextafter(amount, math.inf) if second % 3 == 0 and amount else amount


def machines(world: SimulatedWorld, page: int | None, page_size: int | None) -> Body:
    """`GET /core/virtual-machines`, oldest first."""
    rows = [_machine(one, world) for one in world.resources if one.kind == "vm" and one.deleted_s is None]
    return {
        "status": True,
        "message": "Getting list of virtual machines successful",
        "page": page,
        "page_size": page_size,
        "count": len(rows),
        "instances": paged(rows, page, page_size),
    }


def machine(resource: SimulatedResource, world: SimulatedWorld) -> Body:
    """`GET /core/virtual-machines/{vm_id}`."""
    return {
        "status": True,
        "message": "Getting virtual machine successful",
        "instance": _machine(resource, world),
    }


def _machine(resource: SimulatedResource, world: SimulatedWorld) -> Body:
    state = resource.state_at(world.now_s())
    attached = [one for one in world.resources if one.attached_to == resource.id and one.deleted_s is None]
    return {
        "id": resource.id,
        "name": resource.name,
        "status": state,
        "power_state": "RUNNING" if state == "ACTIVE" else "SHUTDOWN",
        "vm_state": "active" if state == "ACTIVE" else "shelved_offloaded",
        "created_at": instant(resource.created_s),
        "environment": _ENVIRONMENT,
        "flavor": _flavor(resource),
        "floating_ip": resource.address,
        "floating_ip_status": "ATTACHED" if resource.address else "NO FLOATING IP",
        "fixed_ip": None,
        "volume_attachments": [_attachment(one) for one in attached],
        "contract_id": None,
        "locked": False,
        "labels": ["simulated"],
        "cluster_id": None,
    }


def _flavor(resource: SimulatedResource) -> Body:
    return {
        "id": 1402,
        "name": resource.flavor,
        "cpu": 28,
        "ram": 180.0,
        "disk": 100,
        "ephemeral": 750,
        "gpu": resource.gpu,
        "gpu_count": 1,
        "labels": [],
        "features": dict.fromkeys(_FEATURES, False),
    }


def _attachment(volume: SimulatedResource) -> Body:
    return {
        "status": "ATTACHED",
        "protected": False,
        "volume": {
            "id": volume.id,
            "name": volume.name,
            "size": volume.size_gb,
            "volume_type": "Cloud-SSD",
        },
    }


def volumes(world: SimulatedWorld, page: int | None, page_size: int | None) -> Body:
    """`GET /core/volumes`."""
    rows = [_volume(one, world) for one in world.resources if one.kind == "volume" and one.deleted_s is None]
    return {
        "status": True,
        "message": "Getting volumes successful",
        "page": page,
        "page_size": page_size,
        "count": len(rows),
        "volumes": paged(rows, page, page_size),
    }


def _volume(resource: SimulatedResource, world: SimulatedWorld) -> Body:
    attachments = (
        [] if resource.attached_to is None else [{"instance_id": resource.attached_to, "status": "ATTACHED"}]
    )
    return {
        "id": resource.id,
        "name": resource.name,
        "environment": {"name": _ENVIRONMENT["name"]},
        "size": resource.size_gb,
        "volume_type": "Cloud-SSD",
        "status": resource.state_at(world.now_s()),
        "bootable": False,
        "attachments": attachments,
        "created_at": instant(resource.created_s),
    }


def neutral_states(world: SimulatedWorld) -> Body:
    """By id, the state of every machine in our own words: for the demo's hosts, not on the wire."""
    now = world.now_s()
    living = (one for one in world.resources if one.kind == "vm" and one.deleted_s is None)
    return {str(one.id): {"state": str(_NEUTRAL.get(one.state_at(now), State.UNKNOWN))} for one in living}


def paged(rows: Sequence[Body], page: int | None, page_size: int | None) -> list[Body]:
    """A page of rows; all of them when no page was asked for."""
    if page_size is None:
        return list(rows)
    start = ((page or 1) - 1) * page_size
    return list(rows[start : start + page_size])
