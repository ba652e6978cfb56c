"""The simulated Vast.ai: an HTTP server that speaks its wire format over a simulated world.

`python -m console.providers.vast_simulator` runs it as a process. Paths under `/api` are the provider's; those
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

from console.providers import vast_simulator_bodies as bodies
from console.providers.simulator_bodies import account, account_by_second
from console.providers.simulator_world import Impossible, SimulatedResource
from console.providers.vast_simulator_faults import TOO_FREQUENT, VastFaults
from console.providers.vast_simulator_world import VastWorld
from store.clock import SystemClock
from store.money import parse_nusd

Answer = tuple[int, dict[str, Any]]


class VastSimulator:
    """A simulated account behind a port of loopback, from `start` to `stop`."""

    def __init__(self, world: VastWorld, api_key: str, port: int = 0) -> None:
        self.world, self.api_key = world, api_key
        self.faults = VastFaults(world)
        self.requests: list[str] = []
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def base_url(self) -> str:
        """The address to give an adapter or the provider's SDK."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self.faults.end()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """The provider's answer, below `/api`."""
        if self.faults.denies(path):
            return 200, {"success": False, "error": "internal", "msg": "A simulated fault."}
        words = path.strip("/").split("/")
        try:
            if words[:3] == ["api", "v0", "instances"] and len(words) == 4 and words[3].isdigit():
                return self._instance(method, path, int(words[3]), body)
            lists: dict[str, Callable[[], dict[str, Any]]] = {
                "api/v0/charges": lambda: self._charges(query),
                "api/v1/instances": lambda: self.faults.looped(
                    bodies.instances(self.world, query, self.faults.quoted)
                ),
                "api/v0/volumes": lambda: bodies.volumes(self.world, self.faults.quoted),
            }
            found = lists.get("/".join(words)) if method == "GET" else None
            return (200, found()) if found else error(404, "not_found", f"There is no {path}")
        except bodies.BadRequest as problem:
            return error(400, problem.code, problem.words)

    def control(self, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Our own answer below `/simulator`."""
        if path == "/account":
            start = _second(query.get("from"), self.world.began_s)
            end = _second(query.get("to"), self.world.now_s())
            return 200, account(self.world, start, end)
        if path == "/instances":
            return 200, bodies.neutral_states(self.world)
        if path == "/requests":
            return 200, {"simulated": True, "requests": list(self.requests)}
        if path == "/faults":
            self.faults.set(body.get("fault"), body.get("path_prefix", ""), body.get("times"))
            return 200, {"simulated": True, "fault": self.faults.kind}
        return self._intervene(path, body) or (404, {"simulated": True, "message": f"There is no {path}"})

    def _intervene(self, path: str, body: dict[str, Any]) -> Answer | None:
        """What happens to a resource unasked: `/credit/vm/8429`, `/vanish/volume/5341`, `/preempt/8429`."""
        act, _, rest = path.removeprefix("/").partition("/")
        kind, _, id_ = rest.rpartition("/")
        resource = self.world.find(kind or "vm", int(id_)) if id_.isdigit() else None
        acts: dict[str, Callable[[SimulatedResource], None]] = {
            "credit": lambda one: self.world.credit(one, parse_nusd(str(body.get("usd", "")))),
            "vanish": lambda one: self.world.vanish(one, is_listed=bool(body.get("listed", True))),
            "preempt": self.world.preempt,
        }
        if resource is None or act not in acts:
            return None
        acts[act](resource)
        return 200, {"simulated": True, act: resource.id}

    def _charges(self, query: dict[str, str]) -> dict[str, Any]:
        body = bodies.charges(self.world, query)
        return self.faults.looped(self.faults.spoiled(self.faults.without_one(body)))

    def _instance(self, method: str, path: str, id_: int, body: dict[str, Any]) -> Answer:
        resource = self.world.find("vm", id_)
        if resource is None:
            return error(404, "no_such_instance", f"Instance {id_} not found")
        if method == "GET":
            return 200, {"instances": bodies.instance(resource, self.world, self.faults.quoted)}
        acts = {"stopped": self.world.stop, "running": self.world.start}
        act = acts.get(str(body.get("state"))) if method == "PUT" else None
        if act is None:
            return error(400, "invalid_args", "state must be 'stopped' or 'running'")
        if body["state"] == "running" and self.faults.kind == "no_stock":
            return 200, {"success": False, "error": "no_capacity", "msg": "The GPU is not available."}
        try:
            if not self.faults.ignores(path):
                act(resource)
        except Impossible as problem:
            return error(400, "invalid_args", str(problem))
        return 200, {"success": True}


def error(code: int, reason: str, message: str) -> Answer:
    """An error in the documented shape."""
    return code, {"success": False, "error": reason, "msg": message}


@contextmanager
def running_vast_simulator(world: VastWorld, api_key: str = "key", port: int = 0) -> Iterator[VastSimulator]:
    """A simulator that answers while the block runs."""
    simulator = VastSimulator(world, api_key, port)
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], simulator: VastSimulator) -> None:
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
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def _handle(self) -> None:
        simulator, body = self.server.simulator, self._body()
        target = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(target.query).items()}
        if target.path.startswith("/simulator/"):
            with simulator.lock:
                answer = simulator.control(target.path.removeprefix("/simulator"), query, body)
                second = simulator.world.now_s()
            return self._send(answer, second)
        simulator.requests.append(f"{self.command} {self.path}")
        early = self._early(simulator, target.path)
        if early is not None:
            return self._send(early, simulator.world.now_s())
        with simulator.lock, simulator.world.standing_still() as second:
            answer = simulator.answer(self.command, target.path, query, body)
        if simulator.faults.loses(self.command, target.path):
            self.close_connection = True
            return None
        return self._send(answer, second)

    def _early(self, simulator: VastSimulator, path: str) -> Answer | None:
        """What is answered without looking at the account."""
        key = self.headers.get("Authorization")
        if key is None:
            return error(403, "auth_error", "This action requires login.")
        if key != f"Bearer {simulator.api_key}":
            return error(404 if "charges" in path else 401, "auth_error", "Invalid user key")
        status = simulator.faults.before(path)
        return None if status is None else error(status, "fault", "A simulated fault.")

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        try:
            body = json.loads(self.rfile.read(length) or b"{}")
        except ValueError:
            body = {}
        return body if isinstance(body, dict) else {}

    def _send(self, answer: Answer, second: int) -> None:
        code, body = answer
        is_text = code == 429
        text = (TOO_FREQUENT if is_text else self.server.simulator.faults.cut(json.dumps(body))).encode()
        second += self.server.simulator.faults.clock_off_s
        self.send_response_only(code)
        self.send_header("Server", self.server_version)
        self.send_header("Date", format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True))
        self.send_header("Content-Type", "text/plain" if is_text else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Quiet: `/simulator/requests` has them all."""


def _second(text: str | None, default: int) -> int:
    return default if text is None else int(datetime.fromisoformat(text).timestamp())


def main() -> None:
    """Run as a process until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A simulated Vast.ai; no money is spent.")
    parser.add_argument("--world", type=Path, required=True, help="a world file (JSON)")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, help="where to write the port once it answers")
    parser.add_argument("--api-key-file", type=Path, required=True)
    parser.add_argument("--account-file", type=Path, help="where to leave the account when it ends")
    options = parser.parse_args()
    world = VastWorld.from_json(json.loads(options.world.read_text(encoding="utf-8")), SystemClock())
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    key = options.api_key_file.read_text(encoding="utf-8").strip()
    with running_vast_simulator(world, key, options.port) as it:
        if options.port_file:
            options.port_file.write_text(f"{it.port}\n", encoding="utf-8")
        print(f"simulated Vast.ai at {it.base_url}", flush=True)
        ended.wait()
    if options.account_file:
        options.account_file.write_text(json.dumps(account_by_second(world)), encoding="utf-8")


if __name__ == "__main__":
    main()
