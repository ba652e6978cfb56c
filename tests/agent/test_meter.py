"""However an exchange ends, its job is settled: one entry, and nothing left in flight."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from agent.engine.protocol import Finished, GenRequest
from agent.engine.reference import ReferenceEngine
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.job import Caller, Job, new_request_id
from agent.meter import Meter
from agent.answers import Shape
from agent.scheduler import Scheduler
from agent.stream import JobResponse
from store.clock import SystemClock

# what a server says of itself decides how Starlette learns that a client has gone: by `receive`, or by `send`
SPECS = ["2.3", "2.4"]


@pytest.fixture
async def meter(tmp_path: Path, model_dir: Path) -> AsyncIterator[Meter]:
    ledger = Ledger(tmp_path / "ledger.db")
    scheduler = Scheduler(lambda: ReferenceEngine(model_dir, max_batch=4))
    await scheduler.start()
    yield Meter(ledger, scheduler, LeaseBook(SystemClock()), max_in_flight_s=60)
    scheduler.stop()
    ledger.close()


def begin(meter: Meter, max_tokens: int = 12) -> Job:
    request = GenRequest(
        id=new_request_id(), prompt=[5, 6, 7], max_tokens=max_tokens, temperature=0, top_p=1, seed=1, stop=()
    )
    return meter.begin([request], Caller("tests", "chat.completions", "tiny"))


async def settled(meter: Meter) -> None:
    async with asyncio.timeout(10):
        while meter.in_flight:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def send_to(response: JobResponse, spec: str, gone_after: int) -> None:
    """Send to a client that takes `gone_after` messages and has then gone."""
    taken = 0
    gone = asyncio.Event()
    if not gone_after:
        gone.set()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_message: MutableMapping[str, Any]) -> None:
        nonlocal taken
        taken += 1
        if taken > gone_after:
            gone.set()
            if spec == "2.4":
                raise OSError
            await asyncio.sleep(30)  # a full buffer towards nobody

    with contextlib.suppress(ClientDisconnect):
        await response({"type": "http", "asgi": {"spec_version": spec}}, receive, send)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("gone_after", range(0, 18, 3))
async def test_a_client_that_goes_at_any_message_leaves_no_open_entry(
    meter: Meter, spec: str, gone_after: int
) -> None:
    job = begin(meter)
    shape = Shape(chat=True, request_id=job.id, model="tiny", with_usage=True)
    await send_to(JobResponse(job, shape), spec, gone_after)
    await settled(meter)
    counts = meter.ledger.totals()["tests"]
    assert counts.requests == 1
    assert counts.delivered_tokens <= counts.completion_tokens <= 12


async def test_whoever_waits_for_an_entry_may_be_cancelled(meter: Meter) -> None:
    job = begin(meter)
    async for event in job.events():
        if isinstance(event, Finished):
            waiting = asyncio.create_task(job.settle())
            await asyncio.sleep(0)
            waiting.cancel()
    await settled(meter)
    assert meter.ledger.totals()["tests"].requests == 1


async def test_an_entry_is_written_once(meter: Meter) -> None:
    job = begin(meter)
    async for _ in job.events():
        pass
    await asyncio.gather(job.settle(), job.settle())
    job.abandon()
    await settled(meter)
    assert meter.ledger.totals()["tests"].requests == 1
