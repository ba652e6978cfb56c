"""The agent as a process: two addresses, one engine, one ledger, until it is told to stop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.control import Control
from agent.engine.protocol import Engine
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.meter import Meter
from agent.openai import ApiError
from agent.routes import Public
from agent.scheduler import Scheduler
from agent.settings import AgentSettings, split_address
from store.clock import SystemClock
from store.errors import SettingsError

log = structlog.get_logger()


async def serve(
    settings: AgentSettings, open_engine: Callable[[], Engine], ledger: Ledger, sockets: "Sockets"
) -> None:
    """Serve both APIs until SIGTERM or SIGINT, then end what is in flight and return.

    The control API answers at once, the public one answers `loading` until the engine is open.

    Raises:
        MtokError: the engine cannot be opened.
    """
    leases = LeaseBook(SystemClock())
    scheduler = Scheduler(open_engine)
    meter = Meter(ledger, scheduler, leases, settings.limits.max_in_flight_s)
    front = Front()
    control = Control(settings.name, settings.engine, meter, leases, settings.control_secret())
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    servers = [_server(front), _server(_app(control.routes()))]
    pairs = zip(servers, (sockets.public, sockets.control), strict=True)
    tasks = [asyncio.create_task(server.serve(sockets=[listening])) for server, listening in pairs]
    loaded = scheduler.start()
    meter.start()
    try:
        engine = await _unless(stop, loaded)
        if engine is not None:
            front.app = _app(Public(engine, meter, leases, settings.keys(), settings.limits).routes())
            log.info("serving", agent=settings.name, engine=engine.info.label, model=engine.info.model)
            await stop.wait()
    finally:
        await meter.stop()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        scheduler.stop()
        log.info("stopped", agent=settings.name)


class Front:
    """The public API: `loading`, until the engine is open and `app` is replaced."""

    def __init__(self) -> None:
        every = ["GET", "POST", "PUT", "DELETE"]
        self.app: ASGIApp = _app(
            [Route("/health", _loading_health), Route("/{path:path}", _loading, methods=every)]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whatever stands now."""
        await self.app(scope, receive, send)


async def _loading_health(_request: Request) -> Response:
    return JSONResponse({"status": "loading"}, 503)


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


class Sockets:
    """The two listening sockets: taken before anything costly, so that a port in use is known at once."""

    def __init__(self, settings: AgentSettings) -> None:
        """Listen on both addresses.

        Raises:
            SettingsError: an address is in use, or is not this machine's.
        """
        self.public = _listening(settings, "public_address", settings.public_address)
        self.control = _listening(settings, "control_address", settings.control_address)


def _listening(settings: AgentSettings, name: str, address: str) -> socket.socket:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        where = f"{settings.path}: {name}"
        problem = f"cannot listen on {address}: {error.strerror or error}"
        raise SettingsError(where, problem, "free the port, or choose another") from None
    listening.listen(1024)
    listening.setblocking(False)
    return listening


class _Quiet(uvicorn.Server):
    """Without signal handlers of its own: two servers share this process and its end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _app(routes: list[Route]) -> Starlette:
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _our_fault})


def _server(app: ASGIApp) -> _Quiet:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    return _Quiet(config)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse(ApiError(error.status_code, str(error.detail), "not_found").body(), error.status_code)


async def _our_fault(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    return JSONResponse(ApiError(500, "The server failed; its log has the details.", "internal").body(), 500)
