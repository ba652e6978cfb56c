"""A client that goes away is noticed within a token, whether it streams or waits."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from agent.disconnect import UntilGone
from tests.agent.conftest import KEY, RunningAgent, running_agent, write_settings

STEP_MS = 20


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """An agent that makes a token each 20 ms."""
    home = tmp_path_factory.mktemp("agent")
    more = f'engine = "null"\n[null]\ntokens_per_step = 1\nstep_ms = {STEP_MS}\n'
    with running_agent(write_settings(home, home / "model", more)) as running:
        running.lease()
        yield running


@pytest.mark.processes
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_what_is_made_after_a_client_has_gone_is_a_token_or_two(paced: RunningAgent, stream: bool) -> None:
    before = paced.usage()
    body = {"model": "null", "messages": [{"role": "user", "content": "a"}], "max_tokens": 5000, "stream": stream}
    raw = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
    host, port = paced.public.removeprefix("http://").split(":")
    began_s = time.monotonic()
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
        while not paced.usage()["in_flight"]:
            time.sleep(0.01)
        time.sleep(0.5)
        received = client.recv(1 << 20).count(b'"content":"a"') if stream else 0
    left_s = time.monotonic()
    while paced.usage()["in_flight"]:
        time.sleep(0.01)
    after = paced.usage()
    completion = after["completion_tokens"] - before["completion_tokens"]
    delivered = after["delivered_tokens"] - before["delivered_tokens"]
    assert after["requests"] - before["requests"] == 1
    if stream:
        assert received <= delivered <= completion <= delivered + 2
        assert completion <= (left_s - began_s) / (STEP_MS / 1000) + 15
    else:
        assert delivered == 0
        assert completion <= (left_s - began_s) / (STEP_MS / 1000) + 15
    assert time.monotonic() - left_s < 60  # its tokens would take longer


async def test_a_block_ends_where_it_waits_when_the_client_goes() -> None:
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    asyncio.get_running_loop().call_later(0.02, gone.set)
    with pytest.raises(ClientDisconnect):
        async with UntilGone(receive):
            await asyncio.sleep(10)
    await asyncio.sleep(0)  # the task itself is not cancelled any more


async def test_a_cancellation_by_others_stays_one() -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(10)
        return {}

    async def block() -> None:
        async with UntilGone(receive):
            await asyncio.sleep(10)

    task = asyncio.create_task(block())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
