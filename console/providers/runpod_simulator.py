"""The simulated RunPod: an HTTP server that speaks its REST v2 over a simulated account.

`python -m console.providers.runpod_simulator` runs it as a process. Paths under `/v2` are the provider's; those
under `/simulator` are ours and say `"simulated": true`. An answer's `Date` is exactly the second of the world at
which its amounts were computed.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from console.providers import runpod_simulator_billing as billing
from console.providers import runpod_simulator_bodies as bodies
from console.providers.runpod_simulator_faults import RunPodFaults
from console.providers.runpod_simulator_world import SimulatedRunPod
from console.providers.simulator_server import (
    Answer,
    Reply,
    Request,
    SimulatorServer,
    run_as_process,
    running,
    second_of,
)
from console.providers.simulator_world import Impossible
from store.money import parse_nusd

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


class RunPodSimulator(SimulatorServer[SimulatedRunPod, RunPodFaults]):
    """A simulated account behind a port of loopback, from `start` to `stop`."""

    def __init__(self, world: SimulatedRunPod, api_key: str, port: int = 0) -> None:
        super().__init__(world, RunPodFaults(world), api_key, port)
        self.faults.set(None)
        self._minute, self._asked = 0, 0

    def serve(self, request: Request) -> Reply | None:
        """The reply to whatever is not ours; None: it is lost."""
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return Reply(error(401, "missing bearer token"), self.world.now_s())
        early, now = self.faults.before(request.path), self.world.now_s()
        with self.lock:
            left = self.count()
        if early is not None or left < 0:
            status = early or 429
            detail = "rate limit exceeded for the minute window" if status == 429 else "a simulated fault"
            wait = self.world.retry_after_s if early else 60 - now % 60
            return Reply(error(status, detail), now, self._limits(0, wait, status))
        with self.lock, self.world.standing_still() as second:
            known = request.path.removeprefix("/v2")
            is_action = request.method == "POST"
            answer = self.act(known, request.body) if is_action else self.answer(known, request.query)
        if self.faults.drops(request.path):
            return None
        return Reply(answer, second, self._limits(left, 60 - second % 60, answer[0]))

    def content(self, answer: Answer) -> tuple[str, str] | None:
        """The type and the text of an answer's body: an error is a problem document, a 204 has none."""
        sent = super().content(answer)
        if answer[0] == 204 or sent is None:
            return None
        return ("application/problem+json", sent[1]) if answer[0] >= 400 else sent

    def _limits(self, left: int, wait_s: int, status: int) -> dict[str, str]:
        """The headers of the rate limit, on every answer to whoever has a key."""
        used_up = 0 if status == 429 else max(left, 1)
        limits = {
            "RateLimit": f'"minute";r={used_up};t={wait_s}',
            "RateLimit-Policy": f'"minute";q={self.world.quota_per_min};w=60',
        }
        return {**limits, "Retry-After": str(wait_s)} if status == 429 else limits

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

    def neutral_states(self) -> dict[str, Any]:
        """Every pod's state, in our own words."""
        return bodies.neutral_states(self.world)

    def intervene(self, path: str, body: dict[str, Any]) -> Answer | None:
        """What the provider does to a resource unasked: `/correct/pod/ID`, `/vanish/pod/ID`, `/preempt/pod/ID`."""
        act, _, rest = path.removeprefix("/").partition("/")
        kind, _, id_ = rest.partition("/")
        resource = self.world.find(kind, id_)
        if resource is None:
            return None
        if act == "correct":
            of = body.get("of")
            self.world.correct(
                resource, parse_nusd(str(body.get("usd", ""))), None if of is None else second_of(of, 0)
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


def running_runpod(
    world: SimulatedRunPod, api_key: str = "key", port: int = 0
) -> AbstractContextManager[RunPodSimulator]:
    """A simulator that answers while the block runs."""
    return running(RunPodSimulator(world, api_key, port))


def main() -> None:
    """Run as a process until SIGTERM or SIGINT."""
    run_as_process(
        "SIMULATED RunPod",
        "A simulated RunPod; no money is spent.",
        SimulatedRunPod.from_json,
        running_runpod,
    )


if __name__ == "__main__":
    main()
