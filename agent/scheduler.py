"""The engine's one thread: it loads the engine; then commands go in, events come out.

Nobody else touches the engine.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

from agent.engine.protocol import Engine, Event, Failed, Finished, GenRequest, Outcome, Usage
from agent.errors import EngineFailed, PromptError
from store.errors import MtokError

log = structlog.get_logger()
Sink = Callable[[Event], None]
WEDGED_AFTER_S = 30.0  # the longest step of a large prompt, and some
_IDLE_BEAT_S = 0.5  # the heart beats while idle too
_ENDS_WITHIN_S = 5.0


class Scheduler:
    """Runs the engine. Events of a request reach its sink on the loop that `start` was called from."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._commands: queue.SimpleQueue[Callable[[Engine], None]] = queue.SimpleQueue()
        self._sinks: dict[str, Sink] = {}
        self._given: set[str] = set()  # what the engine has taken and not ended; the thread's own
        self._posted: deque[tuple[Sink, Event]] = deque()
        self._is_delivering = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loaded: asyncio.Future[Engine] | None = None
        self._ends = False
        self._beat_s = time.monotonic()
        self._busy_s = 0.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> "asyncio.Future[Engine]":
        """Begin to load; called on the event loop. The future is the loaded engine.

        Raises:
            MtokError: from the future: the engine cannot be loaded.
        """
        self._loop = asyncio.get_running_loop()
        self._loaded = self._loop.create_future()
        self._thread.start()
        return self._loaded

    @property
    def engine(self) -> Engine | None:
        """The engine; None until its weights are loaded."""
        return self._engine

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
        self._command(lambda engine: self._submit(engine, request))

    def cap(self, request_id: str, max_tokens: int) -> None:
        """Let a request end once it has `max_tokens`."""
        self._command(lambda engine: engine.cap(request_id, max_tokens))

    def cancel(self, request_id: str) -> None:
        """Drop a request: its last event is `Finished` as cancelled, with what it had used."""
        self._command(lambda engine: self._cancel(engine, request_id))

    def stop(self) -> None:
        """End the thread and close the engine. One that loads or hangs is left to the process's end."""
        self._ends = True
        self._command(lambda _engine: None)
        if self._engine is not None:
            self._thread.join(_ENDS_WITHIN_S)
            if not self._thread.is_alive():
                self._engine.close()

    def _command(self, command: Callable[[Engine], None]) -> None:
        self._commands.put(command)

    def _submit(self, engine: Engine, request: GenRequest) -> None:
        self._given.add(request.id)
        try:
            engine.submit(request)
        except PromptError as error:
            self._post([Failed(request.id, error.message, Usage(), error.code)])

    def _cancel(self, engine: Engine, request_id: str) -> None:
        usage = engine.cancel(request_id)
        if usage is not None:
            self._post([Finished(request_id, Outcome.CANCELLED, usage)])

    def _run(self) -> None:
        engine = self._load()
        while engine is not None and not self._ends:
            self._beat_s = time.monotonic()
            with contextlib.suppress(queue.Empty):
                if not self._sinks:
                    self._guarded(engine, self._commands.get(timeout=_IDLE_BEAT_S))
                while True:
                    self._guarded(engine, self._commands.get_nowait())
            if self._sinks:
                began_s = time.monotonic()
                self._guarded(engine, lambda engine: self._post(engine.step()))
                self._busy_s += time.monotonic() - began_s

    def _guarded(self, engine: Engine, work: Callable[[Engine], None]) -> None:
        try:
            work(engine)
        except Exception:  # whatever breaks inside an engine fails its requests, not the agent
            log.exception("engine step failed")
            self._fail_all(engine)

    def _load(self) -> Engine | None:
        try:
            self._engine = self._open_engine()
        except MtokError as error:
            self._tell(_fail, error)
        except Exception:  # of whatever kind an engine's own code raises: without it there is nothing to serve
            log.exception("engine not loaded")
            self._tell(_fail, EngineFailed("it cannot be loaded"))
        else:
            self._tell(_succeed, self._engine)
        return self._engine

    def _fail_all(self, engine: Engine) -> None:
        """After a fault: end whatever the engine had, with what it had used as far as it still knows."""
        used: dict[str, Usage] = {}
        try:
            used = engine.reset()
        except Exception:
            log.exception("engine not reset")
        problem = str(EngineFailed("a step failed"))
        self._post([Failed(id_, problem, used.get(id_, Usage())) for id_ in self._given | used.keys()])

    def _post(self, events: list[Event]) -> None:
        if not events:
            return
        assert self._loop is not None
        for event in events:
            sink = self._sinks.get(event.id)
            if sink is not None:
                self._posted.append((sink, event))
            if isinstance(event, Finished | Failed):
                self._sinks.pop(event.id, None)
                self._given.discard(event.id)
        if self._is_delivering:
            return  # a loop that is behind takes several steps' events at once
        self._is_delivering = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop has closed: nobody listens any more
            self._ends = True

    def _deliver(self) -> None:
        """Hand out what was posted; on the event loop."""
        self._is_delivering = False  # before looking: whatever is posted from here on is told of again
        for _ in range(len(self._posted)):
            sink, event = self._posted.popleft()
            try:
                sink(event)
            except Exception:  # one request's fault is not the others'
                log.exception("event not delivered", request=event.id)

    def _tell(self, how: Callable[..., None], what: object) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has closed
            self._loop.call_soon_threadsafe(how, self._loaded, what)


def _succeed(loaded: "asyncio.Future[Engine]", engine: Engine) -> None:
    if not loaded.done():
        loaded.set_result(engine)


def _fail(loaded: "asyncio.Future[Engine]", error: MtokError) -> None:
    if not loaded.done():
        loaded.set_exception(error)
