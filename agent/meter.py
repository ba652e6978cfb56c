"""Exactly one ledger entry for every request that reaches the engine, however it ends.

A job belongs to the meter, not to the HTTP exchange that asked for it: a client that goes away cancels the
generation, and the entry is written all the same.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from agent.engine.protocol import Delta, Event, Failed, Finished, GenRequest, Outcome
from agent.entries import Counts, Entry
from agent.errors import LedgerUnwritable
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.scheduler import Scheduler

log = structlog.get_logger()
_CHECKPOINT_EVERY_S = 1.0  # what a SIGKILL may cost of a running request
_STOPS_WITHIN_S = 5.0


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
            self._count(completion_tokens=self._counts.completion_tokens + event.tokens)
            self._meter.last_token_at = datetime.now(UTC)
        else:
            usage = event.usage
            self._count(
                prompt_tokens=usage.prompt_tokens,
                cached_tokens=usage.cached_tokens,
                completion_tokens=usage.completion_tokens,
            )
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
            counts=self._with(delivered_tokens=delivered),
            outcome=self._outcome(),
            ended_at=datetime.now(UTC) if self._last is not None else None,
        )

    def _outcome(self) -> Outcome | None:
        if self._last is None:
            return None
        return Outcome.FAILED if isinstance(self._last, Failed) else self._last.outcome

    def _count(self, **changes: int) -> None:
        self._counts = self._with(**changes)

    def _with(self, **changes: int) -> Counts:
        counts = self._counts
        return Counts(
            requests=1,
            prompt_tokens=changes.get("prompt_tokens", counts.prompt_tokens),
            cached_tokens=changes.get("cached_tokens", counts.cached_tokens),
            completion_tokens=changes.get("completion_tokens", counts.completion_tokens),
            delivered_tokens=changes.get("delivered_tokens", counts.delivered_tokens),
        )


class Meter:
    """Every job of this agent, checkpointed each second and capped when the lease has long been closed."""

    def __init__(self, ledger: Ledger, scheduler: Scheduler, leases: LeaseBook, max_in_flight_s: float) -> None:
        self.ledger, self.scheduler = ledger, scheduler
        self.last_token_at: datetime | None = None
        self._leases, self._max_in_flight_s = leases, max_in_flight_s
        self._jobs: dict[str, Job] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._busy_before_ms = ledger.busy_ms
        self._closed_since_s: float | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Requests whose entry is not ended yet."""
        return len(self._jobs)

    def start(self) -> None:
        """Begin to keep checkpoints; called on the event loop."""
        self._keeper = asyncio.create_task(self._keep())

    def begin(self, request: GenRequest, caller: Caller) -> Job:
        """Hand a request to the engine, with an entry from its first moment."""
        job = Job(self, request, caller)
        self._jobs[job.id] = job
        self._empty.clear()
        self.scheduler.submit(request, job.hear)
        return job

    async def settle(self, job: Job) -> None:
        """Write a job's last entry; it is in flight until that is on disk."""
        while True:
            try:
                await self.ledger.write([job.entry()], self._busy_ms())
                break
            except LedgerUnwritable as error:
                log.error("ledger not written", problem=str(error), request=job.id)
                await asyncio.sleep(_CHECKPOINT_EVERY_S)
        self._jobs.pop(job.id, None)
        if not self._jobs:
            self._empty.set()

    async def stop(self) -> None:
        """Cap what runs, so that it ends with full usage; then settle what nobody else does."""
        for id_ in self._jobs:
            self.scheduler.cap(id_, 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOPS_WITHIN_S):
                await self._empty.wait()
        for job in list(self._jobs.values()):
            job.abandon()
        if self._keeper is not None:
            self._keeper.cancel()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_CHECKPOINT_EVERY_S)
            self._cap_when_closed()
            entries = [entry for job in self._jobs.values() if (entry := job.entry()).outcome is None]
            try:
                await self.ledger.write(entries, self._busy_ms())
            except LedgerUnwritable as error:
                log.error("checkpoint not written", problem=str(error))

    def _cap_when_closed(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._leases.closed() is None:
            self._closed_since_s = None
            return
        self._closed_since_s = self._closed_since_s or now_s
        if now_s - self._closed_since_s > self._max_in_flight_s:
            for id_ in self._jobs:
                self.scheduler.cap(id_, 0)

    def _busy_ms(self) -> int:
        return self._busy_before_ms + self.scheduler.busy_ms


def new_request_id() -> str:
    """An id that no other request of any agent has."""
    return uuid.uuid4().hex
