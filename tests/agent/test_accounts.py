"""Three accounts of the same tokens: what clients were told, what the ledger holds, what the engine made."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.agent.conftest import KEY, RunningAgent, risen, running_agent, write_settings

pytestmark = pytest.mark.processes
ASKED: list[dict[str, Any]] = [
    {"prompt": "Once"},
    {"prompt": "Once", "n": 3},
    {"prompt": ["Once upon a time", "there was"], "n": 2},
    {"prompt": [[7, 8, 9], [10]], "seed": 3, "temperature": 2},
    {"prompt": "Once", "stop": ["a", "e"], "n": 2},
]


async def told(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """The usage of one answer, whole or streamed."""
    answer = await http.post("/v1/completions", json=body)
    assert answer.status_code == 200
    if not body.get("stream"):
        return answer.json()["usage"]  # type: ignore[no-any-return]
    frames = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return httpx.Response(200, text=frames[-2]).json()["usage"]  # type: ignore[no-any-return]


def made(journal: Path) -> Counter[str]:
    """What the engine's own journal adds up to."""
    found: Counter[str] = Counter()
    for line in journal.read_text(encoding="utf-8").splitlines():
        _, _, what, number = line.split()
        found[what] += int(number)
    return found


async def test_clients_ledger_and_engine_agree_to_the_token(tmp_path: Path, model_dir: Path) -> None:
    settings = write_settings(tmp_path, model_dir, 'engine_journal = "journal"\n')
    with running_agent(settings) as agent:
        agent.lease()
        base = {"model": agent.model, "max_tokens": 12}
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        bodies = [{**base, **asked, **more} for asked in ASKED for more in ({}, stream)] * 3
        # without the tokens that end an answer
        endless = {**base, "prompt": "x", "n": 2, "max_tokens": 4000, "logit_bias": {"2": -100, "5": -100}}
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=agent.public, headers=headers, timeout=60) as http:
            usages = await asyncio.gather(*(told(http, body) for body in bodies))
            with pytest.raises(httpx.ReadTimeout):
                await http.post("/v1/completions", json=endless, timeout=0.3)
        while agent.usage()["in_flight"]:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.02)
        ledger, engine = agent.usage(), made(tmp_path / "journal")
    assert ledger["requests"] == len(bodies) + 1
    assert ledger["prompt_tokens"] == engine["prompt"]
    assert ledger["cached_tokens"] == engine["cached"]
    assert ledger["completion_tokens"] == engine["end"]
    for field in ("prompt_tokens", "completion_tokens"):
        answered = sum(usage[field] for usage in usages)
        assert answered < ledger[field]  # the one that went is on record, and nobody was told
    assert ledger["delivered_tokens"] == sum(usage["completion_tokens"] for usage in usages)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_schema_that_leads_nowhere_is_at_fault_and_its_tokens_are_told(
    agent: RunningAgent, *, is_stream: bool
) -> None:
    name, before = "a" * 40, agent.usage()
    schema = {"type": "object", "properties": {name: {"$ref": f"#/properties/{name}"}}, "required": [name]}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    body: dict[str, Any] = {"model": agent.model, "max_tokens": 200, "response_format": wanted}
    body["messages"] = [{"role": "user", "content": "Hello"}]
    if is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    async with httpx.AsyncClient(base_url=agent.public, headers={"Authorization": f"Bearer {KEY}"}) as http:
        answer = await http.post("/v1/chat/completions", json=body, timeout=30)
    assert answer.status_code == (200 if is_stream else 400)  # a stream has begun before that is known
    if is_stream:
        *_, usage, error, _ = answer.text.split("\n\ndata: ")
        found = {**json.loads(usage), **json.loads(error)}
    else:
        found = answer.json()
    assert (found["error"]["code"], found["error"]["type"]) == ("invalid_schema", "invalid_request_error")
    grown = risen(before, agent.usage())
    assert found["usage"]["completion_tokens"] == grown["completion_tokens"] > 0
