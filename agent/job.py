"""One request under way: one sequence of the engine, or several with `n` or with several prompts.

A job belongs to the meter, not to the HTTP exchange that asked for it: a client that goes away cancels the
generation, and the entry is written all the same. Its counts are the sums over its sequences, each prompt as the
engine worked on it; a client reads the very same numbers.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import reduce
from operator import add

from agent.engine.protocol import Delta, Event, Failed, Finished, GenRequest, Outcome, Usage
from agent.entries import Counts, Entry
from agent.scheduler import Scheduler
from agent.traces import Origin

_IDS = random.Random(os.urandom(32))  # noqa: S311 - no secret; asking the system each time costs 40 µs with threads
_WORST_FIRST = (
    Outcome.FAILED,
    Outcome.CANCELLED,
    Outcome.CAPPED,
    Outcome.LENGTH,
    Outcome.STOPPED,
    Outcome.FINISHED,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, through what. `origin`: what its span has beyond that, where requests are traced."""

    label: str
    endpoint: str
    model: str
    origin: Origin | None = None


@dataclass(slots=True)
class _Part:
    """One sequence; `index` is its place among the answer's choices."""

    index: int
    usage: Usage = field(default_factory=Usage)
    more_tokens: int = 0  # sampled since `usage` was said
    outcome: Outcome | None = None

    @property
    def so_far(self) -> Usage:
        return self.usage + Usage(completion_tokens=self.more_tokens) if self.more_tokens else self.usage

    @property
    def completion_tokens(self) -> int:
        return self.usage.completion_tokens + self.more_tokens

    @property
    def tokens(self) -> int:
        return self.usage.prompt_tokens + self.completion_tokens

    def is_covered_by(self, usage: Usage) -> bool:
        """Whether nothing that was counted is missing from `usage`."""
        is_begun = usage.prompt_tokens >= self.usage.prompt_tokens
        return is_begun and usage.completion_tokens >= self.completion_tokens


class Job:
    """The HTTP side reads `batches`, counts what it sent, and settles or abandons."""

    def __init__(
        self,
        wanted: Sequence[GenRequest],
        caller: Caller,
        scheduler: Scheduler,
        settle: "Callable[[Job], Coroutine[None, None, None]]",
    ) -> None:
        self.id = wanted[0].id
        self.started_at = datetime.now(UTC)
        self.delivered_tokens = 0
        self.failure: Failed | None = None
        self.first_token_at: datetime | None = None
        self._caller, self._scheduler, self._settle = caller, scheduler, settle
        self._parts = {request.id: _Part(index) for index, request in enumerate(wanted)}
        self._running = len(wanted)
        self._inbox: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._is_silent = False
        self._ended_at: datetime | None = None
        self._is_abandoned = False
        self._settled: asyncio.Task[None] | None = None

    @property
    def is_ended(self) -> bool:
        """Whether the engine has said its last word on every sequence."""
        return not self._running

    @property
    def usage(self) -> Usage:
        """What the engine has worked on so far, over all sequences."""
        return reduce(add, (part.so_far for part in self._parts.values()))

    @property
    def tokens(self) -> int:
        """Prompt and completion together, over all sequences."""
        return sum(part.tokens for part in self._parts.values())

    @property
    def origin(self) -> Origin | None:
        """Where it came from, if requests are traced."""
        return self._caller.origin

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """How each sequence that has ended did so, in the order of the answer's choices."""
        return [part.outcome for part in self._parts.values() if part.outcome is not None]

    def index(self, event: Event) -> int:
        """Which choice of the answer an event is about."""
        return self._parts[event.id].index

    async def batches(self, silence_s: float | None = None) -> AsyncIterator[list[Event]]:
        """Whatever the engine has said since the last batch, without delay, to its last word on every sequence.

        A batch is empty when nothing came for `silence_s`, or for up to twice as long.
        """
        loop = asyncio.get_running_loop()
        if silence_s is not None:
            self._look(loop, silence_s)
        try:
            while self._inbox or not self.is_ended:
                if not self._inbox:
                    self._waiter = loop.create_future()  # an asyncio.Event costs three times as much
                    await self._waiter
                events, self._inbox = self._inbox, []
                self._is_silent = False
                yield events
        finally:
            if self._looking is not None:
                self._looking.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop, every_s: float) -> None:
        """Wake whoever reads when nothing has come since the last look; a timer for each token would cost more."""
        if self._is_abandoned:
            return
        if self._is_silent:
            self._wake()
        self._is_silent = True
        self._looking = loop.call_later(every_s, self._look, loop, every_s)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def events(self) -> AsyncIterator[Event]:
        """What the engine says, one by one."""
        async for batch in self.batches():
            for event in batch:
                yield event

    def hear(self, event: Event) -> None:
        """Take an event in; called on the event loop, in the engine's order."""
        part = self._parts[event.id]
        if isinstance(event, Delta):
            if part.outcome is not None:
                return  # its last word was said, and holds
            part.more_tokens += event.tokens
            if self.first_token_at is None:
                self.first_token_at = datetime.now(UTC)
        else:
            # an engine that broke may not know what it had counted before
            if not isinstance(event, Failed) or part.is_covered_by(event.usage):
                part.usage, part.more_tokens = event.usage, 0
            if isinstance(event, Finished | Failed):
                self._end(part, event)
        self._inbox.append(event)
        self._wake()

    def cap(self, tokens: int) -> None:
        """Let the request end once it has so many tokens, shared out among the sequences that still run."""
        running = [(id_, part) for id_, part in self._parts.items() if part.outcome is None]
        left = max(tokens - self.usage.completion_tokens, 0)
        for place, (id_, part) in enumerate(running):
            share = left // len(running) + (place < left % len(running))
            self._scheduler.cap(id_, part.completion_tokens + share)

    async def settle(self) -> None:
        """Wait until the entry is on disk. Whoever waits may be cancelled; the writing goes on."""
        await asyncio.shield(self._settling())

    def abandon(self) -> None:
        """Nobody reads on: end the generation if it runs, and let the entry be written all the same."""
        self._is_abandoned = True
        if self.is_ended:
            self._settling()
        else:
            self._cancel_rest()

    def entry(self) -> Entry:
        """The request as it stands, for the ledger."""
        usage, caller = self.usage, self._caller
        delivered = min(self.delivered_tokens, usage.completion_tokens)
        return Entry(
            id=self.id,
            label=caller.label,
            endpoint=caller.endpoint,
            model=caller.model,
            started_at=self.started_at,
            counts=replace(Counts.of_usage(usage), delivered_tokens=delivered),
            outcome=self._outcome() if self.is_ended else None,
            ended_at=self._ended_at,
        )

    def _end(self, part: _Part, event: Finished | Failed) -> None:
        self._running -= part.outcome is None
        part.outcome = Outcome.FAILED if isinstance(event, Failed) else event.outcome
        if isinstance(event, Failed) and self.failure is None:
            self.failure = event
            self._cancel_rest()
        if self.is_ended:
            self._ended_at = datetime.now(UTC)
            if self._is_abandoned:
                self._settling()

    def _cancel_rest(self) -> None:
        for id_, part in self._parts.items():
            if part.outcome is None:
                self._scheduler.cancel(id_)

    def _outcome(self) -> Outcome:
        outcomes = {part.outcome for part in self._parts.values()}
        return next(outcome for outcome in _WORST_FIRST if outcome in outcomes)

    def _settling(self) -> "asyncio.Task[None]":
        """The one task that writes the entry; it belongs to the meter, not to an HTTP exchange."""
        if self._settled is None:
            self._settled = asyncio.create_task(self._settle(self))
        return self._settled


def new_request_id() -> str:
    """An id that no other request of any agent has."""
    return f"{_IDS.getrandbits(128):032x}"
