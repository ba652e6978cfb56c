"""The simulated provider's windowed bills, in the shapes of Hyperstack's documents and captures."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from console.providers.simulator_world import SimulatedResource, SimulatedWorld
from store.money import NUSD

Answer = tuple[int, dict[str, Any]]
PATH = "/billing/billing/history"
_ORG = 2058
_ENVELOPES = {
    "virtual-machine": ("billing_history_vm", "vm", "Virtual Machine"),
    "volume": ("billing_history_volume", "volume", "Volume"),
    "snapshot": ("billing_history_snapshot", "snapshot", "Snapshot"),
    "cluster": ("billing_history_cluster", "cluster", "Cluster"),
    "bucket": ("billing_history_bucket", "bucket", "Bucket"),
}
_PER_PAGE = 10  # the provider's own default


def history(world: SimulatedWorld, path: str, query: dict[str, str]) -> Answer:
    """`GET /billing/billing/history[/{kind}]`: the organisation's total, or a page of one kind's resources."""
    window = _window(query)
    if window is None:
        message = "start_date and end_date must be in the format YYYY-MM-DDTHH:MM:SS"
        return 400, {"status": False, "message": message, "error_reason": "bad_request"}
    kind = path.removeprefix(PATH).strip("/")
    if not kind:
        return 200, _organisation(world, *window)
    if kind not in _ENVELOPES:
        return 404, {"status": False, "message": f"There is no {path}", "error_reason": "not_found"}
    envelope, of_kind, title = _ENVELOPES[kind]
    rows = [_row(one, world, *window) for one in world.resources if _is_billed(one, of_kind, *window)]
    page, size = int(query.get("page") or 1), int(query.get("per_page") or _PER_PAGE)
    shown = rows[(page - 1) * size : page * size]
    if not shown:
        message = f"No {title} billing history data found for {query['start_date']} to {query['end_date']}"
        return 404, {"status": False, "message": message, "error_reason": "not_found"}
    body = {
        "org_id": _ORG,
        "billing_history": shown,
        "total_count": len(rows),
        "pagination": {"page": page, "per_page": size, "pages": -(-len(rows) // size)},
    }
    return 200, {"success": True, "message": f"Billing History for {title} Retrieved Successfully.", envelope: body}


def _organisation(world: SimulatedWorld, start: int, end: int) -> dict[str, Any]:
    bills = {
        kind: _sum([one for one in world.resources if one.kind == kind], world, start, end)
        for kind in ("vm", "volume")
    }
    metrics = {
        "incurred_bill": sum(bills.values()) / NUSD,
        "non_discounted_bill": sum(bills.values()) / NUSD,
        "vm_cost": bills["vm"] / NUSD,
        "volume_cost": bills["volume"] / NUSD,
        "snapshot_cost": 0,
        "contract_cost": 0,
    }
    row = {"attributes": {"infrahub_id": _ORG, "resource_name": "organisation"}, "metrics": metrics}
    return {
        "status": True,
        "message": "Billing History Retrieved Successfully.",
        "billing_history": {"org_id": _ORG, "billing_history": [row], "total_count": 1},
    }


def _sum(resources: Sequence[SimulatedResource], world: SimulatedWorld, start: int, end: int) -> int:
    return sum(_incurred(one, world, start, end) for one in resources)


def _is_billed(one: SimulatedResource, kind: str, start: int, end: int) -> bool:
    touched = one.created_s < end and (one.deleted_s is None or one.deleted_s > start)
    credited = any(start < second <= end for second, _ in one.credits)
    return one.kind == kind and (touched or credited)


def _incurred(one: SimulatedResource, world: SimulatedWorld, start: int, end: int) -> int:
    """Nano-dollars inside the window, as far as bills are told by now."""
    told = world.billed_s()
    return one.total_nusd(min(end, told)) - one.total_nusd(min(start, told))


def _row(one: SimulatedResource, world: SimulatedWorld, start: int, end: int) -> dict[str, Any]:
    incurred = _incurred(one, world, start, end) / NUSD
    per_hour = one.rate_at(min(end, world.now_s())) / NUSD
    last = end if one.deleted_s is None else min(end, one.deleted_s)
    return {
        "attributes": {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{one.kind}:{one.id}:{one.created_s}")),
            "infrahub_id": one.id,
            "resource_name": one.name,
            "status": one.state_at(end) if one.deleted_s is None else "DELETED",
            "contract_id": None,
        },
        "metrics": {
            "incurred_bill": incurred,
            "non_discounted_bill": incurred,
            "price_per_hour": per_hour,
            "non_discounted_price_per_hour": per_hour,
            "usage_time": max(last - max(start, one.created_s), 0),
        },
    }


def _window(query: dict[str, str]) -> tuple[int, int] | None:
    try:
        return _second(query.get("start_date", "")), _second(query.get("end_date", ""))
    except ValueError:
        return None


def _second(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp())
