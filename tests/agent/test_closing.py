"""The gate closes under load: nothing new reaches the engine, and what runs ends with full usage."""

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.agent.conftest import KEY, RunningAgent, running_agent, write_settings

pytestmark = pytest.mark.processes
CHAT = "/v1/chat/completions"
LIMITS = "[limits]\nmax_queue = 400\nmax_in_flight_s = 1.5\n"


def body(agent: RunningAgent, max_tokens: int, *, stream: bool) -> dict[str, Any]:
    more = {"stream_options": {"include_usage": True}} if stream else {}
    messages = [{"role": "user", "content": "Tell me about leases."}]
    return {
        "model": agent.model,
        "messages": messages,
        "max_tokens": max_tokens,
        "stream": stream,
        "temperature": 0,
        **more,
    }


async def ask(http: httpx.AsyncClient, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and, of a whole answer, finish reason and usage."""
    answer = await http.post(CHAT, json=wanted)
    if answer.status_code != 200:
        return answer.status_code, {**answer.json(), "retry_after": answer.headers.get("Retry-After")}
    if not wanted["stream"]:
        return 200, {"finish": answer.json()["choices"][0]["finish_reason"], "usage": answer.json()["usage"]}
    frames = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert frames[-1] == "[DONE]"
    events = [json.loads(frame) for frame in frames[:-1]]
    finish = [one["choices"][0]["finish_reason"] for one in events if one["choices"]]
    return 200, {"finish": finish[-1], "usage": events[-1]["usage"]}


async def under_way(agent: RunningAgent, requests: int) -> None:
    """Until the engine has so many, also on a slow machine."""
    async with asyncio.timeout(30):
        while (await asyncio.to_thread(agent.usage))["in_flight"] < requests:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.02)


async def test_200_clients_get_a_whole_answer_or_a_clean_503_while_the_gate_closes(
    tmp_path: Path, model_dir: Path
) -> None:
    with running_agent(write_settings(tmp_path, model_dir, LIMITS)) as agent:
        agent.lease()
        wanted = [await asyncio.to_thread(body, agent, 400, stream=stream) for stream in (True, False)]
        limits = httpx.Limits(max_connections=300)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=agent.public, headers=headers, timeout=60, limits=limits) as http:

            async def client(number: int) -> list[tuple[int, dict[str, Any]]]:
                await asyncio.sleep(number % 20 * 0.1)
                found = [await ask(http, wanted[number % 2])]
                while found[-1][0] == 200:
                    found.append(await ask(http, wanted[number % 2]))
                return found

            clients = [asyncio.create_task(client(number)) for number in range(200)]
            await asyncio.sleep(1.0)
            assert (await asyncio.to_thread(agent.lease, "closed", "exhausted"))[0] == 200
            answers = [answer for answers in await asyncio.gather(*clients) for answer in answers]
        whole = [answer for status, answer in answers if status == 200]
        refused = [answer for status, answer in answers if status != 200]
        assert len(whole) + len(refused) == len(answers)
        assert len(whole) >= 8
        assert len(refused) == 200
        assert {(one["error"]["code"], one["retry_after"]) for one in refused} == {("budget_exhausted", "60")}
        assert {one["finish"] for one in whole} <= {"stop", "length"}
        usage = agent.usage()
        assert usage["in_flight"] == 0
        assert usage["requests"] == len(whole)
        for field in ("prompt_tokens", "completion_tokens"):
            assert usage[field] == sum(one["usage"][field] for one in whole)


async def test_a_stream_outlives_the_closing_only_for_so_long_and_ends_as_length(
    tmp_path: Path, model_dir: Path
) -> None:
    with running_agent(write_settings(tmp_path, model_dir, "[limits]\nmax_in_flight_s = 0.4\n")) as agent:
        agent.lease()
        wanted = await asyncio.to_thread(body, agent, 4000, stream=True)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=agent.public, headers=headers, timeout=60) as http:
            streams = [asyncio.create_task(ask(http, wanted)) for _ in range(8)]  # side by side none ends by itself
            await under_way(agent, 8)
            closing_s = time.monotonic()  # before the lease is sent: its own answer may come late
            await asyncio.to_thread(agent.lease, "closed", "manual")
            answers = await asyncio.gather(*streams)
            took_s = time.monotonic() - closing_s
        assert took_s > 0.4
        counts = [whole["usage"]["completion_tokens"] for _, whole in answers]
        assert {(status, whole["finish"]) for status, whole in answers} == {(200, "length")}
        assert all(0 < count < 4000 for count in counts)
        assert agent.usage()["completion_tokens"] == sum(counts)


def rested(agent: RunningAgent) -> Any:
    """The usage, when no checkpoint has anything to count any more."""
    usage = agent.usage()
    for _ in range(20):
        time.sleep(1.2)
        before, usage = usage, agent.usage()
        if usage["busy_ms"] == before["busy_ms"]:
            return usage
    pytest.fail("the engine is busy without end")


def test_while_closed_the_engine_is_not_called_at_all(agent: RunningAgent) -> None:
    assert agent.post(CHAT, body(agent, 4, stream=False))[0] == 200
    agent.lease("closed", "dark")
    before = rested(agent)
    for _ in range(50):
        status, answer = agent.post(CHAT, body(agent, 4, stream=False))
        assert (status, answer["error"]["code"]) == (503, "billing_unobservable")
    time.sleep(1.2)
    after = agent.usage()
    for field in ("requests", "prompt_tokens", "completion_tokens", "busy_ms", "last_token_at"):
        assert after[field] == before[field]


def test_a_gate_that_closes_while_a_body_arrives_refuses_it(agent: RunningAgent) -> None:
    before = agent.usage()["requests"]
    text = json.dumps(body(agent, 4, stream=False)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Content-Length: {len(text)}\r\n\r\n"
    host, port = agent.public.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode() + text[:10])
        time.sleep(0.3)
        agent.lease("closed", "manual")
        client.sendall(text[10:])
        answer = client.recv(65536).decode()
        while "}" not in answer and (more := client.recv(65536)):  # head and body may come apart
            answer += more.decode()
    assert answer.startswith("HTTP/1.1 503")
    assert "gate_closed" in answer
    assert agent.usage()["requests"] == before


async def test_a_stop_lets_short_answers_end_and_refuses_new_ones(tmp_path: Path, model_dir: Path) -> None:
    with running_agent(write_settings(tmp_path, model_dir, "[limits]\ndrain_s = 60\n")) as agent:
        agent.lease()
        wanted, brief = [await asyncio.to_thread(body, agent, tokens, stream=True) for tokens in (1500, 1)]
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=agent.public, headers=headers, timeout=60) as http:
            answer = asyncio.create_task(ask(http, wanted))
            await under_way(agent, 1)
            agent.process.terminate()
            while (refused := await ask(http, brief))[0] == 200:
                pass  # the signal has not arrived yet
            assert (refused[0], refused[1]["error"]["code"]) == (503, "draining")
            status, whole = await answer
        assert status == 200
        assert whole["finish"] == "stop" or whole["usage"]["completion_tokens"] == 1500
        assert await asyncio.to_thread(agent.process.wait, 60) == 0
