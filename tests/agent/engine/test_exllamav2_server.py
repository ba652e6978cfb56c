"""The agent over the ExLlamaV2 adapter: a broken step fails its requests with usage, and serving goes on."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from agent.keys import Keys
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.meter import Meter
from agent.routes import Public
from agent.scheduler import Scheduler
from agent.settings import Limits
from store.clock import SystemClock
from tests.agent.engine.exllamav2_double import World, make_world

pytestmark = pytest.mark.xdist_group("torch")


@dataclass
class Served:
    """An agent's public API without a socket, and the doubles below its engine."""

    world: World
    ledger: Ledger
    meter: Meter
    http: httpx.AsyncClient

    async def complete(self, max_tokens: int = 8, **given: Any) -> tuple[int, Any]:
        body = {"model": "tiny", "prompt": "What is a lease?", "max_tokens": max_tokens, "seed": 1, **given}
        answer = await self.http.post("/v1/completions", json=body)
        return answer.status_code, answer.json()


@pytest.fixture
async def served(tmp_path: Path, model_dir: Path) -> AsyncIterator[Served]:
    keys = tmp_path / "keys"
    keys.write_text(f"tests {hashlib.sha256(b'a key').hexdigest()}\n", encoding="utf-8")
    world = make_world(model_dir)
    ledger, leases, scheduler = (
        Ledger(tmp_path / "ledger.db"),
        LeaseBook(SystemClock()),
        Scheduler(lambda: world.engine),
    )
    await scheduler.start()
    meter = Meter(ledger, scheduler, leases, max_in_flight_s=60)
    leases.take(leases.issue_nonce(), (1, 1), is_open=True, reasons=(), ttl_s=60)
    public = Public(world.engine, meter, leases, Keys("keys", keys), Limits())
    transport = httpx.ASGITransport(Starlette(routes=[*public.routes()]))
    headers = {"Authorization": "Bearer a key"}
    async with httpx.AsyncClient(transport=transport, base_url="http://agent", headers=headers) as http:
        yield Served(world, ledger, meter, http)
    scheduler.stop()
    ledger.close()


async def test_a_broken_step_fails_its_requests_with_usage_and_the_next_one_works(served: Served) -> None:
    steps = 0

    def fault() -> None:
        nonlocal steps
        steps += 1
        if steps == 1:  # of the first request; the second one may still be on its way
            begun_s = time.monotonic()
            while served.meter.in_flight < 2 and time.monotonic() - begun_s < 10:
                time.sleep(0.001)
        if steps == 6:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    status, body = await served.complete()
    assert (status, body["usage"]["completion_tokens"]) == (200, 8)
    served.world.model.fault = fault
    answers = await asyncio.gather(served.complete(200, seed=2), served.complete(300, seed=3))
    assert [status for status, _ in answers] == [500, 500]
    usages = [body["usage"] for _, body in answers]
    assert all(0 < usage["completion_tokens"] < 7 for usage in usages)
    assert all("CUDA" not in body["error"]["message"] for _, body in answers)
    assert (await served.complete())[0] == 200
    totals = served.ledger.totals()["tests"]
    assert totals.completion_tokens == 16 + sum(usage["completion_tokens"] for usage in usages)
    assert totals.prompt_tokens == 2 * body["usage"]["prompt_tokens"] + sum(one["prompt_tokens"] for one in usages)


async def test_its_attention_is_said(served: Served) -> None:
    assert (await served.http.get("/health")).json()["attention"] == "agent-paged"
    model = (await served.http.get("/v1/models")).json()["data"][0]
    assert model["mtok"]["attention"] == "agent-paged"


async def test_what_the_engine_refuses_is_a_400(served: Served) -> None:
    status, body = await served.complete(5000)
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
