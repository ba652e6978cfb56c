"""An engine that does nothing: what the agent itself costs is measured with it."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from agent.engine.protocol import (
    Delta,
    EngineInfo,
    Event,
    Finished,
    GenRequest,
    Outcome,
    Started,
    Usage,
)
from agent.errors import PromptError

CONTEXT_TOKENS = 32_768


class ByteTokens:
    """A token is a byte."""

    vocab_size = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")

    def check_schema(self, schema: str) -> None:  # noqa: ARG002 - there is nothing to check
        raise PromptError("This engine has no model to hold to a schema.", "invalid_schema", "response_format")

    def chat(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        return list("".join(f"<{role}>{text}" for role, text in messages).encode())


@dataclass(slots=True)
class _Sequence:
    request: GenRequest
    limit: int
    done: int = 0
    is_started: bool = False

    def usage(self) -> Usage:
        return Usage(len(self.request.prompt) if self.is_started else 0, 0, self.done)


class NullEngine:
    """Gives each active request so many tokens a step, until the request's own limit."""

    def __init__(self, max_batch: int, tokens_per_step: int = 1, step_ms: float = 0.0) -> None:
        self.tokens = ByteTokens()
        self._per_step, self._step_s = tokens_per_step, step_ms / 1000
        self._next_s = 0.0
        self.info = EngineInfo(
            name="null",
            version="1",
            label="null engine: no model, no text, for measurements of the agent itself",
            model="null",
            device="cpu",
            quantisation="none",
            attention=None,
            context_tokens=CONTEXT_TOKENS,
            max_batch=max_batch,
        )
        self._waiting: deque[_Sequence] = deque()
        self._active: dict[str, _Sequence] = {}

    def submit(self, request: GenRequest) -> None:
        if len(request.prompt) + request.max_tokens > CONTEXT_TOKENS:
            raise PromptError("The prompt does not fit the context", "context_length_exceeded", "messages")
        self._waiting.append(_Sequence(request, request.max_tokens))

    def step(self) -> list[Event]:
        if self._step_s:
            time.sleep(max(self._next_s - time.monotonic(), 0.0))
            self._next_s = max(self._next_s, time.monotonic() - self._step_s) + self._step_s
        events: list[Event] = []
        while self._waiting and len(self._active) < self.info.max_batch:
            sequence = self._waiting.popleft()
            sequence.is_started = True
            self._active[sequence.request.id] = sequence
            events.append(Started(sequence.request.id, sequence.usage()))
        for sequence in list(self._active.values()):
            events += self._advance(sequence)
        return events

    def cap(self, request_id: str, max_tokens: int) -> None:
        for sequence in (*self._active.values(), *self._waiting):
            if sequence.request.id == request_id:
                sequence.limit = min(sequence.limit, max_tokens)

    def cancel(self, request_id: str) -> Usage | None:
        sequence = self._active.pop(request_id, None)
        if sequence is None:
            sequence = next((one for one in self._waiting if one.request.id == request_id), None)
            if sequence is None:
                return None
            self._waiting.remove(sequence)
        return sequence.usage()

    def reset(self) -> dict[str, Usage]:
        dropped = {one.request.id: one.usage() for one in (*self._active.values(), *self._waiting)}
        self._active.clear()
        self._waiting.clear()
        return dropped

    def close(self) -> None:
        self.reset()

    def _advance(self, sequence: _Sequence) -> list[Event]:
        request = sequence.request
        tokens = max(min(self._per_step, sequence.limit - sequence.done), 0)
        sequence.done += tokens
        events: list[Event] = [Delta(request.id, "a" * tokens, tokens)] if tokens else []
        if sequence.done >= sequence.limit:
            del self._active[request.id]
            is_own = sequence.limit == request.max_tokens
            outcome = Outcome.LENGTH if is_own else Outcome.CAPPED
            events.append(Finished(request.id, outcome, sequence.usage()))
        return events
