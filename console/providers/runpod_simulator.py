"""The simulated RunPod: an HTTP server that speaks its REST v2 over a simulated account.

`python -m console.providers.runpod_simulator` runs it as a process. Paths under `/v2` are the provider's; those
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

from console.providers import runpod_simulator_billing as billing
from console.providers import runpod_simulator_bodies as bodies
from console.providers.runpod_simulator_faults import RunPodFaults
from console.providers.runpod_simulator_world import SimulatedRunPod
from console.providers.simulator_faults import Dropped
from console.providers.simulator_world import Impossible
from store.clock import SystemClock
from store.money import parse_nusd

Answer = tuple[int, dict[str, Any]]
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
}
_TAKEN = "There are not enough free GPUs on the host machine to start this pod."


class RunPodSimulator:
    """A simulated account behind a port of loopback, from `start` to `stop`."""

    def __init__(self, world: SimulatedRunPod, api_key: str, port: int = 0) -> None:
        self.world, self.api_key = world, api_key
        self.faults = RunPodFaults(world)
        self.faults.set(None)
        self.requests: list[str] = []
        self.lock = threading.RLock()
        self._minute, self._asked = 0, 0
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def base_url(self) -> str:
        """The address to give an adapter, under which `/simulator/…` lies too."""
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

    def count(self) -> int:
        """Count a request; answers how many this minute has left, below zero for one too many."""
        minute = self.world.now_s() // 60
        if minute != self._minute:
            self._minute, self._asked = minute, 0
        self._asked += 1
        return self.world.quota_per_min - self._asked

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        """The provider's answer to a GET below `/v2`."""
        bills: dict[str, Callable[[SimulatedRunPod, dict[str, str]], dict[str, Any]]] = {
            "/billing": billing.account,
            "/billing/pods": billing.pods,
            f"/billing/{self.world.volume_path}": billing.volumes,
        }
        if path in bills:
            try:
                return 200, self._faulty(bills[path](self.world, query))
            except billing.BadQuery as problem:
                return error(422, str(problem))
        if path == "/pods":
            return 200, self.faults.quoted(bodies.pods(self.world))
        if path == "/network-volumes":
            return 200, bodies.volumes(self.world)
        pod = self.world.find("pod", path.removeprefix("/pods/")) if path.startswith("/pods/") else None
        return error(404, "resource not found") if pod is None else (200, bodies.pod(pod, self.world))

    def act(self, path: str, body: dict[str, Any]) -> Answer:
        """The provider's answer to a POST below `/v2`: an action on a pod."""
        id_, _, word = path.removeprefix("/pods/").partition("/")
        pod = self.world.find("pod", id_)
        if pod is None or word != "action":
            return error(404, "resource not found")
        action = body.get("action")
        if body.keys() != {"action"} or action not in ("start", "stop", "restart", "terminate"):
            return error(422, "Request validation failed.")
        if action == "start" and self.faults.kind == "no_stock":
            return error(400, _TAKEN)
        try:
            if not self.faults.ignores(f"/v2{path}"):
                self.world.do(pod, action)
        except Impossible as problem:
            return error(409, str(problem))
        return (204, {}) if action == "terminate" else (200, bodies.pod(pod, self.world))

    def control(self, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Our own answer below `/simulator`."""
        if path == "/account":
            start, end = (
                _second(query.get("from"), self.world.began_s),
                _second(query.get("to"), self.world.now_s()),
            )
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
        """What the provider does to a resource unasked: `/correct/pod/ID`, `/vanish/pod/ID`, `/preempt/pod/ID`."""
        act, _, rest = path.removeprefix("/").partition("/")
        kind, _, id_ = rest.partition("/")
        resource = self.world.find(kind, id_)
        if resource is None:
            return None
        if act == "correct":
            of = body.get("of")
            self.world.correct(
                resource, parse_nusd(str(body.get("usd", ""))), None if of is None else _second(of, 0)
            )
        elif act == "vanish":
            self.world.vanish(resource)
        elif act == "preempt":
            self.world.preempt(resource)
        else:
            return None
        return 200, {"simulated": True, act: resource.id}

    def _faulty(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.faults.empties("/v2/billing"):
            return self.faults.emptied(body)
        return self.faults.spoiled(self.faults.without_one(body))


def error(status: int, detail: str) -> Answer:
    """An error in the documented shape: a problem document of RFC 9457."""
    return status, {"title": _TITLES[status], "status": status, "detail": detail}


@contextmanager
def running_runpod(world: SimulatedRunPod, api_key: str = "key", port: int = 0) -> Iterator[RunPodSimulator]:
    """A simulator that answers while the block runs."""
    simulator = RunPodSimulator(world, api_key, port)
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], simulator: RunPodSimulator) -> None:
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
        with simulator.lock:
            simulator.requests.append(f"{self.command} {self.path}")
        if self.headers.get("Authorization") != f"Bearer {simulator.api_key}":
            return self._send(error(401, "missing bearer token"), simulator.world.now_s())
        return self._answer(simulator, target.path, query, body)

    def _answer(self, simulator: RunPodSimulator, path: str, query: dict[str, str], body: dict[str, Any]) -> None:
        early, now = simulator.faults.before(path), simulator.world.now_s()
        with simulator.lock:
            left = simulator.count()
        if early is not None or left < 0:
            status = early or 429
            detail = "rate limit exceeded for the minute window" if status == 429 else "a simulated fault"
            wait = simulator.world.retry_after_s if early else 60 - now % 60
            return self._send(error(status, detail), now, self._limits(0, wait, status))
        with simulator.lock, simulator.world.standing_still() as second:
            known = path.removeprefix("/v2")
            answer = simulator.act(known, body) if self.command == "POST" else simulator.answer(known, query)
        try:
            simulator.faults.after(path)
        except Dropped:
            self.close_connection = True
            return None
        return self._send(answer, second, self._limits(left, 60 - second % 60, answer[0]))

    def _limits(self, left: int, wait_s: int, status: int) -> dict[str, str]:
        """The headers of the rate limit, on every answer to whoever has a key."""
        quota = self.server.simulator.world.quota_per_min
        used_up = 0 if status == 429 else max(left, 1)
        limits = {"RateLimit": f'"minute";r={used_up};t={wait_s}', "RateLimit-Policy": f'"minute";q={quota};w=60'}
        return {**limits, "Retry-After": str(wait_s)} if status == 429 else limits

    def _send(self, answer: Answer, second: int, headers: dict[str, str] | None = None) -> None:
        code, body = answer
        faults = self.server.simulator.faults
        text = b"" if code == 204 else faults.cut(json.dumps(body)).encode()
        self.send_response_only(code)
        self.send_header("Server", self.server_version)
        date = datetime.fromtimestamp(second + faults.clock_off_s, UTC)
        self.send_header("Date", format_datetime(date, usegmt=True))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if code != 204:
            self.send_header("Content-Type", "application/problem+json" if code >= 400 else "application/json")
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Quiet: `/simulator/requests` has them all."""


def _second(text: str | None, default: int) -> int:
    return default if text is None else int(datetime.fromisoformat(text).timestamp())


def main() -> None:
    """Run as a process until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A simulated RunPod; no money is spent.")
    parser.add_argument("--world", type=Path, required=True, help="a world file (JSON)")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, help="where to write the port once it answers")
    parser.add_argument("--api-key-file", type=Path, required=True)
    parser.add_argument("--account-file", type=Path, help="where to leave the account when it ends")
    options = parser.parse_args()
    world = SimulatedRunPod.from_json(json.loads(options.world.read_text(encoding="utf-8")), SystemClock())
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    with running_runpod(world, options.api_key_file.read_text(encoding="utf-8").strip(), options.port) as it:
        if options.port_file:
            options.port_file.write_text(f"{it.port}\n", encoding="utf-8")
        print(f"SIMULATED RunPod at {it.base_url}", flush=True)
        ended.wait()
    if options.account_file:
        options.account_file.write_text(json.dumps(bodies.account_by_second(world)), encoding="utf-8")


if __name__ == "__main__":
    main()
