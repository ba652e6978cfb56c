"""An agent in a process of its own, as clients and the collector meet it."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.cli import main
from tests.agent.conftest import (
    KEY,
    SECRET,
    SERVE,
    RunningAgent,
    addresses,
    put_empty_ledger,
    risen,
    running_agent,
    write_settings,
)

pytestmark = pytest.mark.processes
CHAT = "/v1/chat/completions"


def chat(agent: RunningAgent, **changes: Any) -> dict[str, Any]:
    body = {"model": agent.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    return {**body, **changes}


def test_no_lease_no_serving(tmp_path: Path, model_dir: Path) -> None:
    with running_agent(write_settings(tmp_path, model_dir), makes_ledger=True) as agent:
        status, body = agent.post(CHAT, chat(agent))
        assert (status, body["error"]["code"], body["error"]["type"]) == (503, "no_lease", "service_unavailable")
        assert int(body["retry_after"]) > 0
        assert agent.lease()[0] == 200
        assert agent.post(CHAT, chat(agent))[0] == 200
        assert agent.lease("closed", "exhausted")[1]["verdict"] == "closed"
        assert agent.post(CHAT, chat(agent))[1]["error"]["code"] == "budget_exhausted"
        assert agent.usage()["requests"] == 1  # what was refused never reached the engine


def test_an_older_lease_is_answered_with_the_one_in_force(agent: RunningAgent) -> None:
    in_force = agent.seq
    for older in (in_force - 1, in_force):
        agent.seq = older - 1
        status, body = agent.lease("closed", "dark")
        assert status == 409
        assert body["seq"] == [1, in_force]
        assert body["verdict"] == "open"


def test_usage_is_always_on_an_answer(agent: RunningAgent) -> None:
    before = agent.usage()
    status, body = agent.post(CHAT, chat(agent, seed=7))
    assert status == 200
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 1 <= usage["completion_tokens"] <= 8
    again = agent.post(CHAT, chat(agent, seed=7))[1]
    assert again["choices"] == body["choices"]  # a seed repeats
    totals = agent.usage()
    grown = risen(before, totals)
    assert grown["completion_tokens"] == usage["completion_tokens"] + again["usage"]["completion_tokens"]
    assert grown["requests"] == 2
    assert totals["labels"]["tests"]["requests"] >= 2
    assert totals["busy_ms"] > before["busy_ms"]


async def test_clients_of_the_openai_package_and_the_ledger_agree(agent: RunningAgent) -> None:
    import openai  # a second, and every worker reads this file

    client = openai.AsyncOpenAI(base_url=f"{agent.public}/v1", api_key=KEY)
    model, before = agent.model, agent.usage()

    async def one(n: int) -> int:
        messages: Any = [{"role": "user", "content": f"Count to {n}."}]
        if n % 2:
            whole = await client.chat.completions.create(model=model, messages=messages, max_tokens=5 + n)
            return whole.usage.completion_tokens if whole.usage else -1
        stream = await client.chat.completions.create(
            model=model,
            messages=messages,
            max_tokens=5 + n,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-1].choices == []
        return chunks[-1].usage.completion_tokens if chunks[-1].usage else -1

    received = await asyncio.gather(*(one(n) for n in range(20)))
    await client.close()
    usage = agent.usage()
    grown = risen(before, usage)
    assert grown["completion_tokens"] == sum(received)
    assert grown["delivered_tokens"] == sum(received)
    assert grown["requests"] == 20
    assert usage["in_flight"] == 0


def test_a_stream_is_framed_to_the_byte(agent: RunningAgent) -> None:
    body = chat(agent, stream=True, stream_options={"include_usage": True})
    with posted(agent, body) as answer:
        frames = answer.read().decode().split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    events = [json.loads(one.removeprefix("data: ")) for one in frames[:-2]]
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert events[-2]["choices"][0]["finish_reason"] in ("length", "stop")
    assert events[-1]["choices"] == []
    assert {event["usage"] for event in events[:-1]} == {None}  # as OpenAI's own
    assert {event["object"] for event in events} == {"chat.completion.chunk"}


@contextlib.contextmanager
def posted(agent: RunningAgent, body: dict[str, Any]) -> Iterator[http.client.HTTPResponse]:
    """The answer to a chat that streams, as it comes."""
    headers = {"Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"{agent.public}{CHAT}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield answer


def of_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A `response_format`."""
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


SCHEMA = "response_format.json_schema.schema"


@pytest.mark.parametrize(
    ("changes", "status", "code", "param"),
    [
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"temperature": 3}, 400, "invalid_value", "temperature"),
        ({"max_tokens": 0}, 400, "invalid_value", "max_tokens"),
        ({"max_tokens": "8"}, 400, "invalid_value", "max_tokens"),
        ({"n": 0}, 400, "invalid_value", "n"),
        ({"n": 100}, 400, "invalid_value", "n"),
        ({"colour": 1}, 400, "unknown_parameter", "colour"),
        (
            {"messages": [{"role": "user", "content": "a", "name": "b"}]},
            400,
            "unsupported_parameter",
            "messages.0.name",
        ),
        ({"messages": [{"role": "tool", "content": "a"}]}, 400, "invalid_value", "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "invalid_value",
            "messages.0.content",
        ),
        ({"logit_bias": {"2048": 1}}, 400, "invalid_value", "logit_bias"),
        ({"logit_bias": {"7": 101}}, 400, "invalid_value", "logit_bias.7"),
        ({"logit_bias": {"x": 1}}, 400, "invalid_value", "logit_bias.x"),
        ({"top_logprobs": 2}, 400, "invalid_value", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "invalid_value", "top_logprobs"),
        ({"max_completion_tokens": 3}, 400, "invalid_value", "max_tokens"),
        ({"stream_options": {"include_usage": True}}, 400, "invalid_value", "stream_options"),
        ({"response_format": {"type": "xml"}}, 400, "invalid_value", "response_format"),
        ({"frequency_penalty": 2.1}, 400, "invalid_value", "frequency_penalty"),
        ({"repetition_penalty": 0}, 400, "invalid_value", "repetition_penalty"),
        ({"stop": ""}, 400, "invalid_value", "stop"),
        ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter", "tools"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "invalid_value", "messages.0.content"),
        ({"stop": ["a", "b", "c", "d", "e"]}, 400, "invalid_value", "stop"),
        ({"max_tokens": 5000}, 400, "context_length_exceeded", "messages"),
        ({"response_format": of_schema({"$ref": "#"})}, 400, "invalid_schema", SCHEMA),
        ({"model": "gpt-4"}, 404, "model_not_found", "model"),
    ],
)
def test_a_malformed_request_is_answered_in_openais_shape(
    agent: RunningAgent, changes: dict[str, Any], status: int, code: str, param: str
) -> None:
    answered, body = agent.post(CHAT, chat(agent, **changes))
    error = body["error"]
    assert (answered, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": NaN}'])
def test_what_is_no_json_is_a_400(agent: RunningAgent, raw: bytes) -> None:
    status, body = agent.post(CHAT, raw)
    assert status == 400
    assert body["error"]["type"] == "invalid_request_error"


def test_completions_take_text_and_token_ids(agent: RunningAgent) -> None:
    text = agent.post("/v1/completions", {"model": agent.model, "prompt": "Hello", "max_tokens": 4})[1]
    assert text["object"] == "text_completion"
    ids = {"model": agent.model, "prompt": [10, 11, 12], "max_tokens": 4}
    assert agent.post("/v1/completions", ids)[1]["usage"]["prompt_tokens"] == 3
    assert agent.post("/v1/completions", {**ids, "prompt": [10**9]})[0] == 400
    assert agent.post("/v1/completions", {**ids, "prompt": []})[0] == 400


def test_keys_and_secrets_are_asked_for(agent: RunningAgent) -> None:
    assert agent.call(f"{agent.public}/v1/models", key="wrong")[0] == 401
    assert agent.call(f"{agent.control}/control/usage", key=KEY)[0] == 401
    assert agent.call(f"{agent.public}/control/usage", key=SECRET)[0] == 404


def test_it_says_what_it_is(agent: RunningAgent) -> None:
    model = agent.call(f"{agent.public}/v1/models")[1]["data"][0]
    assert "random weights" in model["mtok"]["engine_label"]
    status = agent.call(f"{agent.control}/control/status", key=SECRET)[1]
    assert status["engine"]["name"] == "reference"
    assert isinstance(status["gpu"], list) or status["gpu"]["unknown"].startswith("no GPU figures: ")
    assert "random weights" in agent.call(f"{agent.public}/health")[1]["engine"]


def test_a_client_that_goes_away_ends_its_request_and_is_accounted_for(agent: RunningAgent) -> None:
    before = agent.usage()
    host, port = agent.public.removeprefix("http://").split(":")
    raw = json.dumps(chat(agent, max_tokens=4000, temperature=0, stream=True)).encode()
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Length: {len(raw)}\r\n\r\n".encode()
            + raw
        )
        assert client.recv(100)
        time.sleep(0.3)
    for _ in range(100):
        usage = agent.usage()
        grown = risen(before, usage)
        if usage["in_flight"] == 0 and grown["requests"]:
            break
        time.sleep(0.05)
    assert grown["requests"] == 1
    assert 0 < grown["completion_tokens"] < 4000
    assert grown["delivered_tokens"] <= grown["completion_tokens"]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("after_s", [0.0, 0.004, 0.02], ids=["at once", "soon", "near the end"])
def test_a_storm_of_closed_connections_leaves_nothing_open(
    agent: RunningAgent, stream: bool, after_s: float
) -> None:
    before = agent.usage()["requests"]
    body = json.dumps(chat(agent, stream=stream, max_tokens=16)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    host, port = agent.public.removeprefix("http://").split(":")
    for _ in range(40):
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head.encode() + body)
            time.sleep(after_s)
    deadline = time.monotonic() + 15
    while agent.usage()["in_flight"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert agent.usage()["in_flight"] == 0
    assert 0 <= agent.usage()["requests"] - before <= 40
    status, answer = agent.post(CHAT, chat(agent))
    assert status == 200, answer


def test_a_kill_loses_no_finished_request(tmp_path: Path, model_dir: Path) -> None:
    settings = write_settings(tmp_path, model_dir)
    with running_agent(settings) as agent:
        agent.lease()
        done = [agent.post(CHAT, chat(agent))[1]["usage"]["completion_tokens"] for _ in range(5)]
        stream = subprocess.Popen(
            [
                *SERVE[:2],
                "import sys, urllib.request as u\n"
                "r = u.Request(sys.argv[1], sys.argv[2].encode(), {'Authorization': 'Bearer ' + sys.argv[3]})\n"
                "u.urlopen(r).read()",
                f"{agent.public}{CHAT}",
                json.dumps(chat(agent, max_tokens=4000, temperature=0, stream=True)),
                KEY,
            ],
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while (before := agent.usage())["completion_tokens"] == sum(done):  # until the stream's first checkpoint
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(agent.process.pid, signal.SIGKILL)
        agent.process.wait()
        stream.wait(10)
    with running_agent(settings) as again:
        after = again.usage()
        assert after["ledger"] == before["ledger"]
        assert after["nonce"] != before["nonce"]
        assert after["completion_tokens"] >= before["completion_tokens"] >= sum(done)
        assert after["requests"] == 6
        status = again.call(f"{again.control}/control/status", key=SECRET)[1]
        assert status["ledger"]["aborted_at_start"] == 1


def test_a_stop_ends_requests_with_full_usage(tmp_path: Path, model_dir: Path) -> None:
    settings = write_settings(tmp_path, model_dir, "[limits]\ndrain_s = 0.5\n")
    with running_agent(settings) as agent:
        agent.lease()
        body = chat(agent, max_tokens=4000, temperature=0, stream=True, stream_options={"include_usage": True})
        with posted(agent, body) as answer:
            first = answer.readline()
            agent.process.terminate()
            text = (first + answer.read()).decode()
        assert agent.process.wait(15) == 0
    events = [json.loads(one.removeprefix("data: ")) for one in text.split("\n\n") if one.startswith("data: {")]
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert 0 < events[-1]["usage"]["completion_tokens"] < 4000
    with running_agent(settings) as again:
        assert again.usage()["completion_tokens"] == events[-1]["usage"]["completion_tokens"]


@pytest.fixture
def fault(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[Path], tuple[int, str]]]:
    """The exit code of an agent that does not begin to serve, and its last line."""

    def run(settings: Path) -> tuple[int, str]:
        code, err = main(["serve", "--config", str(settings)]), capsys.readouterr().err
        assert "Traceback" not in err
        return code, err.strip().splitlines()[-1]

    yield run
    structlog.reset_defaults()  # it had begun to log


def test_a_port_in_use_is_one_line(
    agent: RunningAgent, tmp_path: Path, model_dir: Path, fault: Callable[[Path], tuple[int, str]]
) -> None:
    settings = write_settings(tmp_path, model_dir)
    own, taken = addresses(settings)[0], agent.public
    settings.write_text(settings.read_text(encoding="utf-8").replace(own[7:], taken[7:]), encoding="utf-8")
    code, line = fault(settings)
    assert code == 2
    assert "public_address: cannot listen on" in line


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (('name = "a"', 'name = "a"\ncolour = 1'), "colour: there is no such setting"),
        (('keys_file = "keys"', 'keys_file = "none"'), "cannot read"),
        (('control_secret_file = "control.secret"', 'control_secret_env = "NONE_SUCH"'), "NONE_SUCH is not set"),
        (('control_address = "127.0.0.1', 'control_address = "0.0.0.0'), "is not loopback"),
        (('ledger = "ledger.db"\n', ""), "ledger: this setting is missing"),
        (('public_address = "', 'public_address = "x'), "public_address"),
    ],
)
def test_a_fault_in_the_settings_is_one_line(
    tmp_path: Path,
    model_dir: Path,
    fault: Callable[[Path], tuple[int, str]],
    change: tuple[str, str],
    names: str,
) -> None:
    settings = write_settings(tmp_path, model_dir)
    text = settings.read_text(encoding="utf-8")
    assert change[0] in text
    settings.write_text(text.replace(*change), encoding="utf-8")
    code, line = fault(settings)
    assert code == 2
    assert names in line


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    settings = write_settings(tmp_path, model)
    put_empty_ledger(tmp_path / "ledger.db")
    done = subprocess.run([*SERVE, str(settings)], capture_output=True, text=True, timeout=30, check=False)
    line = done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert "model" in line
    assert "config.json" in line
