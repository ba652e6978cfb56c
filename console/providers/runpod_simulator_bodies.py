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


def account(world: SimulatedRunPod, start_s: int, end_s: int) -> Body:
    """What the bill rose by between two instants, from the world's own history: for auditors, not on the wire."""
    rows = [_account_row(one, start_s, end_s) for one in world.resources]
    return {
        "simulated": True,
        "from": instant(start_s),
        "to": instant(end_s),
        "resources": rows,
        "billed_nusd": sum(row["billed_nusd"] for row in rows),
    }


def _account_row(one: SimulatedResource, start_s: int, end_s: int) -> Body:
    start, end = one.total_nusd(start_s), one.total_nusd(end_s)
    return {
        "resource_type": one.kind,
        "resource_id": one.id,
        "name": one.name,
        "total_from_nusd": start,
        "total_to_nusd": end,
        "billed_nusd": end - start,
    }


def account_by_second(world: SimulatedRunPod, most_s: int = 7200) -> Body:
    """What the bill said in each of the last seconds, for whoever asks when the simulator has ended."""
    end = world.now_s()
    seconds = range(max(world.began_s, end - most_s), end + 1)
    rows = [
        {
            "resource_type": one.kind,
            "resource_id": one.id,
            "name": one.name,
            "total_nusd": {instant(second): one.total_nusd(second) for second in seconds},
        }
        for one in world.resources
    ]
    return {"simulated": True, "resources": rows}


def neutral_states(world: SimulatedRunPod) -> Body:
    """By id, the state of every pod in our own words: for the demo's hosts, not on the wire."""
    now = world.now_s()
    living = (one for one in world.resources if one.kind == "pod" and one.deleted_s is None)
    return {one.id: {"state": str(_NEUTRAL.get(one.state_at(now), State.UNKNOWN))} for one in living}
