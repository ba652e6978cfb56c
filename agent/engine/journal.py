"""What an engine produced, in a file of its own: an account that owes nothing to the ledger, to check it by."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from agent.engine.protocol import (
    Delta,
    Engine,
    EngineInfo,
    Event,
    Failed,
    Finished,
    GenRequest,
    Started,
    Tokens,
    Usage,
)


class JournaledEngine:
    """An engine that appends a line for each event of a step, before anybody hears of it.

    A line is `instant id what number`, with the instant in seconds since 1970: `prompt` and `cached` tokens once,
    `token` for tokens just sampled, `end` with the completion tokens at the end. Appended with one write a step,
    which a SIGKILL right after it does not undo.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def tokens(self) -> Tokens:
        return self._engine.tokens

    def submit(self, request: GenRequest) -> None:
        self._engine.submit(request)

    def step(self) -> list[Event]:
        events = self._engine.step()
        self._note(line for event in events for line in _lines(event))
        return events

    def cap(self, request_id: str, max_tokens: int) -> None:
        self._engine.cap(request_id, max_tokens)

    def cancel(self, request_id: str) -> Usage | None:
        usage = self._engine.cancel(request_id)
        if usage is not None:
            self._note([f"{request_id} end {usage.completion_tokens}"])
        return usage

    def reset(self) -> dict[str, Usage]:
        dropped = self._engine.reset()
        self._note(f"{id_} end {usage.completion_tokens}" for id_, usage in dropped.items())
        return dropped

    def close(self) -> None:
        self._engine.close()
        os.close(self._file)

    def _note(self, lines: Iterable[str]) -> None:
        now = f"{time.time():.6f}"
        if text := "".join(f"{now} {line}\n" for line in lines):
            os.write(self._file, text.encode())


def _lines(event: Event) -> list[str]:
    if isinstance(event, Started):
        usage = event.usage
        return [f"{event.id} prompt {usage.prompt_tokens}", f"{event.id} cached {usage.cached_tokens}"]
    if isinstance(event, Delta):
        return [f"{event.id} token {event.tokens}"] if event.tokens else []
    assert isinstance(event, Finished | Failed)
    return [f"{event.id} end {event.usage.completion_tokens}"]
