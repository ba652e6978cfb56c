"""How fast an engine is: prompts read, tokens generated at several batches, and the capacity that follows.

Everything goes the way of every request, through the meter: the tokens are real, and on record under a reserved
label. The clock of a run starts once all its sequences have had their first token. Answers that end meanwhile are
followed by others, whose prompts are read on the clock.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

from pydantic import BaseModel, ConfigDict, Field

from agent.capacity import BatchRate, LeftOut, Measurement, Rate, served
from agent.engine.protocol import Delta, Engine, GenRequest
from agent.errors import BenchStopped
from agent.job import Caller, Job, new_request_id
from agent.lease import LeaseBook
from agent.meter import Meter

BENCH_LABEL = "mtok.bench"  # in the totals, under a label that no key may have
BATCHES = (1, 4, 8, 16, 32)
_FULL_WITHIN_S = 60.0
_SILENT_S = 60.0
_WORDS = "the of and to in is it on as with for was that by at from this have or had not are but what all were when"


class Plan(BaseModel):
    """What to measure; also the body of `POST /control/bench`. Without `batches`: up to the engine's most."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batches: tuple[int, ...] = Field(default=(), max_length=16)
    runs: int = Field(default=3, ge=1, le=20)
    seconds: float = Field(default=3.0, gt=0, le=60)
    prompt_tokens: int = Field(default=128, ge=1)
    completion_tokens: int = Field(default=256, ge=2)
    prefill_tokens: int = Field(default=1024, ge=2)
    force: bool = False

    def fitting(self, context_tokens: int) -> "Plan":
        """The same, with prompts and answers that a context has room for."""
        half = max(context_tokens // 2, 1)
        prompt_tokens = min(self.prompt_tokens, half)
        shorter = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": min(self.completion_tokens, context_tokens - prompt_tokens),
            "prefill_tokens": min(self.prefill_tokens, half),
        }
        return self.model_copy(update=shorter)

    def chosen(self, max_batch: int) -> tuple[list[int], list[LeftOut]]:
        """Which batches are measured, and which are left out for what reason."""
        asked = sorted({one for one in self.batches or (*BATCHES, max_batch) if one > 0})
        over = [LeftOut(batch=one, why=f"the engine takes {max_batch} at once") for one in asked if one > max_batch]
        return [one for one in asked if one <= max_batch], over


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of the benchmark that is done."""

    text: str


@dataclass(slots=True)
class _Tally:
    """What the sequences of one run have generated; `full` once each has a token, `over` `seconds` later."""

    batch: int
    seconds: float
    jobs: list[Job] = field(default_factory=list)
    begun: set[int] = field(default_factory=set)
    tokens: int = 0
    full_s: float | None = None
    last_s: float = 0.0
    failure: BenchStopped | None = None
    full: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def count(self, place: int, tokens: int, now_s: float) -> None:
        """Take note of tokens that the sequence at `place` has just had."""
        if self.full_s is not None:
            self.tokens += tokens
            self.last_s = now_s
            if now_s - self.full_s >= self.seconds:
                self.over.set()
            return
        self.begun.add(place)
        if len(self.begun) == self.batch:
            self.full_s = now_s
            self.full.set()

    def fail(self, why: BenchStopped) -> None:
        """End the run without a result."""
        self.failure = why
        self.full.set()
        self.over.set()

    @property
    def tokens_per_s(self) -> float:
        """Between the first token of the last sequence and the last token that was counted."""
        if self.failure is not None:
            raise self.failure
        if self.full_s is None or self.last_s <= self.full_s:
            raise BenchStopped("the engine made no token", "engine_failed")
        return self.tokens / (self.last_s - self.full_s)


@dataclass(slots=True)
class Bench:
    """One benchmark of a loaded engine, through its meter, under its lease."""

    engine: Engine
    meter: Meter
    leases: LeaseBook
    plan: Plan
    clock_s: Callable[[], float] = time.monotonic
    full_within_s: float = _FULL_WITHIN_S
    _begun_before: int = field(init=False)
    _was_in_use: bool = field(init=False)
    _own: int = field(init=False, default=0)
    _texts: random.Random = field(init=False, default_factory=random.Random)

    def __post_init__(self) -> None:
        self.plan = self.plan.fitting(self.engine.info.context_tokens)
        self._begun_before, self._was_in_use = self.meter.begun, self.meter.in_flight > 0

    def check(self) -> None:
        """Whether it may begin, or go on.

        Raises:
            BenchStopped: the lease is closed, or others are served while it is not forced.
        """
        closed = self.leases.closed()
        if closed is not None:
            raise BenchStopped(
                f"the lease is closed ({closed.code}); it is the collector that opens it", closed.code
            )
        if not self.plan.force and self._is_shared:
            raise BenchStopped("others are being served: try again when they are not, or use --force", "in_use")

    async def run(self) -> AsyncGenerator[Progress | Measurement, None]:
        """Measure everything; the last thing said is the measurement.

        Raises:
            BenchStopped: as `check` does, or the engine failed.
        """
        self.check()
        yield Progress(f"{self.engine.info.label}: warming up")
        await self._prefill()
        prefill = _rate([await self._prefill() for _ in range(self.plan.runs)])
        yield Progress(f"prefill {prefill.tokens_per_s:,.1f} tokens/s")
        batches, left_out = self.plan.chosen(self.engine.info.max_batch)
        found: list[BatchRate] = []
        for batch in batches:
            rates = await self._rates(batch)
            if isinstance(rates, LeftOut):
                left_out.append(rates)
                yield Progress(f"batch {batch} left out: {rates.why}")
                continue
            found.append(BatchRate(batch=batch, **_rate(rates).model_dump()))
            yield Progress(f"batch {batch}: {found[-1].tokens_per_s:,.1f} tokens/s")
        if not found:
            raise BenchStopped("no batch could be measured", "nothing_measured")
        yield self._measurement(prefill, found, left_out)

    @property
    def _is_shared(self) -> bool:
        """Whether anybody else is served, or was since the beginning."""
        return self._was_in_use or self.meter.begun - self._begun_before > self._own

    async def _rates(self, batch: int) -> list[float] | LeftOut:
        rates: list[float] = []
        for _ in range(self.plan.runs):
            rate = await self._throughput(batch)
            if isinstance(rate, LeftOut):
                return rate
            rates.append(rate)
            self.check()
        return rates

    async def _throughput(self, batch: int) -> float | LeftOut:
        """One run; the engine is idle again afterwards."""
        tally = _Tally(batch, self.plan.seconds)
        workers = [asyncio.create_task(self._generate(tally, place)) for place in range(batch)]
        try:
            async with asyncio.timeout(self.full_within_s):
                await tally.full.wait()
            async with asyncio.timeout(self.plan.seconds + _SILENT_S):
                await tally.over.wait()
            rate = tally.tokens_per_s
        except TimeoutError:
            if tally.full_s is not None:
                raise BenchStopped(f"no token for {_SILENT_S:g} s", "engine_failed") from None
            why = f"only {len(tally.begun)} of {batch} ran at once within {self.full_within_s:g} s"
            rate = None
        finally:
            for worker in workers:
                worker.cancel()
            for job in tally.jobs:
                job.abandon()
        await _settled(tally.jobs)
        return LeftOut(batch=batch, why=why) if rate is None else rate

    async def _generate(self, tally: _Tally, place: int) -> None:
        """Keep one sequence running, for as long as the benchmark may go on."""
        while tally.failure is None:
            try:
                self.check()
            except BenchStopped as error:
                tally.fail(error)
                return
            job = self._begin(self.plan.prompt_tokens, self.plan.completion_tokens)
            tally.jobs.append(job)
            async for events in job.batches():
                tokens = sum(event.tokens for event in events if isinstance(event, Delta))
                if tokens:
                    tally.count(place, tokens, self.clock_s())
            if job.failure is not None:
                tally.fail(BenchStopped(job.failure.problem, "engine_failed"))
            job.abandon()

    async def _prefill(self) -> float:
        """Tokens of a fresh prompt a second, until the answer's first token."""
        self.check()
        began_s, first_s = self.clock_s(), None
        job = self._begin(self.plan.prefill_tokens, 1)
        try:
            async for event in job.events():
                if first_s is None and isinstance(event, Delta) and event.tokens:
                    first_s = self.clock_s()
        finally:
            job.abandon()
        await _settled([job])
        if job.failure is not None or first_s is None:
            raise BenchStopped(job.failure.problem if job.failure else "the engine made no token", "engine_failed")
        usage = job.usage
        return (usage.prompt_tokens - usage.cached_tokens) / max(first_s - began_s, 1e-9)

    def _begin(self, prompt_tokens: int, completion_tokens: int) -> Job:
        prompt, seed = self._prompt(prompt_tokens), self._texts.getrandbits(31)
        wanted = GenRequest(new_request_id(), prompt, completion_tokens, seed=seed)
        self._own += 1
        return self.meter.begin([wanted], Caller(BENCH_LABEL, "bench", self.engine.info.model))

    def _prompt(self, tokens: int) -> Sequence[int]:
        """Words in an order that no prompt had before: nothing of it is cached."""
        words = _WORDS.split()
        ids: list[int] = []
        while len(ids) < tokens:
            text = " ".join(self._texts.choices(words, k=max(tokens - len(ids), 8)))
            ids += self.engine.tokens.encode(text)
        return ids[:tokens]

    def _measurement(self, prefill: Rate, batches: Sequence[BatchRate], left_out: Sequence[LeftOut]) -> Measurement:
        info, plan = self.engine.info, self.plan
        return Measurement(
            measured_at=datetime.now(UTC),
            mtok_version=version("mtok"),
            engine_version=info.version,
            context_tokens=info.context_tokens,
            **served(info),
            **plan.model_dump(include={"prompt_tokens", "completion_tokens", "prefill_tokens", "seconds", "runs"}),
            prefill=prefill,
            batches=tuple(batches),
            left_out=tuple(left_out),
            is_partial=bool(plan.batches),
            is_shared=self._is_shared,
        )


def _rate(rates: Sequence[float]) -> Rate:
    middle, slowest, fastest = median(rates), min(rates), max(rates)
    return Rate(tokens_per_s=round(middle, 3), slowest=round(slowest, 3), fastest=round(fastest, 3))


async def _settled(jobs: Sequence[Job]) -> None:
    """Wait until abandoned jobs have ended and their entries are on disk."""
    for job in jobs:
        async for _ in job.batches():
            pass
        await job.settle()
