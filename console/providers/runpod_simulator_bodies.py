"""The simulated RunPod's other answers, in the shapes of its OpenAPI document, and its account for auditors."""

from typing import Any

from console.providers.runpod_simulator_world import SimulatedResource, SimulatedRunPod
from console.providers.simulator_world import instant
from store.money import NUSD
from store.words import State

Body = dict[str, Any]
_DATA_CENTER = "SIM-1"
_SSH_PORT = 22
_NEUTRAL = {"RUNNING": State.RUNNING, "STARTING": State.STARTING, "EXITED": State.ASLEEP, "ERROR": State.ERROR}


def pods(world: SimulatedRunPod) -> Body:
    """`GET /v2/pods`."""
    return {"pods": [pod(one, world) for one in world.resources if one.kind == "pod" and one.deleted_s is None]}


def pod(one: SimulatedResource, world: SimulatedRunPod) -> Body:
    """`GET /v2/pods/{id}`."""
    now = world.now_s()
    state = one.state_at(now)
    runs = state == "RUNNING"
    since = max((at for at, began in one.history if at <= now and began == "RUNNING"), default=None)
    return {
        "id": one.id,
        "name": one.name,
        "image": "simulated/image:1",
        "args": "",
        "disk": 20,
        "ports": ["22/tcp"],
        "env": {"SIMULATED": "true"},
        "registry": None,
        "status": state,
        "actions": list(world.actions(one)),
        "mounts": {"persistent": {"size": max(one.size_gb, 10), "path": "/workspace"}},
        "gpu": {"id": one.gpu, "count": 1},
        "cloud": "SECURE",
        "dataCenterId": _DATA_CENTER,
        "cudaVersion": None,
        "ssh": {"proxy": None, "direct": _ssh(one) if runs and one.address else None},
        "template": None,
        "cost": one.awake_nusd_per_hour / NUSD if runs else 0.0,
        "locked": one.is_locked,
        "globalNetworking": {"enabled": False},
        "runtime": {"uptime": now - (since or now), "ports": []} if runs else None,
        "createdAt": instant(one.created_s),
        "startedAt": instant(since) if since is not None else None,
    }


def _ssh(one: SimulatedResource) -> Body:
    return {
        "host": one.address,
        "port": _SSH_PORT,
        "username": "root",
        "command": f"ssh root@{one.address} -p {_SSH_PORT}",
    }


def volumes(world: SimulatedRunPod) -> Body:
    """`GET /v2/network-volumes`."""
    rows = [
        {
            "id": one.id,
            "name": one.name,
            "size": max(one.size_gb, 10),
            "dataCenter": _DATA_CENTER,
            "type": "STANDARD",
        }
        for one in world.resources
        if one.kind == "volume" and one.deleted_s is None
    ]
    return {"networkVolumes": rows}


def neutral_states(world: SimulatedRunPod) -> Body:
    """By id, the state of every pod in our own words: for the demo's hosts, not on the wire."""
    now = world.now_s()
    living = (one for one in world.resources if one.kind == "pod" and one.deleted_s is None)
    return {one.id: {"state": str(_NEUTRAL.get(one.state_at(now), State.UNKNOWN))} for one in living}
