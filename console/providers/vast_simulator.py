"""The simulated Vast.ai: an HTTP server that speaks its wire format over a simulated world.

`python -m console.providers.vast_simulator` runs it as a process. Paths under `/api` are the provider's; those
under `/simulator` are ours and say `"simulated": true`. An answer's `Date` is exactly the second of the world at
which its amounts were computed.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from console.providers import vast_simulator_bodies as bodies
from console.providers.simulator_server import (
    Answer,
    Handler,
    Reply,
    Request,
    SimulatorServer,
    run_as_process,
    running,
)
from console.providers.simulator_world import Impossible, SimulatedResource
from console.providers.vast_simulator_faults import TOO_FREQUENT, VastFaults
from console.providers.vast_simulator_world import VastWorld
from store.money import parse_nusd


class _Handler(Handler):
    """Whatever the method, a body is read."""

    do_GET = do_PUT = Handler.do_POST  # noqa: N815 - the names are the library's


class VastSimulator(SimulatorServer[VastWorld, VastFaults]):
    """A simulated account behind a port of loopback, from `start` to `stop`."""

    handler = _Handler

    def __init__(self, world: VastWorld, api_key: str, port: int = 0) -> None:
        super().__init__(world, VastFaults(world), api_key, port)

    def serve(self, request: Request) -> Reply | None:
        """The reply to whatever is not ours; None: it is lost."""
        early = self._early(request)
        if early is not None:
            return Reply(early, self.world.now_s())
        with self.lock, self.world.standing_still() as second:
            answer = self.answer(request.method, request.path, request.query, request.body)
        return None if self.faults.loses(request.method, request.path) else Reply(answer, second)

    def content(self, answer: Answer) -> tuple[str, str] | None:
        """The type and the text of an answer's body: a 429 is plain text."""
        return ("text/plain", TOO_FREQUENT) if answer[0] == 429 else super().content(answer)

    def _early(self, request: Request) -> Answer | None:
        """What is answered without looking at the account."""
        key = request.headers.get("Authorization")
        if key is None:
            return error(403, "auth_error", "This action requires login.")
        if key != f"Bearer {self.api_key}":
            return error(404 if "charges" in request.path else 401, "auth_error", "Invalid user key")
        status = self.faults.before(request.path)
        return None if status is None else error(status, "fault", "A simulated fault.")

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

    def neutral_states(self) -> dict[str, Any]:
        """Every instance's state, in our own words."""
        return bodies.neutral_states(self.world)

    def intervene(self, path: str, body: dict[str, Any]) -> Answer | None:
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


def running_vast_simulator(
    world: VastWorld, api_key: str = "key", port: int = 0
) -> AbstractContextManager[VastSimulator]:
    """A simulator that answers while the block runs."""
    return running(VastSimulator(world, api_key, port))


def main() -> None:
    """Run as a process until SIGTERM or SIGINT."""
    run_as_process(
        "simulated Vast.ai",
        "A simulated Vast.ai; no money is spent.",
        VastWorld.from_json,
        running_vast_simulator,
    )


if __name__ == "__main__":
    main()
