"""The agent as a process: two addresses, one engine, one ledger, until it is told to stop."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.connections import Server, make_server
from agent.control import Control
from agent.engine.protocol import Engine
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.loading import Loading
from agent.machine import this_machine
from agent.meter import Meter
from agent.metrics import Metrics
from agent.notify import Notifier
from agent.openai import ApiError
from agent.quota import Quotas
from agent.retention import keep_thinning
from agent.routes import Public
from agent.scheduler import Scheduler
from agent.settings import AgentSettings
from agent.sockets import Sockets
from agent.traces import Traces
from store.clock import SystemClock

log = structlog.get_logger()


async def serve(
    settings: AgentSettings,
    open_engine: Callable[[], Engine],
    ledger: Ledger,
    sockets: Sockets,
    loading: Loading | None = None,
    traces: Traces | None = None,
) -> None:
    """Serve both APIs until SIGTERM or SIGINT, then end what is in flight and return.

    The control API answers at once, the public one answers `loading` until the engine is open.

    Raises:
        MtokError: the engine cannot be opened.
    """
    clock, keys, limits = SystemClock(), settings.keys(), settings.limits
    leases, scheduler, notifier = LeaseBook(clock), Scheduler(open_engine), Notifier(os.environ)
    quotas = Quotas(keys, ledger, clock)
    meter = Meter(ledger, scheduler, leases, limits.max_in_flight_s, limits.max_request_s, quotas, traces)
    loading = loading or Loading()
    front = Front(loading)
    machine = this_machine(ledger.path)
    metrics, secret = Metrics(machine, traces), settings.control_secret()
    control = Control(settings.name, settings.engine, meter, leases, secret, machine, metrics, loading)
    stop = _set_on_signals()
    async with _both_running(front, control, settings, sockets):
        loaded = scheduler.start()
        meter.start()
        tasks = [keep_thinning(ledger, settings.retention), notifier.keep_alive(scheduler)]
        async with _beside(*tasks):
            try:
                engine = await _unless(stop, loaded)
                if engine is not None:
                    gc.collect()
                    gc.freeze()  # what was loaded stays: looking through it again cost a quarter of each request
                    public = Public(engine, meter, leases, keys, limits, metrics=metrics, traces=traces)
                    front.app = _app(public.routes())
                    notifier.tell("READY=1", f"STATUS=serving {engine.info.model}")
                    log.info("serving", agent=settings.name, engine=engine.info.label, model=engine.info.model)
                    await stop.wait()
            finally:
                notifier.tell("STOPPING=1")
                leases.stop()
                await _drained(meter, settings)
    scheduler.stop()
    if traces is not None:
        await asyncio.to_thread(traces.stop)
    log.info("stopped", agent=settings.name)


def _set_on_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    return stop


@contextlib.asynccontextmanager
async def _both_running(
    front: "Front", control: Control, settings: AgentSettings, sockets: Sockets
) -> AsyncIterator[None]:
    """The public API and the control API, each on its own address."""
    limits, tls = settings.limits, settings.tls_files()
    public_server = make_server(front, limits, tls)
    control_server = make_server(_app(control.routes()), limits, tls if settings.control_public else None)
    async with _running(public_server, sockets.public), _running(control_server, sockets.control):
        yield


async def _drained(meter: Meter, settings: AgentSettings) -> None:
    """What is in flight ends first."""
    log.info("stopping", agent=settings.name, in_flight=meter.in_flight)
    await meter.drain(settings.limits.drain_s)
    await meter.stop()


class Front:
    """The public API: `loading`, until the engine is open and `app` is replaced."""

    def __init__(self, loading: Loading) -> None:
        every = ["GET", "POST", "PUT", "DELETE"]
        self._progress = loading
        self.app: ASGIApp = _app(
            [Route("/health", self._loading_health), Route("/{path:path}", _loading, methods=every)]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whatever stands now."""
        await self.app(scope, receive, send)

    async def _loading_health(self, _request: Request) -> Response:
        return JSONResponse({"status": "loading", "doing": self._progress.text}, 503)


async def _loading(_request: Request) -> Response:
    error = ApiError(503, "The model is being loaded; try again shortly.", "loading")
    return JSONResponse(error.body(), 503, {"Retry-After": "5"})


async def _unless(stop: asyncio.Event, loaded: "asyncio.Future[Engine]") -> Engine | None:
    """The engine once it is loaded; None when `stop` comes first."""
    stopping = asyncio.create_task(stop.wait())
    either: set[asyncio.Future[Any]] = {stopping, loaded}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return loaded.result() if loaded.done() else None


@contextlib.asynccontextmanager
async def _running(server: Server, listening: Any) -> AsyncIterator[None]:
    """A server, until the block ends; then what it still answers is sent."""
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def _beside(*work: Any) -> AsyncIterator[None]:
    """Tasks that run until the block ends; what ends one sooner is in the log."""
    tasks = [asyncio.create_task(one) for one in work]
    for task in tasks:
        task.add_done_callback(_log_fault)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _log_fault(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task ended", task=getattr(task.get_coro(), "__qualname__", ""), exc_info=error)


def _app(routes: list[Route]) -> Starlette:
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _our_fault})


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    body = ApiError(error.status_code, str(error.detail), code).body()
    return JSONResponse(body, error.status_code, error.headers)


async def _our_fault(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    return JSONResponse(ApiError(500, "The server failed; its log has the details.", "internal").body(), 500)
