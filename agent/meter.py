"""Exactly one ledger entry for every request that reaches the engine, however it ends."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from agent.engine.protocol import Delta, Event, GenRequest
from agent.entries import Entry
from agent.errors import LedgerUnwritable
from agent.job import Caller, Job
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.quota import Quotas, Refusal
from agent.scheduler import Scheduler
from agent.traces import Traces

log = structlog.get_logger()
LOST_AT_MOST_S = 1.0  # of a running request, by a SIGKILL
_CHECKPOINT_EVERY_S = 0.8  # a second, less the time that a commit may take
_LATE_S = _CHECKPOINT_EVERY_S + 2.0  # a commit that takes longer is no slow disk's, but a hanging one's
_LOOKS_EVERY_S = 0.5  # for what has to be capped
_OPENED_WITHIN_S = 0.05  # what is younger leaves no entry when the agent is killed
_STOPS_WITHIN_S = 5.0
_SETTLES_WITHIN_S = 2.0
_UNREAD_S = 30.0  # a client that reads no further keeps its entry open for no longer
_NEAR_TOKENS = 8  # so close to its end a quota is shared out among the running requests


@dataclass(slots=True)
class _Running:
    """A job, with what the meter itself has to know of it."""

    job: Job
    label: str
    began_s: float
    prompt_tokens: int
    begun_tokens: int = 0  # of its prompts, as the engine has begun with them
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
        traces: Traces | None = None,
    ) -> None:
        self.ledger, self.scheduler = ledger, scheduler
        self.last_token_at: datetime | None = None
        self.begun = 0  # jobs since the start
        self._leases, self._max_in_flight_s, self._max_request_s = leases, max_in_flight_s, max_request_s
        self._quotas, self._traces = quotas, traces
        self._jobs: dict[str, _Running] = {}
        self._settling: set[str] = set()  # whose last entry is with the ledger
        self._promised: defaultdict[str, int] = defaultdict(int)  # by label: of prompts taken, and not begun
        self._empty = asyncio.Event()
        self._empty.set()
        self._busy_before_ms = ledger.busy_ms
        self._is_writable = True
        self._counted_s = 0.0  # the totals hold every token that was made until then
        self._was_late = False
        self._opening: asyncio.TimerHandle | None = None
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def in_flight(self) -> int:
        """Requests whose entry is not ended yet."""
        return len(self._jobs)

    @property
    def counted_at(self) -> datetime:
        """The instant up to which every token is in the ledger's totals."""
        return datetime.now(UTC) - timedelta(seconds=self._behind_s)

    @property
    def _behind_s(self) -> float:
        """For how long tokens have been made that may be in no total yet."""
        return _now_s() - self._counted_s if self._jobs else 0.0

    @property
    def _is_late(self) -> bool:
        return self._behind_s > _LATE_S

    def start(self) -> None:
        """Begin to keep checkpoints and limits, neither of which waits for the other; called on the event loop."""
        self._keepers = [asyncio.create_task(self._keep()), asyncio.create_task(self._watch())]

    def asks(self, label: str) -> Refusal | None:
        """Why no request of this label can be served now, whatever its prompt; None counts this one as asked."""
        if (refusal := self.refuses(label, 0)) is not None or self._quotas is None:
            return refusal
        return self._quotas.asks(label)

    def refuses(self, label: str, prompt_tokens: int) -> Refusal | None:
        """Why a request of this label cannot be served now."""
        if not self._is_writable or self._is_late:
            return Refusal(503, "ledger_unwritable", "This server cannot keep its accounts; try another one.", 10)
        if self._quotas is None:
            return None
        return self._quotas.refuses(label, prompt_tokens, self._promised[label])

    def begin(self, wanted: Sequence[GenRequest], caller: Caller) -> Job:
        """Hand the sequences of one request to the engine, with an entry from its first moment."""
        job = Job(wanted, caller, self.scheduler, self.settle)
        running = _Running(job, caller.label, _now_s(), sum(len(request.prompt) for request in wanted))
        if not self._jobs:
            self._counted_s = running.began_s
        self._jobs[job.id] = running
        self._promised[caller.label] += running.prompt_tokens
        self.begun += 1
        self._empty.clear()
        if self._opening is None:
            loop = asyncio.get_running_loop()
            self._opening = loop.call_later(_OPENED_WITHIN_S, self._write_opened)
        for request in wanted:
            self.scheduler.submit(request, lambda event: self._hear(running, event))
        left = self._quotas.left(caller.label) if self._quotas is not None else None
        if left is not None:
            left -= self._promised[caller.label]
            if left < sum(request.max_tokens for request in wanted):
                job.cap(max(left, 0))
        return job

    async def settle(self, job: Job) -> None:
        """Write a job's last entry; it is in flight until that is on disk."""
        self._settling.add(job.id)
        while not await self._write([job.entry()]):  # noqa: ASYNC110 - nothing announces that a disk has room again
            await asyncio.sleep(_CHECKPOINT_EVERY_S)
        self._jobs.pop(job.id, None)
        self._settling.discard(job.id)
        if self._traces is not None and job.origin is not None:
            self._traces.ended(job, job.origin)
        if not self._jobs:
            self._empty.set()

    async def drain(self, within_s: float) -> None:
        """Wait until nothing is in flight, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._empty.wait()

    async def stop(self) -> None:
        """Cap what runs, so that it ends with full usage; then settle what nobody else does."""
        for running in self._jobs.values():
            running.job.cap(0)
        await self.drain(_STOPS_WITHIN_S)
        for running in list(self._jobs.values()):
            running.job.abandon()
        await self.drain(_SETTLES_WITHIN_S)
        for keeper in self._keepers:
            keeper.cancel()

    def _hear(self, running: _Running, event: Event) -> None:
        """Pass an event on, and hold the label to its quota."""
        running.job.hear(event)
        is_delta = isinstance(event, Delta)
        if is_delta:
            self.last_token_at = datetime.now(UTC)
        else:
            self._follow(running)
        if self._quotas is not None and (not is_delta or self._quotas.is_limited(running.label)):
            self._count(self._quotas, running)

    def _follow(self, running: _Running) -> None:
        """How far its prompts are begun. Of what has ended nothing is promised any more."""
        begun_tokens = running.job.usage.prompt_tokens
        if running.job.is_ended:
            running.ended_s = _now_s()
            begun_tokens = running.prompt_tokens
        self._promised[running.label] -= begun_tokens - running.begun_tokens
        running.begun_tokens = begun_tokens

    def _count(self, quotas: Quotas, running: _Running) -> None:
        """Count what is new against the label's quota; near its end, share out what is left of it."""
        label, tokens = running.label, running.job.tokens
        left = quotas.count(label, tokens - running.counted_tokens)
        running.counted_tokens = tokens
        if left is None:
            return
        left -= self._promised[label]
        if left > len(self._jobs) * _NEAR_TOKENS:
            return  # far from its end, even if all of them were the label's: to look at each would be dear
        active = [one for one in self._jobs.values() if one.label == label and one.ended_s is None]
        if left <= len(active) * _NEAR_TOKENS:
            for one in active:
                share = max(left // len(active), 0)
                one.job.cap(one.job.usage.completion_tokens + share)

    async def _write(self, entries: Sequence[Entry]) -> bool:
        """Commit entries and the busy time; False when that failed, which closes the public API.

        With nothing new the transaction is empty: it finds a ledger that has gone, and writes nothing.
        """
        busy_ms = self._busy_ms()
        is_empty = not entries and self._is_writable and busy_ms <= self.ledger.busy_ms
        try:
            await self.ledger.write(entries, None if is_empty else busy_ms)
        except LedgerUnwritable as error:
            self._is_writable = False
            log.error("ledger not written", problem=str(error), entries=len(entries))
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
                await self._checkpoint()
            except Exception:  # the next second's checkpoint is as good
                log.exception("checkpoint failed")

    async def _checkpoint(self) -> None:
        """Bring the totals up to this instant. A last entry is written before, or is still to come."""
        at_s = _now_s()
        unsettled = [one.job.entry() for id_, one in self._jobs.items() if id_ not in self._settling]
        # what has ended is still open here: only whoever settles it knows how much of it was delivered
        entries = [replace(entry, outcome=None, ended_at=None) for entry in unsettled]
        if await self._write(entries):
            self._counted_s = max(self._counted_s, at_s)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOKS_EVERY_S)
            try:
                self._cap_what_is_over()
                self._say_if_late()
            except Exception:  # the next look is as good
                log.exception("limits not kept")

    def _cap_what_is_over(self) -> None:
        """Cap what runs for too long, or while the API is closed: by its lease, or by a ledger that is late.

        What no client reads to its end is settled.
        """
        now_s = _now_s()
        closed_for_s = max(self._leases.closed_for_s, self._behind_s - _LATE_S)
        for running in list(self._jobs.values()):
            if closed_for_s > self._max_in_flight_s or now_s - running.began_s > self._max_request_s:
                running.job.cap(0)
            if running.ended_s is not None and now_s - running.ended_s > _UNREAD_S:
                running.job.abandon()

    def _say_if_late(self) -> None:
        """A commit that fails says so itself; one that hangs says nothing."""
        is_late = self._is_late and self._is_writable
        if is_late and not self._was_late:
            problem = "a commit hangs: nothing new is taken until it ends; look at the disk"
            log.error("ledger not written", path=str(self.ledger.path), problem=problem)
        self._was_late = is_late


def _now_s() -> float:
    return asyncio.get_running_loop().time()
