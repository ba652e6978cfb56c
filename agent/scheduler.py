"""The engine's one thread: commands in, events out. Nobody else touches the engine."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

from agent.engine.protocol import Engine, Event, Failed, Finished, GenRequest, Outcome, Usage
from agent.errors import EngineFailed, PromptError

log = structlog.get_logger()
Sink = Callable[[Event], None]
_IDLE_BEAT_S = 0.5  # the heart beats while idle too


class Scheduler:
    """Runs the engine. Events of a request reach its sink on the loop that `start` was called from."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._sinks: dict[str, Sink] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ends = False
        self._beat_s = time.monotonic()
        self._busy_s = 0.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin; called on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def in_flight(self) -> int:
        """Requests that the engine has not finished."""
        return len(self._sinks)

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since the thread last went round: a wedged engine is known by it."""
        return time.monotonic() - self._beat_s

    @property
    def busy_ms(self) -> int:
        """Wall time with at least one request, since the start."""
        return int(self._busy_s * 1000)

    def submit(self, request: GenRequest, sink: Sink) -> None:
        """Hand a request to the engine; its last event is `Finished` or `Failed`."""
        self._sinks[request.id] = sink
        self._command(lambda: self._submit(request))

    def cap(self, request_id: str, max_tokens: int) -> None:
        """Let a request end once it has `max_tokens`."""
        self._command(lambda: self._engine.cap(request_id, max_tokens))

    def cancel(self, request_id: str) -> None:
        """Drop a request: its last event is `Finished` as cancelled, with what it had used."""
        self._command(lambda: self._cancel(request_id))

    def stop(self) -> None:
        """End the thread and close the engine."""
        self._ends = True
        self._command(lambda: None)
        if self._thread.ident is not None:
            self._thread.join()
        self._engine.close()

    def _command(self, command: Callable[[], None]) -> None:
        with self._wake:
            self._commands.append(command)
            self._wake.notify()

    def _submit(self, request: GenRequest) -> None:
        try:
            self._engine.submit(request)
        except PromptError as error:
            self._post([Failed(request.id, error.message, Usage())])

    def _cancel(self, request_id: str) -> None:
        usage = self._engine.cancel(request_id)
        if usage is not None:
            self._post([Finished(request_id, Outcome.CANCELLED, usage)])

    def _run(self) -> None:
        while not self._ends:
            self._beat_s = time.monotonic()
            with self._wake:
                if not self._commands and not self._sinks:
                    self._wake.wait(_IDLE_BEAT_S)
                commands = [self._commands.popleft() for _ in range(len(self._commands))]
            for command in commands:
                command()
            if self._sinks:
                self._step()
                self._busy_s += time.monotonic() - self._beat_s

    def _step(self) -> None:
        try:
            events = self._engine.step()
        except Exception:  # whatever breaks inside an engine fails its requests, not the agent
            log.exception("engine step failed")
            problem = str(EngineFailed("a step failed"))
            self._post([Failed(id_, problem, usage) for id_, usage in self._engine.reset().items()])
            return
        if events:
            self._post(events)

    def _post(self, events: list[Event]) -> None:
        assert self._loop is not None
        pairs = [(self._sinks.get(event.id), event) for event in events]
        for event in events:
            if isinstance(event, Finished | Failed):
                self._sinks.pop(event.id, None)
        try:
            self._loop.call_soon_threadsafe(_deliver, pairs)
        except RuntimeError:  # the loop has closed: nobody listens any more
            self._ends = True


def _deliver(pairs: list[tuple[Sink | None, Event]]) -> None:
    for sink, event in pairs:
        if sink is not None:
            sink(event)
