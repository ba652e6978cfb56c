"""The simulated RunPod: every answer is one that the official document accepts, and its bills add up."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from console.providers.conformance import CHECKS, check_kind
from console.providers.conformance_bench import Check
from console.providers.registry import provider_kind
from console.providers.runpod_simulator import RunPodSimulator, running_runpod
from console.providers.runpod_simulator_world import SimulatedRunPod, bucket_at
from store.clock import SetClock

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
WORLD = {
    "instances": [
        {"id": "a", "name": "h100-a", "price_usd_per_hour": "2.39", "address": "127.0.0.1"},
        {"id": "b", "name": "l40-a", "price_usd_per_hour": "0.86"},
    ],
    "volumes": [{"id": "v", "name": "weights", "price_usd_per_hour": "0.0097223", "age_s": 90_000}],
}


@pytest.fixture(scope="session")
def document(official: Path) -> dict[str, Any]:
    return json.loads((official / "runpod.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


@pytest.fixture
def simulator(clock: SetClock) -> Iterator[RunPodSimulator]:
    """Two pods and a volume behind HTTP, an hour and eleven minutes after they began."""
    world = SimulatedRunPod.from_json(WORLD, clock)
    clock.advance(4260)
    with running_runpod(world) as running:
        yield running


def ask(
    simulator: RunPodSimulator, path: str, action: str | None = None, key: str = "key"
) -> tuple[int, Any, dict[str, str]]:
    """Status, body and headers of a GET, or of a POST with an action."""
    data = None if action is None else json.dumps({"action": action}).encode()
    request = urllib.request.Request(
        f"{simulator.base_url}{path}", data, {"Authorization": f"Bearer {key}"}, method="POST" if data else "GET"
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None, dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def faults_of(document: dict[str, Any], path: str, status: int, body: Any, headers: dict[str, str]) -> list[str]:
    """Whatever the document does not accept: the body, its type, an undocumented status or header."""
    operation = document["paths"][path]["post" if path.endswith("/action") else "get"]
    response = operation["responses"].get(str(status), operation["responses"]["default"])
    while "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    own = {name for name in headers if name not in ("Server", "Date", "Content-Type", "Content-Length")}
    found = [f"header {name} is not documented" for name in own - set(response.get("headers", {}))]
    found += [f"header {name} is missing" for name in set(response.get("headers", {})) - own]
    if "content" not in response:
        return found if body is None else [*found, "a body where there is none"]
    content = response["content"].get(headers["Content-Type"])
    if content is None:
        return [*found, f"type {headers['Content-Type']} is not documented"]
    schema = {**content["schema"], "components": document["components"]}
    return found + [f"{list(error.path)}: {error.message}" for error in OAS31Validator(schema).iter_errors(body)]


ANSWERS = [
    ("/v2/pods", "/v2/pods", None, 200),
    ("/v2/pods/{id}", "/v2/pods/a", None, 200),
    ("/v2/pods/{id}", "/v2/pods/nobody", None, 404),
    ("/v2/pods/{id}/action", "/v2/pods/a/action", "stop", 200),
    ("/v2/pods/{id}/action", "/v2/pods/a/action", "start", 409),
    ("/v2/pods/{id}/action", "/v2/pods/a/action", "hibernate", 422),
    ("/v2/pods/{id}/action", "/v2/pods/nobody/action", "stop", 404),
    ("/v2/pods/{id}/action", "/v2/pods/b/action", "terminate", 204),
    ("/v2/network-volumes", "/v2/network-volumes", None, 200),
    ("/v2/billing", "/v2/billing?bucketSize=hour&lastN=3", None, 200),
    ("/v2/billing/pods", "/v2/billing/pods?bucketSize=hour&lastN=2", None, 200),
    ("/v2/billing/pods", "/v2/billing/pods?bucketSize=year&lastN=2&podId=a", None, 200),
    ("/v2/billing/pods", "/v2/billing/pods", None, 200),
    ("/v2/billing/pods", "/v2/billing/pods?startTime=2026-10-01T00:00:00Z&bucketSize=month", None, 200),
    ("/v2/billing/pods", "/v2/billing/pods?startTime=2020-01-01T00:00:00Z&endTime=2020-02-01T00:00:00Z", None, 200),
    ("/v2/billing/pods", "/v2/billing/pods?lastN=2&startTime=2026-10-01T00:00:00Z", None, 422),
    ("/v2/billing/pods", "/v2/billing/pods?bucketSize=minute", None, 422),
    ("/v2/billing/network-volumes", "/v2/billing/network-volumes?bucketSize=week&networkVolumeId=v", None, 200),
]


@pytest.mark.official
@pytest.mark.parametrize(("path", "url", "action", "status"), ANSWERS)
def test_every_answer_is_one_that_the_official_document_accepts(
    simulator: RunPodSimulator, document: dict[str, Any], path: str, url: str, action: str | None, status: int
) -> None:
    code, body, headers = ask(simulator, url, action)
    assert code == status
    assert faults_of(document, path, code, body, headers) == []


@pytest.mark.official
def test_every_state_and_fault_is_one_that_the_official_document_accepts(
    simulator: RunPodSimulator, document: dict[str, Any], clock: SetClock
) -> None:
    for action in ("stop", "start"):
        code, body, headers = ask(simulator, "/v2/pods/a/action", action)
        assert (code, faults_of(document, "/v2/pods/{id}/action", code, body, headers)) == (200, [])
        code, body, headers = ask(simulator, "/v2/pods")
        assert faults_of(document, "/v2/pods", code, body, headers) == []
    for fault, status in (("500", 500), ("429", 429), ("missing", 200), ("empty", 200), ("rates", 200)):
        simulator.faults.set(fault)
        code, body, headers = ask(simulator, "/v2/billing/pods?bucketSize=hour&lastN=1")
        assert (code, faults_of(document, "/v2/billing/pods", code, body, headers)) == (status, [])
        assert ("Retry-After" in headers) is (status == 429)
    code, body, headers = ask(simulator, "/v2/pods", key="wrong")
    assert (code, faults_of(document, "/v2/pods", code, body, headers)) == (401, [])
    simulator.faults.set("no_stock")
    simulator.world.do(simulator.world.resources[1], "stop")
    code, body, headers = ask(simulator, "/v2/pods/b/action", "start")
    assert (code, faults_of(document, "/v2/pods/{id}/action", code, body, headers)) == (400, [])


@pytest.mark.official
def test_the_document_is_strict(document: dict[str, Any]) -> None:
    for path in (
        "/v2/pods",
        "/v2/billing",
        "/v2/billing/pods",
        "/v2/billing/network-volumes",
        "/v2/network-volumes",
    ):
        headers = {"RateLimit": "", "RateLimit-Policy": "", "Content-Type": "application/json"}
        assert faults_of(document, path, 200, {}, headers) != []


def test_a_bill_moves_in_steps_of_five_minutes_and_volumes_hourly(
    simulator: RunPodSimulator, clock: SetClock
) -> None:
    pod, volume = simulator.world.resources[0], simulator.world.resources[2]
    now = simulator.world.now_s()
    totals = [pod.total_nusd(now + second) for second in range(0, 3600, 60)]
    assert len(set(totals)) == 13  # the first look and twelve steps
    assert len({volume.total_nusd(now + second) for second in range(0, 3600, 60)}) == 2


def test_buckets_follow_one_another_whatever_their_size() -> None:
    for size in ("hour", "day", "week", "month", "year"):
        second = 1_700_000_000
        for _ in range(30):
            start, end = bucket_at(size, second)
            assert start <= second < end
            assert bucket_at(size, end)[0] == end
            second = end
    assert datetime.fromtimestamp(bucket_at("week", 1_700_000_000)[0], UTC).weekday() == 0


def test_what_is_ours_says_so(simulator: RunPodSimulator) -> None:
    assert ask(simulator, "/simulator/instances")[1] == {"a": {"state": "running"}, "b": {"state": "running"}}
    account = ask(simulator, "/simulator/account")[1]
    assert account["simulated"] is True
    assert account["billed_nusd"] == sum(row["billed_nusd"] for row in account["resources"]) > 0


@pytest.mark.parametrize("check", CHECKS, ids=[check.name for check in CHECKS])
async def test_the_adapter_keeps_every_promise_before_it(check: Check) -> None:
    (one,) = await check_kind(provider_kind("runpod"), [check])
    assert one.problem is None
