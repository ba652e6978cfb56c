"""`/metrics` of the collector, where nothing can hold up a tick.

It runs in threads of its own, reads the store through connections of its own that cannot write, and one reading
serves all who ask meanwhile. One that takes too long is answered 503 and goes on alone.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client.metrics_core import Metric

from console.export.prometheus import content_type, families, prometheus_text, takes_openmetrics
from console.settings import Settings
from store.addresses import split_address
from store.database import Database, open_database
from store.errors import MtokError

log = structlog.get_logger()
_WITHIN_S = 8.0  # Prometheus waits for ten by default
_CLIENT_WITHIN_S = 5.0  # to send its request, and to take the answer
_CLIENTS = 8
_AGAIN_AFTER_S = 5.0
_PLAIN = "text/plain; charset=utf-8"


class Reader:
    """Reads the store in one thread; whoever asks while it reads gets the same reading."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self.within_s = settings, _WITHIN_S
        self._lock = threading.Lock()
        self._reading: Future[list[Metric]] | None = None
        self.database: Database | None = None

    def now(self) -> Sequence[Metric]:
        """What the store holds now.

        Raises:
            TimeoutError: reading takes too long.
            MtokError: the store does not answer.
        """
        with self._lock:
            if self._reading is None or self._reading.done():
                self._reading = Future()
                # a thread of an executor would be waited for when the process ends
                threading.Thread(target=self._fill, args=(self._reading,), name="metrics-read", daemon=True).start()
            reading = self._reading
        return reading.result(self.within_s)

    def close(self) -> None:
        """Give the connections back, unless one is still being read from: that one ends with the process."""
        with self._lock:
            is_idle = self._reading is None or self._reading.done()
        if is_idle and self.database is not None:
            self.database.close()

    def _fill(self, reading: "Future[list[Metric]]") -> None:
        try:
            reading.set_result(self._read())
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            reading.set_exception(error)

    def _read(self) -> list[Metric]:
        try:
            if self.database is None:
                self.database = open_database(self._settings.store_url, read_only=True)
            return families(self.database, self._settings, datetime.now(UTC))
        except MtokError:
            if self.database is not None:  # its file may have been replaced
                self.database.close()
                self.database = None
            raise


class MetricsServer(ThreadingHTTPServer):
    """Answers `GET /metrics`; a few clients at once, each for a few seconds."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, reader: Reader) -> None:
        """Listen at `address`.

        Raises:
            OSError: it is in use, or not this machine's.
        """
        host, port = split_address(address)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.reader = reader
        self._room = threading.BoundedSemaphore(_CLIENTS)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, while there is room for one."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class says so
        """A client that went away is no news; anything else is logged and ends this answer alone."""
        log.debug("metrics not answered", client=str(client_address), exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = _CLIENT_WITHIN_S
    server_version = "mtok"
    sys_version = ""

    def do_GET(self) -> None:
        """`GET /metrics`."""
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, _PLAIN, "there is only /metrics here\n")
            return
        try:
            found = self.server.reader.now()
        except TimeoutError:
            self._answer(503, _PLAIN, "reading the store takes too long; try again\n")
        except MtokError as error:
            log.warning("metrics not read", problem=str(error))
            self._answer(503, _PLAIN, "the store cannot be read; the collector's log says why\n")
        except Exception:
            log.exception("metrics failed")
            self._answer(500, _PLAIN, "reading failed; the collector's log has the details\n")
        else:
            openmetrics = takes_openmetrics(self.headers.get("Accept", ""))
            self._answer(
                200, content_type(openmetrics=openmetrics), prometheus_text(found, openmetrics=openmetrics)
            )

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class says so
        """A scrape is no news."""


@contextlib.asynccontextmanager
async def metrics_served(settings: Settings, again_after_s: float = _AGAIN_AFTER_S) -> AsyncIterator[None]:
    """Serve `/metrics` until the block ends, where the settings ask for it.

    An address in use is said once, and tried again: a second collector on this machine waits for the first one's.
    """
    if settings.metrics.address is None:
        yield
        return
    serving = asyncio.create_task(_keep_serving(settings, settings.metrics.address, again_after_s))
    try:
        yield
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _keep_serving(settings: Settings, address: str, again_after_s: float) -> None:
    server = await _listening(settings, address, again_after_s)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True
    )
    thread.start()
    log.info("metrics", url=f"http://{address}/metrics")
    try:
        await asyncio.Event().wait()
    finally:
        server.shutdown()
        server.server_close()
        server.reader.close()


async def _listening(settings: Settings, address: str, again_after_s: float) -> MetricsServer:
    is_said = False
    while True:
        try:
            return MetricsServer(address, Reader(settings))
        except OSError as error:
            if not is_said:
                remedy = "free the port, or choose another [metrics] address; it is tried again"
                log.warning("metrics not served", address=address, problem=error.strerror, remedy=remedy)
            is_said = True
        await asyncio.sleep(again_after_s)
