"""The simulated provider: an HTTP server that speaks Hyperstack's wire format over a simulated world.

`python -m console.providers.simulator` runs it as a process. Paths under `/v1` are the provider's; those
under `/simulator` are ours and say `"simulated": true`. An answer's `Date` is exactly the second of the world at
which its amounts were computed.
"""

import argparse
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from console.providers import simulator_bodies as bodies
from console.providers.simulator_faults import Dropped, Faults
from console.providers.simulator_history import PATH as HISTORY
from console.providers.simulator_history import history
from console.providers.simulator_world import Impossible, SimulatedResource, SimulatedWorld
from store.clock import SystemClock
from store.money import parse_nusd

Answer = tuple[int, dict[str, Any]]


class Simulator:
    """A simulated account behind a port of loopback, from `start` to `stop`."""

    def __init__(self, world: SimulatedWorld, api_key: str, port: int = 0) -> None:
        self.world, self.api_key = world, api_key
        self.faults = Faults(world)
        self.requests: list[str] = []
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", port), self)
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
        return f"{self.root}/v1"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self.faults.end()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        """The provider's answer to a GET below `/v1`."""
        page, size = _whole(query.get("page")), _whole(query.get("pageSize"))
        plain: dict[str, Callable[[], dict[str, Any]]] = {
            "/billing/billing/usage": lambda: self._usage(query),
            "/core/virtual-machines": lambda: bodies.machines(self.world, page, size),
            "/core/volumes": lambda: bodies.volumes(self.world, page, size),
        }
        if path in plain:
            return 200, plain[path]()
        if path.startswith(HISTORY):
            return history(self.world, path, query)
        words = path.removeprefix("/core/virtual-machines/").split("/")
        if path.startswith("/core/virtual-machines/") and words[0].isdigit() and len(words) <= 2:
            return self._machine(int(words[0]), words[1] if len(words) == 2 else "")
        return error(404, "not_found", f"There is no {path}")

    def control(self, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Our own answer below `/simulator`."""
        if path == "/account":
            start = _second(query.get("from"), self.world.began_s)
            end = _second(query.get("to"), self.world.now_s())
            return 200, bodies.account(self.world, start, end)
        if path == "/instances":
            return 200, bodies.neutral_states(self.world)
        if path == "/requests":
            return 200, {"simulated": True, "requests": list(self.requests)}
        if path == "/faults":
            self.faults.set(body.get("fault"), body.get("path_prefix", ""), body.get("times"))
            return 200, {"simulated": True, "fault": self.faults.kind}
        return self._intervene(path, body) or (404, {"simulated": True, "message": f"There is no {path}"})

    def _intervene(self, path: str, body: dict[str, Any]) -> Answer | None:
        """What the provider does to a resource unasked: `/credit/vm/8429`, `/vanish/8429`, `/preempt/8429`."""
        act, _, rest = path.removeprefix("/").partition("/")
        kind, _, id_ = rest.rpartition("/")
        resource = self.world.find(kind or "vm", int(id_)) if id_.isdigit() else None
        if resource is None:
            return None
        if act == "credit":
            self.world.credit(resource, parse_nusd(str(body.get("usd", ""))))
        elif act == "vanish":
            self.world.vanish(resource, is_listed=bool(body.get("listed", True)))
        elif act == "preempt":
            self.world.preempt(resource)
        else:
            return None
        return 200, {"simulated": True, act: resource.id}

    def _usage(self, query: dict[str, str]) -> dict[str, Any]:
        body = bodies.usage(self.world, deleted=query.get("deleted") == "true")
        return (
            {**body, "data": []}
            if self.faults.empties("/billing")
            else self.faults.spoiled(self.faults.without_one(body))
        )

    def _machine(self, id_: int, action: str) -> Answer:
        resource = self.world.find("vm", id_)
        if resource is None:
            return error(404, "not_found", f"Virtual machine {id_} does not exist.")
        actions: dict[str, Callable[[SimulatedResource], None]] = {
            "hibernate": self.world.hibernate,
            "hibernate-restore": self.world.restore,
        }
        if not action:
            return 200, bodies.machine(resource, self.world)
        if action not in actions:
            return error(404, "not_found", f"There is no action {action}")
        if action == "hibernate-restore" and self.faults.kind == "no_stock":
            return error(409, "conflict", "Not enough capacity to restore the virtual machine.")
        try:
            if not self.faults.ignores(f"/core/virtual-machines/{id_}/{action}"):
                actions[action](resource)
        except Impossible as problem:
            return error(400, "bad_request", str(problem))
        return 200, {"status": True, "message": f"{action} of the virtual machine is under way."}


def error(code: int, reason: str, message: str) -> Answer:
    """An error in the documented shape."""
    return code, {"status": False, "message": message, "error_reason": reason}


@contextmanager
def running_simulator(world: SimulatedWorld, api_key: str = "key", port: int = 0) -> Iterator[Simulator]:
    """A simulator that answers while the block runs."""
    simulator = Simulator(world, api_key, port)
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], simulator: Simulator) -> None:
        super().__init__(address, _Handler)
        self.simulator = simulator

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    server_version, sys_version = "mtok-simulator", ""
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._handle({})

    def do_POST(self) -> None:
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
            return self._send(answer, second)
        path = target.path.removeprefix("/v1")
        simulator.requests.append(f"{self.command} {self.path}")
        if self.headers.get("api_key") != simulator.api_key:
            return self._send(error(401, "unauthorized", "Invalid API key."), simulator.world.now_s())
        early = simulator.faults.before(path)
        if early is not None:
            return self._send(error(early, "fault", "A simulated fault."), simulator.world.now_s())
        with simulator.lock:
            answer, second = self._coherent(simulator, path, query)
        try:
            simulator.faults.after(path)
        except Dropped:
            self.close_connection = True
            return None
        return self._send(answer, second)

    def _coherent(self, simulator: Simulator, path: str, query: dict[str, str]) -> tuple[Answer, int]:
        """An answer whose every amount is of one second, and that second."""
        with simulator.world.standing_still() as second:
            return simulator.answer(path, query), second

    def _send(self, answer: Answer, second: int) -> None:
        code, body = answer
        text = self.server.simulator.faults.cut(json.dumps(body)).encode()
        second += self.server.simulator.faults.clock_off_s
        self.send_response_only(code)
        self.send_header("Server", self.server_version)
        self.send_header("Date", format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Quiet: `/simulator/requests` has them all."""


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _second(text: str | None, default: int) -> int:
    return default if text is None else int(datetime.fromisoformat(text).timestamp())


def main() -> None:
    """Run as a process until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A simulated provider; no money is spent.")
    parser.add_argument("--world", type=Path, required=True, help="a world file (JSON)")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, help="where to write the port once it answers")
    parser.add_argument("--api-key-file", type=Path, required=True)
    parser.add_argument("--account-file", type=Path, help="where to leave the account when it ends")
    options = parser.parse_args()
    world = SimulatedWorld.from_json(json.loads(options.world.read_text(encoding="utf-8")), SystemClock())
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    with running_simulator(world, options.api_key_file.read_text(encoding="utf-8").strip(), options.port) as it:
        if options.port_file:
            options.port_file.write_text(f"{it.port}\n", encoding="utf-8")
        print(f"simulated provider at {it.base_url}", flush=True)
        ended.wait()
    if options.account_file:
        options.account_file.write_text(json.dumps(bodies.account_by_second(world)), encoding="utf-8")


if __name__ == "__main__":
    main()
