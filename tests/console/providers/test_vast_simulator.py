"""The simulated Vast.ai speaks the documented dialect, and its amounts can be computed again exactly."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from console.providers.vast_simulator import VastSimulator, running_vast_simulator
from console.providers.vast_simulator_faults import TOO_FREQUENT
from console.providers.vast_simulator_world import VastWorld
from store.clock import SystemClock
from tests.console.providers.vast_account import WORLD

DAY = '{"day":{"gte":1514764800,"lte":4102444800}}'
CHARGES = f"/api/v0/charges/?select_filters={DAY}&limit=2&latest_first=false"
# the official document requires nothing, so that {} passes: what our answers must have besides
REQUIRED = {
    "/api/v0/charges": {"success", "count", "total", "next_token", "results"},
    "/api/v1/instances": {
        "success",
        "instances_found",
        "total_instances",
        "label_counts",
        "next_token",
        "instances",
    },
    "/api/v0/volumes": {"volumes"},
    "/api/v0/instances/{id}": {"instances"},
}
ROW_REQUIRED = {
    "results": {"start", "end", "type", "source", "description", "amount", "metadata", "items"},
    "volumes": {"id", "status", "disk_space", "storage_total_cost", "start_date", "machine_id", "instances"},
    "instances": {
        "id",
        "label",
        "actual_status",
        "cur_state",
        "next_state",
        "intended_status",
        "is_bid",
        "dph_total",
    }
    | {"storage_total_cost", "start_date", "public_ipaddr", "extra_env"},
}
# where the official document is wrong: its own list and the official SDK have pairs there
WRONG = {
    "/api/v0/instances/{id}": ["['instances', 'extra_env', 0]: ['SIMULATED', '1'] is not of type 'string'"],
}


@pytest.fixture
def simulator() -> Iterator[VastSimulator]:
    with running_vast_simulator(VastWorld.from_json(WORLD, SystemClock())) as running:
        yield running


@pytest.fixture(scope="module")
def document(official: Path) -> dict[str, Any]:
    return json.loads((official / "vast.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def ask(
    simulator: VastSimulator, path: str, body: dict[str, Any] | None = None, key: str | None = "key"
) -> tuple[int, Any]:
    """A GET, or with a body a PUT; its status, and its body as JSON or text."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    data = None if body is None else json.dumps(body).encode()
    method = "POST" if path.startswith("/simulator") and body is not None else "PUT" if body is not None else "GET"
    url = simulator.base_url + path.replace('"', "%22").replace("{", "%7B").replace("}", "%7D")
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            text, status = answer.read().decode(), answer.status
    except urllib.error.HTTPError as error:
        text, status = error.read().decode(), error.code
    return status, json.loads(text) if text.startswith("{") else text


def faults_of(document: dict[str, Any], method: str, path: str, status: int, body: Any) -> list[str]:
    content = document["paths"][path][method]["responses"][str(status)]["content"]
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    return [f"{list(error.path)}: {error.message}" for error in OAS31Validator(schema).iter_errors(body)]


@pytest.mark.official
def test_every_answer_is_one_that_the_official_document_accepts(
    simulator: VastSimulator, document: dict[str, Any]
) -> None:
    asked = {
        "/api/v0/charges": CHARGES,
        "/api/v1/instances": "/api/v1/instances/?limit=1",
        "/api/v0/volumes": "/api/v0/volumes?owner=me",
        "/api/v0/instances/{id}": "/api/v0/instances/8429/?owner=me",
    }
    for path, url in asked.items():
        assert faults_of(document, "get", path, 200, {}) == []  # what makes our own `REQUIRED` necessary
        status, body = ask(simulator, url)
        assert status == 200
        assert faults_of(document, "get", path, 200, body) == WRONG.get(path, [])
        assert body.keys() >= REQUIRED[path]
        for name, fields in ROW_REQUIRED.items():
            rows = body.get(name, [])
            assert all(row.keys() >= fields for row in (rows if isinstance(rows, list) else [rows]))
    status, body = ask(simulator, "/api/v0/instances/8429/", {"state": "stopped"})
    assert (status, body) == (200, {"success": True})
    assert faults_of(document, "put", "/api/v0/instances/{id}", 200, body) == []


@pytest.mark.official
@pytest.mark.parametrize(
    ("method", "path", "url", "status"),
    [
        ("get", "/api/v0/charges", "/api/v0/charges/", 400),
        ("get", "/api/v0/charges", f"{CHARGES}&after_token=x", 400),
        ("get", "/api/v1/instances", "/api/v1/instances/?after_token=x", 400),
        ("put", "/api/v0/instances/{id}", "/api/v0/instances/1/", 404),
        ("put", "/api/v0/instances/{id}", "/api/v0/instances/8429/", 400),
    ],
)
def test_every_error_is_one_that_the_official_document_accepts(
    simulator: VastSimulator, document: dict[str, Any], method: str, path: str, url: str, status: int
) -> None:
    answered, body = ask(simulator, url, {"state": "frozen"} if method == "put" else None)
    assert answered == status
    assert faults_of(document, method, path, status, body) == []
    assert body["msg"]


@pytest.mark.official
@pytest.mark.parametrize(("key", "status"), [(None, 403), ("wrong", 404)])
def test_a_wrong_key_is_answered_as_documented(
    simulator: VastSimulator, document: dict[str, Any], key: str | None, status: int
) -> None:
    answered, body = ask(simulator, CHARGES, key=key)
    assert (answered, body["error"]) == (status, "auth_error")
    assert faults_of(document, "get", "/api/v0/charges", status, body) == []


def test_pages_of_charges_are_followed_by_their_cursor(simulator: VastSimulator) -> None:
    sources, token, pages = [], "", 0
    while token is not None:
        _, body = ask(simulator, CHARGES + (f"&after_token={token}" if token else ""))
        sources += [row["source"] for row in body["results"]]
        token, pages = body["next_token"], pages + 1
    assert sources == ["instance-8429", "instance-8430", "volume-5341", "volume-8429"]
    assert pages == 2


def test_too_many_requests_is_plain_text(simulator: VastSimulator) -> None:
    assert ask(simulator, "/simulator/faults", {"fault": "429", "path_prefix": "/api"})[0] == 200
    assert ask(simulator, CHARGES) == (429, TOO_FREQUENT)


def test_the_market_outbids_and_gives_back(simulator: VastSimulator) -> None:
    def states() -> dict[str, str]:
        return {id_: one["state"] for id_, one in ask(simulator, "/simulator/instances")[1].items()}

    assert states() == {"8429": "running", "8430": "running"}
    ask(simulator, "/simulator/preempt/8429", {})
    assert states() == {"8429": "asleep", "8430": "running"}
    row = ask(simulator, "/api/v0/instances/8429/")[1]["instances"]
    assert (row["actual_status"], row["intended_status"]) == ("stopped", "running")
    ask(simulator, "/simulator/faults", {"fault": None})
    assert states() == {"8429": "running", "8430": "running"}


def test_a_stopped_instance_goes_on_billing_its_disk(simulator: VastSimulator) -> None:
    world = simulator.world
    one = world.find("vm", 8430)
    assert one is not None
    world.stop(one)
    stopped_s = world.now_s()
    assert one.total_nusd(stopped_s + 3600) - one.total_nusd(stopped_s) == 20_000_000


@pytest.mark.processes
def test_it_runs_as_a_process_and_leaves_its_account(tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text(json.dumps(WORLD), encoding="utf-8")
    (tmp_path / "key").write_text("secret\n", encoding="utf-8")
    names = {"world": "world.json", "port-file": "port", "api-key-file": "key", "account-file": "account.json"}
    command = [sys.executable, "-m", "console.providers.vast_simulator"]
    command += [part for name, file in names.items() for part in (f"--{name}", str(tmp_path / file))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "simulated Vast.ai at" in process.stdout.readline()
        url = f"http://127.0.0.1:{(tmp_path / 'port').read_text().strip()}/simulator/instances"
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert json.load(answer)["8429"] == {"state": "running"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    account = json.loads((tmp_path / "account.json").read_text(encoding="utf-8"))
    assert account["simulated"] is True
    assert {row["resource_id"] for row in account["resources"]} == {8429, 8430, 5341}
