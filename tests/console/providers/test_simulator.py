"""The simulated provider speaks the documented dialect, and its amounts can be computed again exactly."""

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS30Validator

from console.providers import simulator_bodies as bodies
from console.providers.simulator import Simulator
from console.providers.simulator_account import account
from console.providers.simulator_faults import Faults
from console.providers.simulator_world import Impossible, SimulatedWorld
from store.clock import SetClock
from store.money import parse_nusd

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)

# the official document requires nothing, so that {} passes: what our answers must have besides
REQUIRED = {
    "/billing/billing/usage": {"status", "message", "data"},
    "/core/virtual-machines": {"status", "message", "count", "instances"},
    "/core/volumes": {"status", "message", "count", "volumes"},
    "/core/virtual-machines/{vm_id}": {"status", "message", "instance"},
    "/core/virtual-machines/{vm_id}/hibernate": {"status", "message"},
    "/core/virtual-machines/{vm_id}/hibernate-restore": {"status", "message"},
}
USAGE_FIELDS = {
    "resource_id",
    "resource_type",
    "name",
    "organization_id",
    "bill_per_minute",
    "create_time",
    "terminate_time",
    "total_up_time",
    "total_bill",
    "active",
    "exclude_billing",
}
# where the official document is wrong: the provider's own captures have nulls there, and it allows none
WRONGLY_NOT_NULLABLE = {
    "terminate_time",
    "bill_per_minute",
    "contract_id",
    "cluster_id",
    "fixed_ip",
    "floating_ip",
    "page",
    "page_size",
}


@pytest.fixture(scope="session")
def document(official: Path) -> dict[str, Any]:
    return json.loads((official / "hyperstack.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def get(simulator: Simulator, path: str, key: str = "key") -> tuple[int, Any]:
    request = urllib.request.Request(f"{simulator.base_url}{path}", headers={"api_key": key})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def without_known_nulls(value: Any) -> Any:
    """The body, less the nulls in places where the document wrongly has none."""
    if isinstance(value, dict):
        kept = {name: one for name, one in value.items() if one is not None or name not in WRONGLY_NOT_NULLABLE}
        return {name: without_known_nulls(one) for name, one in kept.items()}
    return [without_known_nulls(one) for one in value] if isinstance(value, list) else value


def faults_of(document: dict[str, Any], path: str, status: int, body: Any) -> list[str]:
    content = document["paths"][path]["get"]["responses"][str(status)]["content"]
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    return [f"{list(error.path)}: {error.message}" for error in OAS30Validator(schema).iter_errors(body)]


@pytest.mark.official
def test_every_answer_is_one_that_the_official_document_accepts(
    simulator: Simulator, document: dict[str, Any]
) -> None:
    asked = {
        "/billing/billing/usage": "/billing/billing/usage",
        "/core/virtual-machines": "/core/virtual-machines?page=1&pageSize=10",
        "/core/volumes": "/core/volumes",
        "/core/virtual-machines/{vm_id}": "/core/virtual-machines/8429",
        "/core/virtual-machines/{vm_id}/hibernate": "/core/virtual-machines/8429/hibernate?retain_ip=true",
        "/core/virtual-machines/{vm_id}/hibernate-restore": "/core/virtual-machines/8429/hibernate-restore",
    }
    for path, url in asked.items():
        status, body = get(simulator, url)
        assert status == 200
        assert faults_of(document, path, 200, without_known_nulls(body)) == []
        assert REQUIRED[path] <= body.keys()
    for row in get(simulator, "/billing/billing/usage")[1]["data"]:
        assert row.keys() == USAGE_FIELDS


@pytest.mark.official
@pytest.mark.parametrize(
    ("path", "url", "status"),
    [
        ("/core/virtual-machines/{vm_id}/hibernate", "/core/virtual-machines/1/hibernate", 404),
        ("/core/virtual-machines/{vm_id}/hibernate-restore", "/core/virtual-machines/8429/hibernate-restore", 400),
    ],
)
def test_every_error_is_one_that_the_official_document_accepts(
    simulator: Simulator, document: dict[str, Any], path: str, url: str, status: int
) -> None:
    code, body = get(simulator, url)
    assert code == status
    assert faults_of(document, path, status, body) == []
    assert body.keys() == {"status", "message", "error_reason"}
    assert get(simulator, url, key="wrong")[0] == 401


@pytest.mark.official
def test_the_document_is_still_wrong_about_nulls(document: dict[str, Any]) -> None:
    """When this fails the provider has mended it: shorten the list."""
    body = {"status": True, "data": [{"terminate_time": None, "bill_per_minute": None}]}
    faults = faults_of(document, "/billing/billing/usage", 200, body)
    assert {name for fault in faults for name in ("terminate_time", "bill_per_minute") if name in fault} == {
        "terminate_time",
        "bill_per_minute",
    }
    assert faults_of(document, "/billing/billing/usage", 200, {}) == []  # and it still requires nothing


def test_the_providers_own_sdk_drives_it(simulator: Simulator) -> None:
    # some seconds that no other test needs
    from hyperstack.api.billing_api import BillingApi
    from hyperstack.api.virtual_machine_api import VirtualMachineApi
    from hyperstack.api_client import ApiClient
    from hyperstack.configuration import Configuration

    def status(machines: VirtualMachineApi) -> str | None:
        machine = machines.get_vm(vm_id=8429).instance
        return machine.status if machine else None

    settings = Configuration(host=simulator.base_url, api_key={"apiKey": "key"})
    with ApiClient(settings) as client:
        machines = VirtualMachineApi(client)
        listed = machines.list_vms(page=1, page_size=10)
        assert [machine.id for machine in listed.instances or ()] == [8429, 8430]
        assert machines.hibernate_vm(vm_id=8429, retain_ip="true").status is True
        assert status(machines) == "HIBERNATED"
        assert machines.restore_vm_from_hibernation(vm_id=8429).status is True
        assert status(machines) == "ACTIVE"
        assert len(BillingApi(client).get_usage().data or ()) == 4


def world_at(clock: SetClock) -> SimulatedWorld:
    world = SimulatedWorld(clock, hibernate_s=3, restore_s=4)
    world.create_instance({"id": 1, "name": "a", "price_usd_per_hour": "2.00", "asleep_usd_per_hour": "0.016"})
    return world


def test_hibernating_stops_the_gpus_bill() -> None:
    clock = SetClock(START)
    world = world_at(clock)
    machine = world.resources[0]
    clock.advance(3600)
    assert machine.total_nusd(world.now_s()) == 2_000_000_000
    world.hibernate(machine)
    assert machine.state_at(world.now_s()) == "HIBERNATING"
    with pytest.raises(Impossible):
        world.restore(machine)
    clock.advance(3600)
    assert machine.state_at(world.now_s()) == "HIBERNATED"
    assert machine.total_nusd(world.now_s()) == 2_016_000_000
    world.restore(machine)
    clock.advance(4)
    assert machine.state_at(world.now_s()) == "ACTIVE"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.booleans()), max_size=8), st.integers(0, 20_000))
def test_a_bill_only_rises_and_its_text_is_exact(acts: list[tuple[int, bool]], look_s: int) -> None:
    clock = SetClock(START)
    world = world_at(clock)
    machine = world.resources[0]
    for seconds, does_sleep in acts:
        clock.advance(seconds)
        state = machine.state_at(world.now_s())
        if does_sleep and state == "ACTIVE":
            world.hibernate(machine)
        elif not does_sleep and state == "HIBERNATED":
            world.restore(machine)
    second = world.began_s + look_s
    total = machine.total_nusd(second)
    assert 0 <= machine.total_nusd(second - 1) <= total <= machine.total_nusd(second + 1)
    assert parse_nusd(repr(bodies.noisy(total, second))) == total


def test_a_frozen_bill_stands_while_the_world_goes_on() -> None:
    clock = SetClock(START)
    world = world_at(clock)
    Faults(world).set("freeze")
    clock.advance(3600)
    (row,) = bodies.usage(world, deleted=False)["data"]
    assert row["total_bill"] == 0
    (billed,) = account(world, world.began_s, world.now_s())["resources"]
    assert billed["billed_nusd"] == 2_000_000_000


def test_a_part_of_the_list_is_a_page(simulator: Simulator) -> None:
    _, body = get(simulator, "/core/virtual-machines?page=2&pageSize=1")
    assert [machine["id"] for machine in body["instances"]] == [8430]
    assert body["count"] == 2
    assert get(simulator, "/core/virtual-machines")[1]["page"] is None
