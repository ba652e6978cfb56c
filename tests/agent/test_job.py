"""Several sequences are one request: one entry, whose counts are their sums."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.null import NullEngine
from agent.engine.protocol import Delta, Event, Failed, Finished, GenRequest, Outcome, Started, Usage
from agent.job import Caller, Job, new_request_id
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.meter import Meter
from agent.scheduler import Scheduler
from store.clock import SystemClock

CALLER = Caller("tests", "completions", "null")


@pytest.fixture
async def meter(tmp_path: Path) -> AsyncIterator[Meter]:
    ledger = Ledger(tmp_path / "ledger.db")
    scheduler = Scheduler(lambda: NullEngine(max_batch=3, step_ms=2))
    await scheduler.start()
    yield Meter(ledger, scheduler, LeaseBook(SystemClock()), max_in_flight_s=60)
    scheduler.stop()
    ledger.close()


def sequences(*limits: int) -> list[GenRequest]:
    return [GenRequest(new_request_id(), [1, 2, 3], limit) for limit in limits]


def entries(meter: Meter) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(meter.ledger.path)) as connection:
        query = "SELECT outcome, prompt_tokens, completion_tokens, delivered_tokens FROM entries"
        return connection.execute(query).fetchall()


async def test_the_entry_sums_over_the_sequences(meter: Meter) -> None:
    job = meter.begin(sequences(4, 6, 2, 3), CALLER)  # one more than are active at once
    seen = [event async for event in job.events()]
    assert sum(isinstance(event, Finished) for event in seen) == 4
    assert {job.index(event) for event in seen} == {0, 1, 2, 3}
    await job.settle()
    assert job.usage == Usage(12, 0, 15)
    assert entries(meter) == [("length", 12, 15, 0)]
    assert meter.in_flight == 0


async def test_a_client_that_goes_ends_all_of_them(meter: Meter) -> None:
    job = meter.begin(sequences(5000, 5000, 5000, 5000), CALLER)
    await asyncio.sleep(0.05)
    job.abandon()
    async with asyncio.timeout(5):
        while meter.in_flight:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
    ((outcome, prompt, completion, _),) = entries(meter)
    assert (outcome, prompt) == ("cancelled", 9)  # the fourth never began
    assert completion == job.usage.completion_tokens > 0
    assert meter.scheduler.in_flight == 0


async def test_a_cap_is_shared_out_to_the_token(meter: Meter) -> None:
    job = meter.begin(sequences(5000, 5000, 5000), CALLER)
    await asyncio.sleep(0.02)
    wanted = job.usage.completion_tokens + 100
    job.cap(wanted)
    async for _ in job.events():
        pass
    assert job.usage.completion_tokens == wanted
    await job.settle()
    assert entries(meter)[0][0] == "capped"


async def test_one_that_fails_ends_the_others_and_all_that_was_used_is_on_record(meter: Meter) -> None:
    wanted = sequences(5000, 5000)
    job = meter.begin(wanted, CALLER)
    await asyncio.sleep(0.02)
    job.hear(Failed(wanted[0].id, "broken", Usage()))
    async for _ in job.events():
        pass
    await job.settle()
    ((outcome, prompt, completion, _),) = entries(meter)
    assert outcome == "failed"
    assert prompt == 6
    assert completion == job.usage.completion_tokens >= 2


class Nobody:
    """Takes what a job asks of the engine's thread."""

    def cap(self, request_id: str, tokens: int) -> None: ...
    def cancel(self, request_id: str) -> None: ...


@pytest.mark.parametrize(
    ("tokens", "told", "counted"),
    [
        (0, Usage(), Usage(5000, 40, 0)),  # while it read the prompt
        (2, Usage(), Usage(5000, 40, 2)),
        (2, Usage(completion_tokens=3), Usage(5000, 40, 2)),
        (2, Usage(5000, 40, 1), Usage(5000, 40, 2)),
        (2, Usage(5000, 40, 4), Usage(5000, 40, 4)),
    ],
)
def test_an_engine_that_broke_takes_nothing_back(tokens: int, told: Usage, counted: Usage) -> None:
    (one,) = sequences(9)
    job = Job([one], CALLER, Nobody(), lambda _job: None)  # type: ignore[arg-type, return-value]
    job.hear(Started(one.id, Usage(5000, 40)))
    job.hear(Delta(one.id, "x" * tokens, tokens))
    job.hear(Failed(one.id, "broken", told))
    assert job.usage == counted


steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=30)


@given(steps, st.lists(st.sampled_from(list(Outcome)[:5]), min_size=3, max_size=3))
def test_counts_are_the_engines_whatever_the_order_of_its_words(
    said: list[tuple[int, int]], ends: list[Outcome]
) -> None:
    wanted = sequences(9, 9, 9)
    job = Job(wanted, CALLER, Nobody(), lambda _job: None)  # type: ignore[arg-type, return-value]
    counts = [0, 0, 0]
    events: list[Event] = [Started(one.id, Usage(3, 1, 0)) for one in wanted]
    for index, tokens in said:
        counts[index] += tokens
        events.append(Delta(wanted[index].id, "x" * tokens, tokens))
    for event in events:
        before = job.usage
        job.hear(event)
        assert job.usage.completion_tokens >= before.completion_tokens
        assert job.entry().outcome is None
    assert job.usage == Usage(9, 3, sum(counts))
    for one, outcome, tokens in zip(wanted, ends, counts, strict=True):
        job.hear(Finished(one.id, outcome, Usage(3, 1, tokens)))
    assert job.is_ended
    assert job.usage == Usage(9, 3, sum(counts))
    assert job.entry().outcome in ends
