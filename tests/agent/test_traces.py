"""Traces: what a receiver of OTLP gets of each request, and that none of it ever holds up or fails one."""

import gzip
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from agent.settings import load_agent_settings
from agent.trace_queue import SpanQueue
from agent.traces import open_traces
from store.errors import SettingsError
from tests.agent.conftest import KEY, RunningAgent, running_agent, write_settings

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET_WORDS = "the quick brown secret"


class Receiver(ThreadingHTTPServer):
    """Takes OTLP over HTTP; `status` is what it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receives)
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self, wanted: int) -> list[dict[str, Any]]:
        """Name, kind, parent, attributes and resource of each span, once so many have come."""
        deadline = time.monotonic() + 20
        while True:
            found = [span for body in list(self.bodies) for span in _spans(body)]
            if len(found) >= wanted:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.05)


class _Receives(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200 and self.path == "/v1/traces":
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            self.server.bodies.append(gzip.decompress(body) if is_packed else body)
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _spans(body: bytes) -> Iterator[dict[str, Any]]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "name": span.name,
                    "kind": span.kind,
                    "trace": span.trace_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "took_ns": span.end_time_unix_nano - span.start_time_unix_nano,
                    "status": span.status.code,
                    "resource": {one.key: _value(one.value) for one in resource.resource.attributes},
                    **{one.key: _value(one.value) for one in span.attributes},
                }


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@pytest.fixture(scope="module")
def listening() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, args=(0.01,))
    thread.start()
    yield receiver
    receiver.shutdown()
    thread.join()
    receiver.server_close()


@pytest.fixture
def receiver(listening: Receiver) -> Receiver:
    """The one receiver, as if nothing had come yet."""
    listening.status = 200
    listening.bodies.clear()
    listening.headers.clear()
    return listening


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, listening: Receiver
) -> Iterator[RunningAgent]:
    home = tmp_path_factory.mktemp("traced")
    (home / "headers").write_text("authorization=Bearer a-word", encoding="utf-8")
    more = f'[otlp]\nendpoint = "{listening.url}"\nheaders_file = "headers"\n'
    with running_agent(write_settings(home, model_dir, more)) as agent:
        agent.lease()
        yield agent


def chat(agent: RunningAgent, *, headers: dict[str, str] | None = None, **more: object) -> bytes:
    body = {"model": agent.model, "messages": [{"role": "user", "content": SECRET_WORDS}], "max_tokens": 5, **more}
    given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(f"{agent.public}/v1/chat/completions", json.dumps(body).encode(), given)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: bytes = answer.read()
    return found


def figures(agent: RunningAgent) -> dict[str, float]:
    request = urllib.request.Request(f"{agent.public}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        lines = [line.split() for line in answer.read().decode().splitlines() if "_spans_" in line]
    return {line[0]: float(line[1]) for line in lines if line[0] != "#"}


def test_each_request_is_a_span_with_its_usage_and_without_its_text(
    traced: RunningAgent, receiver: Receiver
) -> None:
    before = figures(traced)
    whole = json.loads(chat(traced, headers={"traceparent": TRACEPARENT}))
    chat(traced, stream=True)
    assert traced.post("/v1/completions", {"model": "none", "prompt": SECRET_WORDS})[0] == 404
    first, second, refused = receiver.spans(3)
    assert first["name"] == f"chat {traced.model}"
    assert (first["kind"], first["trace"], first["parent"]) == (2, *TRACEPARENT.split("-")[1:3])  # SERVER
    assert first["gen_ai.operation.name"] == "chat"
    assert first["gen_ai.provider.name"] == "mtok"
    assert first["gen_ai.request.model"] == first["gen_ai.response.model"] == traced.model
    assert first["gen_ai.request.max_tokens"] == 5
    assert first["gen_ai.response.id"] == whole["id"]
    assert first["gen_ai.usage.input_tokens"] == whole["usage"]["prompt_tokens"]
    assert first["gen_ai.usage.output_tokens"] == whole["usage"]["completion_tokens"] == 5
    assert first["gen_ai.response.finish_reasons"] == [whole["choices"][0]["finish_reason"]]
    assert f"http://{first['server.address']}:{first['server.port']}" == traced.public
    assert first["resource"]["service.name"] == "mtok-agent"
    assert first["took_ns"] > 0
    assert second["gen_ai.request.stream"] is True
    assert 0 < second["gen_ai.response.time_to_first_chunk"] <= second["took_ns"] / 10**9
    assert second["parent"] == ""
    assert (refused["error.type"], refused["status"]) == ("model_not_found", 2)
    assert refused["name"].startswith("text_completion ")
    assert receiver.headers[0]["authorization"] == "Bearer a-word"
    assert not any(SECRET_WORDS.encode() in body for body in receiver.bodies)
    assert not [key for key in (*first, *second) if "messages" in key or "instructions" in key]
    deadline = time.monotonic() + 20
    while (after := figures(traced))["mtok_agent_spans_exported_total"] < 3:
        assert time.monotonic() < deadline
    risen = {name: value - before[name] for name, value in after.items()}
    assert risen == {"mtok_agent_spans_exported_total": 3, "mtok_agent_spans_dropped_total": 0}


def test_a_receiver_that_refuses_costs_spans_and_no_request(traced: RunningAgent, receiver: Receiver) -> None:
    before = figures(traced)["mtok_agent_spans_dropped_total"]
    receiver.status = 400
    chat(traced)
    deadline = time.monotonic() + 20
    while figures(traced)["mtok_agent_spans_dropped_total"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    receiver.status = 200
    chat(traced)
    assert len(receiver.spans(1)) == 1


class _Stuck(SpanExporter):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.go.wait(10)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    stuck = _Stuck()
    queue = SpanQueue(stuck, most=3, every_s=0.01)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(queue)
    tracer = provider.get_tracer("test")
    tracer.start_span("on its way").end()
    time.sleep(0.2)  # the thread holds it
    for _ in range(5):
        tracer.start_span("waits").end()
    assert (queue.exported, queue.dropped) == (0, 2)
    stuck.go.set()
    queue.stop(5)
    assert (queue.exported, queue.dropped) == (4, 2)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ('endpoint = "localhost:4317"', "no address of HTTP"),
        ('endpoint = "http://a"\nheaders_env = "NO_SUCH_VARIABLE"', "NO_SUCH_VARIABLE is not set"),
        ('endpoint = "http://a"\nheaders_file = "headers"', "name=value"),
        ('endpoint = "http://a"\nheaders_env = "A"\nheaders_file = "b"', "either"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, more: str, problem: str) -> None:
    (tmp_path / "headers").write_text("a word", encoding="utf-8")
    path = write_settings(tmp_path, tmp_path, f"[otlp]\n{more}\n")
    with pytest.raises(SettingsError, match=problem):
        open_traces(load_agent_settings(path))


def test_without_an_endpoint_nothing_is_traced(tmp_path: Path) -> None:
    assert open_traces(load_agent_settings(write_settings(tmp_path, tmp_path))) is None
