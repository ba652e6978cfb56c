"""The simulated provider: an HTTP server that speaks Hyperstack's wire format over a simulated world.

`python -m console.providers.simulator` runs it as a process. Paths under `/v1` are the provider's; those
under `/simulator` are ours and say `"simulated": true`. An answer's `Date` is exactly the second of the world at
which its amounts were computed.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from console.providers import simulator_bodies as bodies
from console.providers.simulator_faults import Faults
from console.providers.simulator_history import PATH as HISTORY
from console.providers.simulator_history import history
from console.providers.simulator_server import Answer, Reply, Request, SimulatorServer, run_as_process, running
from console.providers.simulator_world import Impossible, SimulatedResource, SimulatedWorld
from store.money import parse_nusd


class Simulator(SimulatorServer[SimulatedWorld, Faults]):
    """A simulated account behind a port of loopback, from `start` to `stop`."""

    def __init__(self, world: SimulatedWorld, api_key: str, port: int = 0) -> None:
        super().__init__(world, Faults(world), api_key, port)

    @property
    def base_url(self) -> str:
        """The address to give an adapter or the provider's SDK."""
        return f"{self.root}/v1"

    def serve(self, request: Request) -> Reply | None:
        """The reply to whatever is not ours; None: it is lost."""
        path = request.path.removeprefix("/v1")
        if request.headers.get("api_key") != self.api_key:
            return Reply(error(401, "unauthorized", "Invalid API key."), self.world.now_s())
        early = self.faults.before(path)
        if early is not None:
            return Reply(error(early, "fault", "A simulated fault."), self.world.now_s())
        with self.lock, self.world.standing_still() as second:
            answer = self.answer(path, request.query)
        return None if self.faults.drops(path) else Reply(answer, second)

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

    def neutral_states(self) -> dict[str, Any]:
        """Every machine's state, in our own words."""
        return bodies.neutral_states(self.world)

    def intervene(self, path: str, body: dict[str, Any]) -> Answer | None:
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


def running_simulator(
    world: SimulatedWorld, api_key: str = "key", port: int = 0
) -> AbstractContextManager[Simulator]:
    """A simulator that answers while the block runs."""
    return running(Simulator(world, api_key, port))


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def main() -> None:
    """Run as a process until SIGTERM or SIGINT."""
    run_as_process(
        "simulated provider",
        "A simulated provider; no money is spent.",
        SimulatedWorld.from_json,
        running_simulator,
    )


if __name__ == "__main__":
    main()
