"""Exactly one ledger entry for every request that reaches the engine, however it ends.

A job belongs to the meter, not to the HTTP exchange that asked for it: a client that goes away cancels the
generation, and the entry is written all the same.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from agent.engine.protocol import Delta, Event, Failed, Finished, GenRequest, Outcome
from agent.entries import Counts, Entry
from agent.errors import LedgerUnwritable
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.quota import Quotas, Refusal
from agent.scheduler import Scheduler

log = structlog.get_logger()
LOST_AT_MOST_S = 1.0  # of a running request, by a SIGKILL
_CHECKPOINT_EVERY_S = 0.8  # a second, less the time that a commit may take
_OPENED_WITHIN_S = 0.05  # what is younger leaves no entry when the agent is killed
_STOPS_WITHIN_S = 5.0
_SETTLES_WITHIN_S = 2.0
_UNREAD_S = 30.0  # a client that reads no further keeps its entry open for no longer
_IDS = random.Random(os.urandom(32))  # noqa: S311 - no secret; asking the system each time costs 40 µs with threads
_NEAR_TOKENS = 8  # so close to its end a quota is shared out among the running requests


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, through what."""

    label: str
    endpoint: str
    model: str


class Job:
    """One request under way. The HTTP side reads `events`, counts what it sent, and settles or abandons."""

    def __init__(self, meter: "Meter", request: GenRequest, caller: Caller) -> None:
        self.id = request.id
        self.started_at = datetime.now(UTC)
        self.delivered_tokens = 0
        self._meter, self._caller = meter, caller
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._counts = Counts(requests=1)
        self._last: Finished | Failed | None = None
        self._is_abandoned = False
        self._settled: asyncio.Task[None] | None = None

    async def events(self) -> AsyncIterator[Event]:
        """What the engine says of this request, to its last word."""
        while True:
            event = await self._queue.get()
            yield event
            if isinstance(event, Finished | Failed):
                return

    def hear(self, event: Event) -> None:
        """Take an event in; called on the event loop, in the engine's order."""
        if isinstance(event, Delta):
            self._counts = self._counts.plus_completion(event.tokens)
            self._meter.last_token_at = datetime.now(UTC)
        else:
            self._counts = Counts.of_usage(event.usage)
        self._queue.put_nowait(event)
        if isinstance(event, Finished | Failed):
            self._last = event
            if self._is_abandoned:
                self._settling()

    async def settle(self) -> None:
        """Wait until the entry is on disk. Whoever waits may be cancelled; the writing goes on."""
        await asyncio.shield(self._settling())

    def abandon(self) -> None:
        """Nobody reads on: end the generation if it runs, and let the entry be written all the same."""
        self._is_abandoned = True
        if self._last is not None:
            self._settling()
        else:
            self._meter.scheduler.cancel(self.id)

    def _settling(self) -> "asyncio.Task[None]":
        """The one task that writes the entry; it belongs to the meter, not to an HTTP exchange."""
        if self._settled is None:
            self._settled = asyncio.create_task(self._meter.settle(self))
        return self._settled

    def entry(self) -> Entry:
        """The request as it stands, for the ledger."""
        delivered = min(self.delivered_tokens, self._counts.completion_tokens)
        return Entry(
            id=self.id,
            label=self._caller.label,
            endpoint=self._caller.endpoint,
            model=self._caller.model,
            started_at=self.started_at,
            counts=self._counts.delivering(delivered),
            outcome=self._outcome(),
            ended_at=datetime.now(UTC) if self._last is not None else None,
        )

    def _outcome(self) -> Outcome | None:
        if self._last is None:
            return None
        return Outcome.FAILED if isinstance(self._last, Failed) else self._last.outcome


@dataclass(slots=True)
class _Running:
    """A job, with what the meter itself has to know of it."""

    job: Job
    label: str
    began_s: float
    is_written: bool = False
    counted_tokens: int = 0  # against the label's quota
    ended_s: float | None = None


class Meter:
    """Every job of this agent: on record from its beginning, checkpointed each second, held to its limits."""

    def __init__(
        self,
        ledger: Ledger,
        scheduler: Scheduler,
        leases: LeaseBook,
        max_in_flight_s: float,
        max_request_s: float = 3600.0,
        quotas: Quotas | None = None,
    ) -> None:
        self.ledger, self.scheduler = ledger, scheduler
        self.last_token_at: datetime | None = None
        self._leases, self._max_in_flight_s, self._max_request_s = leases, max_in_flight_s, max_request_s
        self._quotas = quotas
        self._jobs: dict[str, _Running] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._busy_before_ms = ledger.busy_ms
        self._closed_since_s: float | None = None
        self._is_writable = True
        self._opening: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Requests whose entry is not ended yet."""
        return len(self._jobs)

    def start(self) -> None:
        """Begin to keep checkpoints; called on the event loop."""
        self._keeper = asyncio.create_task(self._keep())

    def refuses(self, label: str, prompt_tokens: int) -> Refusal | None:
        """Why a request of this label cannot be served now; None counts it as asked."""
        if not self._is_writable:
            return Refusal(503, "ledger_unwritable", "This server cannot keep its accounts; try another one.", 10)
        return self._quotas.refuses(label, prompt_tokens) if self._quotas is not None else None

    def begin(self, request: GenRequest, caller: Caller) -> Job:
        """Hand a request to the engine, with an entry from its first moment."""
        job = Job(self, request, caller)
        running = _Running(job, caller.label, _now_s())
        self._jobs[job.id] = running
        self._empty.clear()
        if self._opening is None:
            loop = asyncio.get_running_loop()
            self._opening = loop.call_later(_OPENED_WITHIN_S, self._write_opened)
        self.scheduler.submit(request, lambda event: self._hear(running, event))
        left = self._quotas.left(caller.label) if self._quotas is not None else None
        if left is not None and left - len(request.prompt) < request.max_tokens:
            self.scheduler.cap(job.id, max(left - len(request.prompt), 0))
        return job

    async def settle(self, job: Job) -> None:
        """Write a job's last entry; it is in flight until that is on disk."""
        while not await self._write([job.entry()]):  # noqa: ASYNC110 - nothing announces that a disk has room again
            await asyncio.sleep(_CHECKPOINT_EVERY_S)
        self._jobs.pop(job.id, None)
        if not self._jobs:
            self._empty.set()

    async def drain(self, within_s: float) -> None:
        """Wait until nothing is in flight, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._empty.wait()

    async def stop(self) -> None:
        """Cap what runs, so that it ends with full usage; then settle what nobody else does."""
        for id_ in self._jobs:
            self.scheduler.cap(id_, 0)
        await self.drain(_STOPS_WITHIN_S)
        for running in list(self._jobs.values()):
            running.job.abandon()
        await self.drain(_SETTLES_WITHIN_S)
        if self._keeper is not None:
            self._keeper.cancel()

    def _hear(self, running: _Running, event: Event) -> None:
        """Pass an event on, and hold the label to its quota."""
        running.job.hear(event)
        if isinstance(event, Finished | Failed):
            running.ended_s = _now_s()
        if self._quotas is None or (left := self._quotas.left(running.label)) is None:
            return
        counts = running.job.entry().counts
        tokens = counts.prompt_tokens + counts.completion_tokens
        self._quotas.count(running.label, tokens - running.counted_tokens)
        left -= tokens - running.counted_tokens
        running.counted_tokens = tokens
        active = [one for one in self._jobs.values() if one.label == running.label and one.ended_s is None]
        if left <= len(active) * _NEAR_TOKENS:
            for one in active:
                share = max(left // len(active), 0)
                self.scheduler.cap(one.job.id, one.job.entry().counts.completion_tokens + share)

    async def _write(self, entries: Sequence[Entry]) -> bool:
        """Commit entries and the busy time; False when that failed, which closes the public API."""
        try:
            await self.ledger.write(entries, self._busy_ms())
        except LedgerUnwritable as error:
            log.error("ledger not written", problem=str(error), entries=len(entries))
            self._is_writable = False
        else:
            self._is_writable = True
        return self._is_writable

    def _busy_ms(self) -> int:
        return self._busy_before_ms + self.scheduler.busy_ms

    def _write_opened(self) -> None:
        """Put requests on record that have only begun: a death of this process then finds them."""
        self._opening = None
        opened = [one for one in self._jobs.values() if not one.is_written and one.ended_s is None]
        for one in opened:
            one.is_written = True
        if opened:
            self._writing = asyncio.create_task(self._write([one.job.entry() for one in opened]))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_CHECKPOINT_EVERY_S)
            try:
                self._cap_what_is_over()
                entries = [entry for one in self._jobs.values() if (entry := one.job.entry()).outcome is None]
                if entries or not self._is_writable or self._busy_ms() > self.ledger.busy_ms:
                    await self._write(entries)
            except Exception:  # the next second's checkpoint is as good
                log.exception("checkpoint failed")

    def _cap_what_is_over(self) -> None:
        """Cap what runs for too long, or while the lease is closed; settle what no client reads to its end."""
        now_s = _now_s()
        if self._leases.closed() is None:
            self._closed_since_s = None
        else:
            self._closed_since_s = self._closed_since_s or now_s
        is_closed = self._closed_since_s is not None and now_s - self._closed_since_s > self._max_in_flight_s
        for id_, running in list(self._jobs.items()):
            if is_closed or now_s - running.began_s > self._max_request_s:
                self.scheduler.cap(id_, 0)
            if running.ended_s is not None and now_s - running.ended_s > _UNREAD_S:
                running.job.abandon()


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def new_request_id() -> str:
    """An id that no other request of any agent has."""
    return f"{_IDS.getrandbits(128):032x}"
