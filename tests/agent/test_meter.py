"""However an exchange ends, its job is settled: one entry, and nothing left in flight."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from agent.answers import Shape
from agent.engine.null import NullEngine
from agent.engine.protocol import Finished, GenRequest, Outcome, Usage
from agent.engine.reference import ReferenceEngine
from agent.entries import Counts
from agent.job import Caller, Job, new_request_id
from agent.keys import Keys, create_key
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.meter import Meter
from agent.quota import Quotas
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


def begin(meter: Meter, max_tokens: int = 12, label: str = "tests") -> Job:
    request = GenRequest(
        id=new_request_id(), prompt=[5, 6, 7], max_tokens=max_tokens, temperature=0, top_p=1, seed=1, stop=()
    )
    return meter.begin([request], Caller(label, "chat.completions", "tiny"))


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def settled(meter: Meter) -> None:
    await until(lambda: not meter.in_flight)


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


def on_disk(meter: Meter, query: str = "SELECT outcome, completion_tokens FROM entries") -> list[Any]:
    with contextlib.closing(sqlite3.connect(meter.ledger.path)) as connection:
        return connection.execute(query).fetchall()


async def test_a_request_is_on_record_from_its_first_moment_and_progress_each_second(meter: Meter) -> None:
    meter.start()
    job = begin(meter, max_tokens=3000)
    await until(lambda: bool(on_disk(meter)))
    ((outcome, first),) = on_disk(meter)
    assert outcome == ""
    await until(lambda: on_disk(meter)[0][1] > first)
    ((_, second),) = on_disk(meter)
    assert meter.ledger.totals()["tests"].completion_tokens >= second
    job.abandon()
    await settled(meter)
    assert on_disk(meter)[0][0] == "cancelled"
    await meter.stop()


async def test_a_request_may_run_only_so_long(meter: Meter) -> None:
    slow = Meter(meter.ledger, meter.scheduler, LeaseBook(SystemClock()), 60, max_request_s=0.2)
    slow.start()
    job = begin(slow, max_tokens=4000)
    last = [event async for event in job.events()][-1]
    assert isinstance(last, Finished)
    assert last.outcome is Outcome.CAPPED
    await job.settle()
    assert on_disk(meter) == [("capped", last.usage.completion_tokens)]
    await slow.stop()


async def test_an_opening_between_two_checkpoints_begins_the_time_after_a_closing_anew(meter: Meter) -> None:
    leases = LeaseBook(SystemClock())
    brief = Meter(meter.ledger, meter.scheduler, leases, max_in_flight_s=0.6)
    brief.start()
    await asyncio.sleep(1.0)  # a checkpoint has found it closed
    leases.take(leases.issue_nonce(), (1, 1), is_open=True, reasons=(), ttl_s=60)
    job = begin(brief, max_tokens=4000)
    await asyncio.sleep(0.3)
    leases.take(leases.issue_nonce(), (1, 2), is_open=False, reasons=("manual",), ttl_s=60)
    closed_s = time.monotonic()
    last = [event async for event in job.events()][-1]
    assert isinstance(last, Finished)
    assert last.outcome is Outcome.CAPPED
    assert time.monotonic() - closed_s > 0.6
    await job.settle()
    await brief.stop()


async def test_an_answer_that_nobody_reads_is_settled_all_the_same(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.meter._UNREAD_S", 0.1)
    meter.start()
    begin(meter)
    await settled(meter)
    assert on_disk(meter)[0][0] in ("length", "finished")
    await meter.stop()


async def test_while_entries_cannot_be_written_nothing_new_is_taken(meter: Meter) -> None:
    meter.start()
    with contextlib.closing(sqlite3.connect(meter.ledger.path)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        job = begin(meter, max_tokens=2)
        async for _ in job.events():
            pass
        settling = asyncio.create_task(job.settle())
        await until(lambda: meter.refuses("tests", 1) is not None)
        refusal = meter.refuses("tests", 1)
        assert refusal is not None
        assert (refusal.status, refusal.code) == (503, "ledger_unwritable")
        assert meter.in_flight == 1
        other.execute("DROP TRIGGER full")
        await settling
    assert meter.refuses("tests", 1) is None
    assert meter.ledger.totals()["tests"].requests == 1
    await meter.stop()


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[Meter]:
    """A meter, open and started, whose engine needs 5 ms for a token."""
    ledger, leases = Ledger(tmp_path / "ledger.db"), LeaseBook(SystemClock())
    leases.take(leases.issue_nonce(), (1, 1), is_open=True, reasons=(), ttl_s=600)
    scheduler = Scheduler(lambda: NullEngine(max_batch=4, step_ms=5))
    await scheduler.start()
    slow = Meter(ledger, scheduler, leases, max_in_flight_s=0.2, max_request_s=600)
    slow.start()
    yield slow
    await slow.stop()
    scheduler.stop()
    ledger.close()


@contextlib.contextmanager
def hanging(ledger: Ledger) -> Iterator[None]:
    """A disk on which no commit fails and none ends."""
    ledger._connection.execute("PRAGMA busy_timeout = 600000")
    with contextlib.closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def wal_bytes(meter: Meter) -> int:
    return Path(f"{meter.ledger.path}-wal").stat().st_size


async def outcome_of(job: Job) -> Outcome:
    async with asyncio.timeout(30):
        last = [event async for event in job.events()][-1]
    assert isinstance(last, Finished)
    return last.outcome


async def test_limits_do_not_wait_for_a_commit(slow: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    job = begin(slow, max_tokens=20_000)
    with hanging(slow.ledger):
        await asyncio.sleep(1.2)  # a checkpoint hangs
        monkeypatch.setattr(slow, "_max_request_s", 0.1)
        assert await outcome_of(job) is Outcome.CAPPED
        settling = asyncio.create_task(job.settle())
        await asyncio.sleep(0.1)
        assert slow.in_flight == 1
    await settling
    assert on_disk(slow) == [("capped", job.usage.completion_tokens)]


async def test_while_a_commit_hangs_nothing_new_is_taken_and_what_runs_is_as_if_the_lease_had_closed(
    slow: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.meter._LATE_S", 1.0)
    job = begin(slow, max_tokens=20_000)
    assert slow.refuses("tests", 1) is None
    with hanging(slow.ledger):
        await until(lambda: slow.refuses("tests", 1) is not None)
        refusal = slow.refuses("tests", 1)
        assert refusal is not None
        assert (refusal.status, refusal.code) == (503, "ledger_unwritable")
        assert await outcome_of(job) is Outcome.CAPPED
    await until(lambda: slow.refuses("tests", 1) is None)
    await job.settle()


async def test_a_ledger_that_goes_while_nothing_runs_closes_the_api_until_it_is_back(
    slow: Meter, tmp_path: Path
) -> None:
    aside = slow.ledger.path.rename(tmp_path / "aside.db")
    await until(lambda: slow.refuses("tests", 1) is not None)
    aside.replace(slow.ledger.path)
    await until(lambda: slow.refuses("tests", 1) is None)
    before = wal_bytes(slow)
    await asyncio.sleep(2)
    assert wal_bytes(slow) == before  # a look writes nothing


async def test_the_totals_are_not_said_to_be_fresher_than_they_are(slow: Meter) -> None:
    before = datetime.now(UTC)
    assert before <= slow.counted_at <= datetime.now(UTC)  # nothing is in flight
    job = begin(slow, max_tokens=20_000)
    await until(lambda: slow.ledger.totals().get("tests", Counts()).completion_tokens > 0)
    assert slow.counted_at > before
    with hanging(slow.ledger):
        hung_at, tokens = datetime.now(UTC), job.usage.completion_tokens
        await until(lambda: job.usage.completion_tokens > tokens + 50)
        assert slow.counted_at <= hung_at
        assert slow.ledger.totals()["tests"].completion_tokens <= tokens
    await until(lambda: slow.counted_at > hung_at)
    assert slow.ledger.totals()["tests"].completion_tokens > tokens
    job.abandon()


async def test_what_has_ended_is_in_the_totals_before_anybody_has_read_it(slow: Meter) -> None:
    job = begin(slow, max_tokens=3)
    await until(lambda: slow.ledger.totals().get("tests", Counts()).completion_tokens == 3)
    assert slow.in_flight == 1
    assert on_disk(slow) == [("", 3)]
    job.delivered_tokens = 2
    await job.settle()
    assert on_disk(slow) == [("length", 3)]
    assert slow.ledger.totals()["tests"] == Counts(1, 3, 0, 3, 2)


async def test_prompts_that_wait_for_the_engine_are_held_against_the_quota(meter: Meter, tmp_path: Path) -> None:
    create_key(tmp_path / "keys", "daily", tokens_per_day=10)
    quotas = Quotas(Keys("keys_file", tmp_path / "keys"), meter.ledger, SystemClock())
    limited = Meter(meter.ledger, meter.scheduler, LeaseBook(SystemClock()), 60, quotas=quotas)
    # no event of the engine arrives in between
    jobs = [begin(limited, label="daily") for _ in range(5) if limited.refuses("daily", 3) is None]
    assert len(jobs) == 3
    for job in jobs:
        job.abandon()
    await settled(limited)
    used = meter.ledger.totals()["daily"]
    assert quotas.left("daily") == 10 - used.prompt_tokens - used.completion_tokens
    assert used.prompt_tokens <= 9


async def test_a_stop_waits_for_what_runs_and_then_caps_it(meter: Meter) -> None:
    short, long = begin(meter, max_tokens=3), begin(meter, max_tokens=4000)
    await until(lambda: short.is_ended)
    await meter.drain(0.1)
    assert meter.in_flight == 2  # nobody has read them to the end
    await meter.stop()
    assert meter.in_flight == 0
    outcomes = dict(on_disk(meter, "SELECT id, outcome FROM entries"))
    assert outcomes[short.id] in ("length", "finished")
    assert outcomes[long.id] == "capped"


async def test_tokens_taken_back_or_drafted_are_on_the_entry(meter: Meter) -> None:
    job = begin(meter, max_tokens=2)
    async for _ in job.events():
        pass
    job.hear(Finished(job.id, Outcome.STOPPED, Usage(3, 1, 9, suppressed_tokens=2, draft_tokens=4)))
    await job.settle()
    assert meter.ledger.totals()["tests"] == Counts(1, 3, 1, 9, 0, 2, 4)
