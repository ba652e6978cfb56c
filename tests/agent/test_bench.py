"""A benchmark: real tokens on record under its own label, and no capacity where others were served."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.bench import BENCH_LABEL, Bench, Plan, Progress
from agent.capacity import Measurement
from agent.engine.journal import JournaledEngine
from agent.engine.null import NullEngine
from agent.engine.protocol import Engine, EngineInfo, Event, GenRequest
from agent.engine.reference import ReferenceEngine
from agent.entries import Counts
from agent.errors import BenchStopped
from agent.job import Caller, new_request_id
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.meter import Meter
from agent.scheduler import Scheduler
from store.clock import SystemClock
from tests.agent.test_accounts import made

QUICK = Plan(runs=2, seconds=0.05, prompt_tokens=8, completion_tokens=16, prefill_tokens=64)


@contextlib.asynccontextmanager
async def metered(tmp_path: Path, open_engine: Callable[[], Engine]) -> AsyncIterator[tuple[Meter, LeaseBook]]:
    """A meter over an engine, with an open lease."""
    ledger, leases = Ledger(tmp_path / "ledger.db"), LeaseBook(SystemClock())
    leases.take(leases.issue_nonce(), (1, 1), is_open=True, reasons=(), ttl_s=600)
    scheduler = Scheduler(open_engine)
    meter = Meter(ledger, scheduler, leases, max_in_flight_s=60)
    await scheduler.start()
    try:
        yield meter, leases
        await idle(meter)
    finally:
        scheduler.stop()
        ledger.close()


async def idle(meter: Meter) -> None:
    async with asyncio.timeout(10):
        while meter.in_flight:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


def bench_of(meter: Meter, leases: LeaseBook, plan: Plan = QUICK, full_within_s: float = 30) -> Bench:
    assert meter.scheduler.engine is not None
    return Bench(meter.scheduler.engine, meter, leases, plan, full_within_s=full_within_s)


async def measured(bench: Bench, after: Callable[[str], None] = lambda _text: None) -> Measurement:
    """A benchmark's result; `after` hears of each step."""
    steps: list[Progress | Measurement] = []
    async for step in bench.run():
        steps.append(step)
        after(step.text if isinstance(step, Progress) else "")
    assert all(isinstance(step, Progress) for step in steps[:-1])
    assert isinstance(steps[-1], Measurement)
    return steps[-1]


def total(meter: Meter) -> Counts:
    totals = meter.ledger.totals()
    assert set(totals) == {BENCH_LABEL}
    return totals[BENCH_LABEL]


async def test_every_token_of_the_reference_engine_is_on_record(tmp_path: Path, model_dir: Path) -> None:
    journal = tmp_path / "journal"

    def opened() -> Engine:
        return JournaledEngine(ReferenceEngine(model_dir, max_batch=4), journal)

    async with metered(tmp_path, opened) as (meter, leases):
        found = await measured(bench_of(meter, leases))
        counts, engine = total(meter), made(journal)
    assert [one.batch for one in found.batches] == [1, 4]
    assert [(one.batch, one.why) for one in found.left_out] == [
        (batch, "the engine takes 4 at once") for batch in (8, 16, 32)
    ]
    assert (counts.completion_tokens, counts.prompt_tokens) == (engine["end"], engine["prompt"])
    assert (counts.cached_tokens, counts.delivered_tokens) == (0, 0)
    assert found.capacity_tokens_per_s == max(one.tokens_per_s for one in found.batches)
    for rate in (found.prefill, *found.batches):
        assert rate.slowest <= rate.tokens_per_s <= rate.fastest
    assert (found.engine, found.attention, found.is_shared, found.not_kept) == ("reference", None, False, None)


async def test_a_paced_engine_is_measured_at_its_pace(tmp_path: Path) -> None:
    async with metered(tmp_path, lambda: NullEngine(8, step_ms=4)) as (meter, leases):
        plan = QUICK.model_copy(update={"batches": (1, 8), "seconds": 0.2, "completion_tokens": 1000})
        found = await measured(bench_of(meter, leases, plan))
    one, eight = found.batches
    assert eight.tokens_per_s > one.tokens_per_s * 2
    assert found.not_kept is not None
    assert "only some batches" in found.not_kept


async def test_prompts_and_answers_are_cut_to_the_context(tmp_path: Path) -> None:
    async with metered(tmp_path, lambda: NullEngine(1, tokens_per_step=4096)) as (meter, leases):
        plan = Plan(runs=1, seconds=0.01, prompt_tokens=10**6, completion_tokens=10**6, prefill_tokens=10**6)
        found = await measured(bench_of(meter, leases, plan))
    assert (found.prompt_tokens, found.completion_tokens, found.prefill_tokens) == (16384, 16384, 16384)


async def test_without_a_lease_nothing_is_generated(tmp_path: Path) -> None:
    async with metered(tmp_path, lambda: NullEngine(1)) as (meter, leases):
        leases.take(leases.issue_nonce(), (1, 2), is_open=False, reasons=("exhausted",), ttl_s=600)
        with pytest.raises(BenchStopped, match="budget_exhausted"):
            await measured(bench_of(meter, leases))
        assert meter.ledger.totals() == {}


async def test_a_lease_that_closes_ends_it(tmp_path: Path) -> None:
    async with metered(tmp_path, lambda: NullEngine(8)) as (meter, leases):

        def close(text: str) -> None:
            if text.startswith("batch 1"):
                leases.take(leases.issue_nonce(), (1, 2), is_open=False, reasons=("draining",), ttl_s=600)

        with pytest.raises(BenchStopped, match="draining") as caught:
            await measured(bench_of(meter, leases), close)
    assert caught.value.code == "draining"


async def test_once_its_lease_has_closed_it_begins_nothing_more(tmp_path: Path) -> None:
    plan = QUICK.model_copy(update={"runs": 1, "seconds": 1.0, "completion_tokens": 2, "batches": (8,)})
    async with metered(tmp_path, lambda: NullEngine(8, step_ms=1)) as (meter, leases):

        async def stop() -> int:
            while meter.begun < 30:  # noqa: ASYNC110 - the midst of the run, which nothing announces
                await asyncio.sleep(0)
            leases.stop()
            return meter.begun

        stopping = asyncio.create_task(stop())
        with pytest.raises(BenchStopped, match="the lease is closed") as caught:
            await measured(bench_of(meter, leases, plan))
        assert meter.begun == await stopping
    assert caught.value.code == "draining"


def serve_somebody(meter: Meter) -> None:
    meter.begin([GenRequest(new_request_id(), [1, 2, 3], 50)], Caller("web", "completions", "null")).abandon()


async def test_others_come_first(tmp_path: Path) -> None:
    async with metered(tmp_path, lambda: NullEngine(2, step_ms=2)) as (meter, leases):
        serve_somebody(meter)
        with pytest.raises(BenchStopped, match="use --force"):
            await measured(bench_of(meter, leases))
        await idle(meter)
        with pytest.raises(BenchStopped, match="others are being served"):
            await measured(
                bench_of(meter, leases), lambda text: serve_somebody(meter) if "prefill" in text else None
            )


async def test_with_force_it_goes_on_and_is_no_capacity(tmp_path: Path) -> None:
    async with metered(tmp_path, lambda: NullEngine(2)) as (meter, leases):
        serve_somebody(meter)
        found = await measured(bench_of(meter, leases, QUICK.model_copy(update={"force": True})))
    assert found.is_shared
    assert found.not_kept is not None
    assert "too low" in found.not_kept


class Boasting(JournaledEngine):
    """Says that it takes more at once than it does."""

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, max_batch=4)


async def test_a_batch_that_never_runs_at_once_is_left_out(tmp_path: Path) -> None:
    plan = QUICK.model_copy(update={"batches": (1, 4), "completion_tokens": 10**4})
    async with metered(tmp_path, lambda: Boasting(NullEngine(2, step_ms=1), tmp_path / "journal")) as (
        meter,
        leases,
    ):
        found = await measured(bench_of(meter, leases, plan, full_within_s=0.3))
    assert [one.batch for one in found.batches] == [1]
    assert [one.why for one in found.left_out] == ["only 2 of 4 ran at once within 0.3 s"]


class Breaking(NullEngine):
    """Breaks once it has two sequences."""

    def step(self) -> list[Event]:
        if len(self._active) > 1:
            raise RuntimeError
        return super().step()


async def test_an_engine_that_fails_ends_it_with_its_reason(tmp_path: Path) -> None:
    async with metered(tmp_path, lambda: Breaking(4, step_ms=1)) as (meter, leases):
        with pytest.raises(BenchStopped, match="a step failed"):
            await measured(bench_of(meter, leases))
        await idle(meter)
        assert total(meter).completion_tokens > 0
