"""HTTP connections that a slow, silent or vanished client cannot hold for ever."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent.settings import Limits


class Server(uvicorn.Server):
    """Without signal handlers of its own: two servers share this process and its end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def make_server(app: ASGIApp, limits: Limits, tls: tuple[Path, Path] | None = None) -> Server:
    """A server for `app`; `tls` is a certificate and its key."""
    certificate, key = tls if tls is not None else (None, None)
    config = uvicorn.Config(
        app,
        http=_limited(limits),
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="none",
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    return Server(config)


class Patient(HttpToolsProtocol):
    """A protocol that ends a connection whose request is not there whole `within_s` after its first byte.

    uvicorn's own limit is for connections between two requests alone (0.35, read from its source).
    """

    within_s = 30.0
    most_connections = 2048
    _deadline: asyncio.TimerHandle | None = None
    _is_whole = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_whole:
            self._disarm()
        elif self._deadline is None:
            self._arm()

    def on_message_begin(self) -> None:
        self._is_whole = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._is_whole = True
        super().on_message_complete()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.within_s, self._expire)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        if self.pipeline:  # it waits for an answer of ours: reading is paused
            self._arm()
        else:
            self.transport.abort()


def _limited(limits: Limits) -> type[asyncio.Protocol]:
    class Limited(Patient):
        within_s = limits.request_within_s
        most_connections = limits.max_connections

    return Limited
