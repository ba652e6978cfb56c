"""The public API in one process: health and readiness, figures, tokens, and what a full queue is told."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from openapi_schema_validator import OAS31Validator
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from agent.engine.null import ByteTokens, NullEngine
from agent.engine.protocol import Event
from agent.keys import Keys, create_key
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.meter import Meter
from agent.quota import Quotas
from agent.routes import Public
from agent.scheduler import Scheduler
from agent.settings import Limits
from store.clock import SystemClock


class HeardTokens(ByteTokens):
    """A byte is a token; `threads` are those in which text was made into tokens."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def encode(self, text: str) -> list[int]:
        self.threads.append(threading.current_thread())
        return super().encode(text)

    def chat(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        self.threads.append(threading.current_thread())
        return super().chat(messages)


class StallingEngine(NullEngine):
    """The null engine, whose step waits until `goes_on` is set, as a wedged GPU's does, or fails."""

    def __init__(self) -> None:
        super().__init__(max_batch=2, step_ms=1)
        self.tokens: HeardTokens = HeardTokens()
        self.is_broken = False
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.steps = threading.Event()

    def step(self) -> list[Event]:
        self.steps.set()
        self.goes_on.wait(20)
        if self.is_broken:
            raise RuntimeError("broken")
        return super().step()


@dataclass
class World:
    """An agent's public API without a socket."""

    engine: StallingEngine
    leases: LeaseBook
    meter: Meter
    http: httpx.AsyncClient
    keys: Path
    quotas: Quotas

    def open(self, ttl_s: float = 60) -> None:
        self.seq = getattr(self, "seq", 0) + 1
        nonce = self.leases.issue_nonce()
        assert self.leases.take(nonce, (1, self.seq), is_open=True, reasons=(), ttl_s=ttl_s)

    async def chat(self, key: str = "a key", **changes: Any) -> httpx.Response:
        messages = [{"role": "user", "content": "Hello"}]
        body = {"model": "null", "messages": messages, "max_tokens": 4, **changes}
        headers = {"Authorization": f"Bearer {key}"}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    async def complete(self, prompt: object) -> httpx.Response:
        body = {"model": "null", "prompt": prompt, "max_tokens": 4}
        return await self.http.post("/v1/completions", json=body)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    path = tmp_path / "keys"
    path.write_text(f"tests {hashlib.sha256(b'a key').hexdigest()}\nothers {'0' * 64}\n", encoding="utf-8")
    keys, clock = Keys("keys", path), SystemClock()
    ledger, engine, leases = Ledger(tmp_path / "ledger.db"), StallingEngine(), LeaseBook(clock)
    scheduler, quotas = Scheduler(lambda: engine), Quotas(keys, ledger, clock)
    await scheduler.start()
    meter = Meter(ledger, scheduler, leases, max_in_flight_s=60, quotas=quotas)
    limits = Limits(max_batch=2, max_queue=2)
    public = Public(engine, meter, leases, keys, limits, wedged_after_s=30)
    transport = httpx.ASGITransport(Starlette(routes=[*public.routes()]))
    headers = {"Authorization": "Bearer a key"}
    async with httpx.AsyncClient(transport=transport, base_url="http://agent", headers=headers) as http:
        world = World(engine, leases, meter, http, path, quotas)
        world.open()
        yield world
    engine.goes_on.set()
    scheduler.stop()
    ledger.close()


async def under_way(world: World, sequences: int) -> None:
    async with asyncio.timeout(30):
        while world.meter.scheduler.in_flight < sequences:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def test_a_wedged_engine_is_unhealthy_and_takes_nothing_new(world: World) -> None:
    assert (await world.http.get("/health")).status_code == 200
    world.engine.goes_on.clear()
    hanging = asyncio.create_task(world.chat())
    assert await asyncio.to_thread(world.engine.steps.wait, 30)
    world.meter.scheduler._beat_s -= 31  # half a minute later
    await asyncio.sleep(0.6)  # an idle heart would have beaten
    health = await world.http.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "wedged")
    for answer in (await world.chat(), await world.http.get("/ready")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_wedged")
        assert int(answer.headers["Retry-After"]) > 0
    world.engine.goes_on.set()
    assert (await hanging).status_code == 200
    assert (await world.http.get("/health")).status_code == 200
    assert (await world.http.get("/ready")).status_code == 200


async def test_ready_is_what_a_request_would_be_told(world: World) -> None:
    assert (await world.http.get("/ready")).json() == {"status": "ready"}
    world.open(ttl_s=0)
    ready, chat = await world.http.get("/ready"), await world.chat()
    assert ready.status_code == chat.status_code == 503
    assert ready.json() == chat.json()
    assert (await world.http.get("/health")).status_code == 200  # not serving is no illness


async def test_a_full_queue_is_a_429_with_a_time_and_choices_count(world: World) -> None:
    world.engine.goes_on.clear()
    held = [asyncio.create_task(world.chat(n=2)) for _ in range(2)]
    await under_way(world, 4)
    answer = await world.chat()
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")
    assert answer.json()["error"]["code"] == "queue_full"
    assert int(answer.headers["Retry-After"]) > 0
    assert (await world.http.get("/ready")).status_code == 429
    world.engine.goes_on.set()
    assert [(await one).status_code for one in held] == [200, 200]
    assert (await world.chat(n=5)).status_code == 400  # never, however long one waits


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frequency_penalty", 1),
        ("logit_bias", {"7": 1}),
        ("logprobs", True),
        ("min_p", 0.1),
        ("presence_penalty", 1),
        ("repetition_penalty", 1.1),
        ("response_format", {"type": "json_object"}),
        ("stop", "x"),
        ("top_k", 5),
    ],
)
async def test_what_the_engine_lacks_is_refused_and_never_ignored(world: World, name: str, value: Any) -> None:
    nothing: dict[str, Any] = {name: None}
    answer = await world.chat(**{name: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    assert answer.json()["error"]["code"] == "unsupported_parameter"
    assert (await world.chat(**nothing)).status_code == 200


async def test_figures_are_counters_by_label_and_only_rise(world: World) -> None:
    async def figures() -> dict[tuple[str, str], float]:
        text = (await world.http.get("/metrics")).text
        families = list(text_string_to_metric_families(text))
        kinds = {family.name: family.type for family in families}
        assert kinds["mtok_agent_completion_tokens"] == kinds["mtok_agent_refused"] == "counter"
        samples = [sample for family in families for sample in family.samples]
        return {(one.name, "".join(one.labels.values())): one.value for one in samples}

    before = await figures()
    usage = (await world.chat()).json()["usage"]
    await world.chat(model="another")
    after = await figures()
    assert after["mtok_agent_completion_tokens_total", "tests"] == usage["completion_tokens"]
    assert after["mtok_agent_prompt_tokens_total", "tests"] == usage["prompt_tokens"]
    assert after["mtok_agent_requests_total", "tests"] == 1
    assert after["mtok_agent_refused_total", "model_not_found"] == 1
    for key, value in before.items():
        assert after[key] >= value or not key[0].endswith("_total")


async def test_a_key_sees_no_other_labels_figures(world: World) -> None:
    await world.chat()
    text = (await world.http.get("/metrics", headers={"Authorization": "Bearer a key"})).text
    assert 'label="tests"' in text
    assert "others" not in text
    assert (await world.http.get("/metrics", headers={"Authorization": "Bearer none"})).status_code == 401


async def test_text_goes_to_tokens_and_back(world: World) -> None:
    ids = (await world.http.post("/tokenize", json={"prompt": "wörld"})).json()
    assert ids == {"tokens": list("wörld".encode()), "count": 6, "max_model_len": 32768}
    back = await world.http.post("/detokenize", json={"tokens": ids["tokens"]})
    assert back.json() == {"prompt": "wörld"}
    chat = await world.http.post("/tokenize", json={"messages": [{"role": "user", "content": "Hello"}]})
    assert chat.json()["count"] == (await world.chat()).json()["usage"]["prompt_tokens"]
    assert (await world.http.post("/detokenize", json={"tokens": [256]})).status_code == 400
    assert (await world.http.post("/tokenize", json={"prompt": "a", "messages": []})).status_code == 400


async def test_the_document_is_sound_and_names_every_path(world: World) -> None:
    document = (await world.http.get("/openapi.json", headers={"Authorization": ""})).json()
    for schema in document["components"]["schemas"].values():
        OAS31Validator.check_schema(schema)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answer = await world.http.request(method, path.replace("{model}", "null"))
            assert str(answer.status_code) in operation["responses"]
            assert answer.status_code != 404


async def test_a_long_text_is_tokenised_beside_the_event_loop(world: World) -> None:
    long = "word " * 6000
    assert (await world.http.post("/tokenize", json={"prompt": long})).json()["count"] == len(long)
    assert threading.main_thread() not in world.engine.tokens.threads


async def test_so_are_many_short_messages_and_several_texts(world: World) -> None:
    await world.chat(messages=[{"role": "user", "content": ""}] * 2000)
    await world.complete(["word " * 1500] * 4)
    assert len(world.engine.tokens.threads) == 5
    assert threading.main_thread() not in world.engine.tokens.threads


async def test_a_short_one_is_tokenised_where_it_is(world: World) -> None:
    await world.chat()
    await world.complete(["a", "b"])
    assert world.engine.tokens.threads == [threading.main_thread()] * 3


async def test_more_prompts_than_there_is_room_for_are_not_tokenised(world: World) -> None:
    answer = await world.complete(["a"] * 5)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
    assert not world.engine.tokens.threads


async def test_what_is_refused_whatever_its_prompt_is_not_tokenised(world: World) -> None:
    often, daily = (
        create_key(world.keys, "often", requests_per_minute=2),
        create_key(world.keys, "daily", tokens_per_day=1),
    )
    await asyncio.sleep(0.3)  # the keys' file is looked at four times a second
    world.quotas.count("daily", 1)
    world.engine.goes_on.clear()
    held = [asyncio.create_task(world.chat(n=2)), asyncio.create_task(world.chat())]
    await asyncio.sleep(0.1)
    world.engine.tokens.threads.clear()
    assert (await world.chat(n=2)).json()["error"]["code"] == "queue_full"
    assert (await world.chat(daily)).json()["error"]["code"] == "insufficient_quota"
    assert not world.engine.tokens.threads
    world.engine.goes_on.set()
    assert [(await one).status_code for one in held] == [200, 200]
    assert [(await world.chat(often)).status_code for _ in range(2)] == [200, 200]  # each is counted once
    world.engine.tokens.threads.clear()
    assert (await world.chat(often)).json()["error"]["code"] == "rate_limit_exceeded"
    assert not world.engine.tokens.threads


async def test_a_prompt_that_turns_out_too_long_is_counted_as_asked(world: World) -> None:
    often = create_key(world.keys, "often", requests_per_minute=1)
    await asyncio.sleep(0.3)
    too_long = [{"role": "user", "content": "word " * 10_000}]
    answers = [await world.chat(often, messages=too_long) for _ in range(2)]
    assert [one.status_code for one in answers] == [400, 429]


async def test_what_says_that_the_log_has_the_traceback_says_true(world: World) -> None:
    world.engine.is_broken = True
    with structlog.testing.capture_logs() as told:
        answer = await world.chat()
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "engine_failed"
    assert "its log has the traceback" in answer.json()["error"]["message"]
    assert [(line["event"], line["exc_info"]) for line in told] == [("engine step failed", True)]


async def test_a_client_that_goes_ends_the_generation_within_a_token(world: World) -> None:
    asking = asyncio.create_task(world.chat(max_tokens=20_000))
    await under_way(world, 1)
    asking.cancel()
    async with asyncio.timeout(15):  # all of it would take 20 s
        while world.meter.in_flight:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
    assert world.meter.scheduler.in_flight == 0
    assert world.meter.ledger.totals()["tests"].completion_tokens < 2000
