"""The simulated Vast.ai's answers, in the shapes of its official document (2026-08-07)."""

import base64
import json
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from console.providers.simulator_world import SimulatedResource
from console.providers.vast_simulator_world import VastWorld
from store.money import NUSD, format_nusd

Body = dict[str, Any]

_TYPES = {"vm": "instance", "volume": "volume"}
_MOST = {"instances": 25, "results": 500}
_MILLI = Decimal("0.001")


class BadRequest(Exception):
    """What was asked is refused with 400: the error's code, and its words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


def charges(world: VastWorld, query: dict[str, str]) -> Body:
    """`GET /api/v0/charges/`: by contract, what it was charged in the window, rounded to $0.001."""
    filters = _json(query.get("select_filters", "{}"), {})
    day = filters.get("day") or {}
    if not isinstance(day.get("gte"), int) or not isinstance(day.get("lte"), int):
        code = "invalid_request"
        raise BadRequest(code, "Must provide both 'day' gte and lte filters for instance charges")
    start, end = day["gte"], min(day["lte"] + 1, world.billed_s())
    kinds = (filters.get("type") or {}).get("in") or list(_TYPES.values())
    listed = [
        one
        for one in world.resources
        if one.is_listed and _TYPES[one.kind] in kinds and one.created_s <= end and _is_after(one, start)
    ]
    if query.get("latest_first", "true") == "true":
        listed.reverse()
    page, token = _page(listed, query, "results")
    rows = [_charge(one, world, start, max(end, start)) for one in page]
    return {"success": True, "count": len(rows), "total": len(listed), "next_token": token, "results": rows}


def _is_after(one: SimulatedResource, start: int) -> bool:
    return one.deleted_s is None or one.deleted_s >= start


def _charge(one: SimulatedResource, world: VastWorld, start: int, end: int) -> Body:
    source = f"{_TYPES[one.kind]}-{one.id}"
    nusd = one.total_nusd(end) - one.total_nusd(start)
    last = world.now_s() if one.deleted_s is None else one.deleted_s
    ended = max(min(end, last), one.created_s)
    row = {"start": one.created_s, "end": ended, "type": _TYPES[one.kind]}
    days = (ended - one.created_s) // 86_400 + 1
    items = [
        {
            **row,
            "type": "gpu" if one.kind == "vm" else "disk",
            "source": None,
            "description": "SIMULATED",
            "amount": rounded(nusd),
            "metadata": {},
            "items": [],
        }
    ]
    return {
        **row,
        "source": source,
        "description": f"{_TYPES[one.kind].title()} {one.id} Charges - {days} days",
        "amount": rounded(nusd),
        "metadata": {"label": one.name},
        "items": items,
    }


def rounded(nusd: int) -> float:
    """Nano-dollars as the provider rounds them."""
    return float((Decimal(nusd) / NUSD).quantize(_MILLI, ROUND_HALF_UP))


def instances(world: VastWorld, query: dict[str, str], quoted: Callable[[int], float]) -> Body:
    """`GET /api/v1/instances/`: at most 25, by id; `quoted` puts a rate as the provider would."""
    listed = sorted(world.instances(), key=lambda one: one.id)
    page, token = _page(listed, query, "instances")
    columns = _json(query.get("select_cols", '["*"]'), ["*"])
    rows = [instance(one, world, quoted) for one in page]
    if columns != ["*"]:
        rows = [{name: row.get(name) for name in columns} for row in rows]
    return {
        "success": True,
        "instances_found": len(rows),
        "total_instances": len(listed),
        "label_counts": {one.name: 1 for one in listed},
        "next_token": token,
        "instances": rows,
    }


def instance(one: SimulatedResource, world: VastWorld, quoted: Callable[[int], float]) -> Body:
    """An instance's whole row."""
    words = world.words(one)
    disk = one.asleep_nusd_per_hour
    return {
        "id": one.id,
        "label": one.name,
        "actual_status": words.actual,
        "cur_state": words.cur,
        "next_state": words.next,
        "intended_status": words.intended,
        "status_msg": "SIMULATED",
        "is_bid": world.is_bid(one),
        "min_bid": quoted(world.dph_nusd(one) // 2),
        "dph_base": quoted(world.dph_nusd(one) - disk),
        "dph_total": quoted(world.dph_nusd(one)),
        "storage_cost": 0.15,
        "storage_total_cost": quoted(disk),
        "gpu_name": one.gpu,
        "num_gpus": 1,
        "machine_id": 12,
        "host_id": 7,
        "start_date": float(one.created_s),
        "end_date": float(one.created_s + 365 * 86_400),
        "image_uuid": "simulated/image:1",
        "image_runtype": "ssh",
        "extra_env": [["SIMULATED", "1"]],
        "jupyter_token": "simulated-token",
        "public_ipaddr": one.address or "",
        "ssh_host": "ssh.simulated.invalid",
        "ssh_port": 10_600,
        "geolocation": "SIMULATED",
        "disk_space": 100.0,
    }


def volumes(world: VastWorld, quoted: Callable[[int], float]) -> Body:
    """`GET /api/v0/volumes`: all at once."""
    listed = [one for one in world.resources if one.kind == "volume" and one.deleted_s is None]
    return {"volumes": [_volume(one, quoted) for one in listed]}


def _volume(one: SimulatedResource, quoted: Callable[[int], float]) -> Body:
    return {
        "id": one.id,
        "label": one.name,
        "status": "active",
        "disk_space": float(one.size_gb),
        "storage_total_cost": quoted(one.awake_nusd_per_hour),
        "start_date": float(one.created_s),
        "machine_id": 12,
        "host_id": 7,
        "public_ipaddr": "",
        "geolocation": "SIMULATED",
        "instances": [] if one.attached_to is None else [{"id": one.attached_to}],
    }


def quoted(nusd_per_hour: int) -> float:
    """A rate as a price list has it."""
    return float(format_nusd(nusd_per_hour))


def neutral_states(world: VastWorld) -> Body:
    """By id, the state of every instance in our own words: for the demo's hosts, not on the wire."""
    return {str(one.id): {"state": str(world.neutral(one))} for one in world.instances()}


def _page(
    listed: Sequence[SimulatedResource], query: dict[str, str], field: str
) -> tuple[list[SimulatedResource], str | None]:
    """The rows after the cursor, and the cursor of the following page: it names the last row, so none moves it."""
    limit = min(int(query.get("limit") or 0) or _MOST[field], _MOST[field])
    keys = [(one.kind, one.id) for one in listed]
    after = _after(query.get("after_token"))
    begin = 0
    if after is not None:
        begin = keys.index(after) + 1 if after in keys else sum(key < after for key in keys)
    page = list(listed[begin : begin + limit])
    is_last = begin + limit >= len(listed)
    return page, None if is_last else cursor(page[-1].kind, page[-1].id)


def cursor(kind: str, id_: int) -> str:
    """The token of the page after this resource."""
    return base64.b64encode(json.dumps({"values": [kind, id_]}).encode()).decode()


def _after(token: str | None) -> tuple[str, int] | None:
    if token is None:
        return None
    try:
        kind, id_ = json.loads(base64.b64decode(token, validate=True))["values"]
        return str(kind), int(id_)
    except (ValueError, TypeError, KeyError):
        code = "invalid_token"
        raise BadRequest(code, "Invalid pagination token") from None


def _json(text: str, default: Any) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        code = "invalid_request"
        raise BadRequest(code, "Error in query parameters: no JSON") from None
    return value if isinstance(value, type(default)) else default
