"""A job as a stream: nothing is held up, silence is broken by pings, and the entry comes before the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.answers import DONE, Shape
from agent.engine.null import NullEngine
from agent.engine.protocol import Delta, Failed, Finished, GenRequest, Outcome, Started, Usage
from agent.job import Caller, Job, new_request_id
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.meter import Meter
from agent.scheduler import Scheduler
from agent.stream import PING, streamed
from store.clock import SystemClock


@pytest.fixture
async def meter(tmp_path: Path) -> AsyncIterator[Meter]:
    ledger = Ledger(tmp_path / "ledger.db")
    scheduler = Scheduler(lambda: NullEngine(max_batch=4, step_ms=5))
    await scheduler.start()
    yield Meter(ledger, scheduler, LeaseBook(SystemClock()), max_in_flight_s=60)
    scheduler.stop()
    ledger.close()


@pytest.fixture
async def silent(meter: Meter) -> AsyncIterator[Job]:
    """A job of which the engine says nothing but what the test says for it."""
    wanted = [GenRequest(new_request_id(), [1, 2], 10) for _ in range(2)]
    job = Job(wanted, Caller("tests", "completions", "null"), meter.scheduler, meter.settle)
    yield job
    for one in wanted:
        if not job.is_ended:
            job.hear(Failed(one.id, "over", Usage()))
    await job.settle()


def shaped(job: Job, **changes: Any) -> Shape:
    return Shape(**{"chat": False, "request_id": job.id, "model": "null", "choices": 2, **changes})


def bodies(data: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


async def test_what_came_together_is_sent_together_and_at_once(silent: Job) -> None:
    first, second = (GenRequest(id_, [1], 1) for id_ in silent._parts)
    stream = streamed(silent, shaped(silent))
    assert await anext(stream) == (b"", 0)
    silent.hear(Started(first.id, Usage(2)))
    silent.hear(Delta(first.id, "a", 1))
    silent.hear(Delta(second.id, "b", 2))
    data, tokens = await anext(stream)
    assert tokens == 3
    assert [(one["choices"][0]["index"], one["choices"][0]["text"]) for one in bodies(data)] == [(0, "a"), (1, "b")]
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    silent.hear(Delta(first.id, "c", 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiting.done()


async def test_silence_is_broken_by_pings(silent: Job) -> None:
    stream = streamed(silent, shaped(silent), ping_s=0.05)
    await anext(stream)
    for _ in range(3):
        assert await asyncio.wait_for(anext(stream), 0.3) == (PING, 0)
    silent.hear(Delta(next(iter(silent._parts)), "a", 1))
    assert (await anext(stream))[1] == 1


async def test_the_entry_is_on_disk_before_the_last_frames(meter: Meter) -> None:
    job = meter.begin([GenRequest(new_request_id(), [1, 2], 3)], Caller("tests", "completions", "null"))
    parts = []
    async for data, tokens in streamed(job, shaped(job, choices=1, with_usage=True)):
        if b"finish_reason" in data and b'"length"' in data:
            assert meter.ledger.totals()["tests"].completion_tokens == 3
            assert meter.in_flight == 0
        job.delivered_tokens += tokens
        parts.append(data)
    whole = b"".join(parts)
    assert whole.endswith(DONE)
    assert bodies(whole)[-1]["usage"]["completion_tokens"] == 3
    assert meter.ledger.totals()["tests"].delivered_tokens == 3


async def test_a_failure_in_the_middle_tells_the_usage_first(silent: Job) -> None:
    first, second = silent._parts
    stream = streamed(silent, shaped(silent, with_usage=True))
    silent.hear(Started(first, Usage(2)))
    silent.hear(Delta(first, "a", 1))
    silent.hear(Failed(first, "broken", Usage(2, 0, 1)))
    silent.hear(Finished(second, Outcome.CANCELLED, Usage()))
    *_, usage, error = bodies(b"".join([data async for data, _ in stream]))
    assert usage["usage"]["total_tokens"] == 3
    assert error["error"]["code"] == "engine_failed"
    assert silent.entry().outcome is Outcome.FAILED
