"""What every simulated provider of ours is: an account served over HTTP on loopback, in a thread or as a process.

Paths under `/simulator` are ours and say `"simulated": true`; all others are the provider's, whose words a
subclass of `SimulatorServer` knows. An answer's `Date` is exactly the second of the world at which its amounts were
computed.
"""

import argparse
import json
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

from console.providers.simulator_account import Account, account, account_by_second
from console.providers.simulator_faults import Afflicted, Faults
from store.clock import Clock, SystemClock

Answer = tuple[int, dict[str, Any]]
"""A status and a body."""


class World(Account, Afflicted, Protocol):
    """What a simulator is over."""

    def standing_still(self) -> AbstractContextManager[int]:
        """Keep the world in its present second, which it yields."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for: of a name repeated in `query` the last value; no `body` but an object."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    headers: "Message[str, str]"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, the second of the world that it is of, and headers besides the usual ones."""

    answer: Answer
    second: int
    headers: Mapping[str, str] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    """One connection's requests. A GET's body is not read."""

    protocol_version = "HTTP/1.1"
    server: "_Server"
    server_version, sys_version = "mtok-simulator", ""
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer without a body."""
        self._handle({})

    def do_POST(self) -> None:
        """Answer with a body."""
        length = int(self.headers.get("Content-Length") or 0)
        try:
            body = json.loads(self.rfile.read(length) or b"{}")
        except ValueError:
            body = {}
        self._handle(body if isinstance(body, dict) else {})

    def _handle(self, body: dict[str, Any]) -> None:
        simulator = self.server.simulator
        target = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(target.query).items()}
        if target.path.startswith("/simulator/"):
            with simulator.lock:
                answer = simulator.control(target.path.removeprefix("/simulator"), query, body)
                second = simulator.world.now_s()
            return self._send(Reply(answer, second))
        with simulator.lock:
            simulator.requests.append(f"{self.command} {self.path}")
        reply = simulator.serve(Request(self.command, target.path, query, body, self.headers))
        if reply is None:
            self.close_connection = True
            return None
        return self._send(reply)

    def _send(self, reply: Reply) -> None:
        simulator = self.server.simulator
        date = datetime.fromtimestamp(reply.second + simulator.faults.clock_off_s, UTC)
        content = simulator.content(reply.answer)
        self.send_response_only(reply.answer[0])
        self.send_header("Server", self.server_version)
        self.send_header("Date", format_datetime(date, usegmt=True))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if content is None:
            self.end_headers()
            return
        kind, text = content
        encoded = text.encode()
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Quiet: `/simulator/requests` has them all."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, simulator: "SimulatorServer[Any, Any]") -> None:
        super().__init__(("127.0.0.1", port), simulator.handler)
        self.simulator = simulator

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


SomeWorld = TypeVar("SomeWorld", bound=World)
SomeFaults = TypeVar("SomeFaults", bound=Faults)


class SimulatorServer(ABC, Generic[SomeWorld, SomeFaults]):
    """A simulated account behind a port of loopback, from `start` to `stop`."""

    handler: type[Handler] = Handler

    def __init__(self, world: SomeWorld, faults: SomeFaults, api_key: str, port: int = 0) -> None:
        self.world, self.faults, self.api_key = world, faults, api_key
        self.requests: list[str] = []
        self.lock = threading.RLock()
        self._server = _Server(port, self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def root(self) -> str:
        """The address under which `/simulator/…` lies."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """The address to give an adapter or the provider's SDK."""
        return self.root

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self.faults.end()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @abstractmethod
    def serve(self, request: Request) -> Reply | None:
        """The provider's reply; None: the connection closes without one. It takes `lock` itself."""

    @abstractmethod
    def neutral_states(self) -> dict[str, Any]:
        """Every instance's state, in our own words."""

    @abstractmethod
    def intervene(self, path: str, body: dict[str, Any]) -> Answer | None:
        """What the provider does to a resource unasked; None: there is no such act, or no such resource."""

    def content(self, answer: Answer) -> tuple[str, str] | None:
        """The type and the text of an answer's body; None: it has none, and no length either."""
        return "application/json", self.faults.cut(json.dumps(answer[1]))

    def control(self, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Our own answer below `/simulator`."""
        if path == "/account":
            start = second_of(query.get("from"), self.world.began_s)
            end = second_of(query.get("to"), self.world.now_s())
            return 200, account(self.world, start, end)
        if path == "/instances":
            return 200, self.neutral_states()
        if path == "/requests":
            return 200, {"simulated": True, "requests": list(self.requests)}
        if path == "/faults":
            self.faults.set(body.get("fault"), body.get("path_prefix", ""), body.get("times"))
            return 200, {"simulated": True, "fault": self.faults.kind}
        return self.intervene(path, body) or (404, {"simulated": True, "message": f"There is no {path}"})


Served = TypeVar("Served", bound=SimulatorServer[Any, Any])


@contextmanager
def running(simulator: Served) -> Iterator[Served]:
    """A simulator that answers while the block runs."""
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


def second_of(text: str | None, default: int) -> int:
    """The second since 1970 of an instant in ISO 8601, or the default without one."""
    return default if text is None else int(datetime.fromisoformat(text).timestamp())


def run_as_process(
    name: str,
    description: str,
    world_from: Callable[[dict[str, Any], Clock], SomeWorld],
    running_one: Callable[[SomeWorld, str, int], AbstractContextManager[SimulatorServer[Any, Any]]],
) -> None:
    """Serve the world file of the command line until SIGTERM or SIGINT, then leave the account where it says."""
    options = _options(description)
    world = world_from(json.loads(options.world.read_text(encoding="utf-8")), SystemClock())
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    key = options.api_key_file.read_text(encoding="utf-8").strip()
    with running_one(world, key, options.port) as it:
        if options.port_file:
            options.port_file.write_text(f"{it.port}\n", encoding="utf-8")
        print(f"{name} at {it.base_url}", flush=True)
        ended.wait()
    if options.account_file:
        options.account_file.write_text(json.dumps(account_by_second(world)), encoding="utf-8")


def _options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--world", type=Path, required=True, help="a world file (JSON)")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, help="where to write the port once it answers")
    parser.add_argument("--api-key-file", type=Path, required=True)
    parser.add_argument("--account-file", type=Path, help="where to leave the account when it ends")
    return parser.parse_args()
