"""HTTP connections that a slow, silent or vanished client cannot hold for ever."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent.settings import Limits

_MOST_HEAD_BYTES = 64 * 1024  # request line and headers, or trailers


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

    Nor does a request's head go on without end: whoever sends it has shown no key yet. uvicorn's own limit of time
    is for connections between two requests alone, and it keeps a head of any length (0.35, read from its source).
    """

    within_s = 30.0
    most_connections = 2048
    _deadline: asyncio.TimerHandle | None = None
    _is_whole = True
    _head_bytes = 0  # that came since the last complete head, body or request

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
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(memoryview(data))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):  # the latter when it is a CONNECT
            self.send_400_response("Invalid HTTP request received.")
        if self._head_bytes > _MOST_HEAD_BYTES:
            self.transport.abort()
        elif self._is_whole:
            self._disarm()
        elif self._deadline is None:
            self._arm()

    def on_message_begin(self) -> None:
        self._is_whole = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._is_whole, self._head_bytes = True, 0
            super().on_message_complete()

    def _parse(self, rest: memoryview) -> None:
        """uvicorn's parsing, which takes up no offer of another protocol and loses no request for it.

        Java's HttpClient and `curl --http2` offer h2c. Behind a head with an offer the parser stops, and would take
        the body for the other protocol: so a fresh one is given the head without the offer, and then the rest.

        Source: RFC 9110, 7.8: "A server MAY ignore a received Upgrade header field".
        """
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]
                head = self._head_without_offer()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                self.parser.feed_data(head)
            else:
                return

    def _head_without_offer(self) -> bytes:
        """The head that was parsed last."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

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
