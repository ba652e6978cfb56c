"""Faults of the simulated Vast.ai, on demand: those of our other simulator, and this provider's own."""

from typing import Any

from console.providers.simulator_faults import Faults
from console.providers.vast_simulator_bodies import cursor, quoted
from console.providers.vast_simulator_world import VastWorld

TOO_FREQUENT = "API requests too frequent: endpoint threshold=5.5"
_NONSENSE = 98_765.4321
_SPOILED: dict[str | None, Any] = {
    "nan": float("nan"),
    "string": "12.3",
    "digits": "9" * 400,
    "negative": -5,
    "twice": 10**6,
}


class VastFaults(Faults):
    """As in `Faults`, the bills being the charges; a 429 is plain text. And besides:

    loop: `next_token` always leads back to the first page. unsuccessful: HTTP 200 that says `"success": false`,
    nothing done. outbid: every instance that was bid for is stopped by the market, until changed. drop_actions: as
    drop, for what changes something alone.
    """

    def __init__(self, world: VastWorld) -> None:
        super().__init__(world)
        self._market = world

    def set(self, kind: str | None, prefix: str | tuple[str, ...] = "", times: int | None = None) -> None:
        """Begin a fault, or end the one there is (`None`)."""
        super().set(kind, prefix, times)
        self._market.outbid(is_dear=kind == "outbid")

    def denies(self, path: str) -> bool:
        """Whether the answer is to say that it was no success."""
        return self.kind == "unsuccessful" and self._strikes(path) and self._count()

    def loses(self, method: str, path: str) -> bool:
        """Whether the answer is to be lost, now that the work is done."""
        if self.kind == "drop_actions" and method == "PUT":
            return self._strikes(path) and self._count()
        return self.drops(path)

    def without_one(self, body: dict[str, Any]) -> dict[str, Any]:
        """Charges that lack one contract, whoever asks for them."""
        if self.kind == "empty":
            return {**body, "count": 0, "total": 0, "next_token": None, "results": []}
        if self.kind != "missing" or not body["results"]:
            return body
        return {**body, "results": body["results"][1:]}

    def spoiled(self, body: dict[str, Any]) -> dict[str, Any]:
        """Charges with their first row made unsound."""
        if self.kind not in _SPOILED or not body["results"]:
            return body
        first, *others = body["results"]
        rows = [{**first, "amount": _SPOILED[self.kind]}]
        if self.kind == "twice":
            rows.insert(0, first)
        return {**body, "results": [*rows, *others]}

    def looped(self, body: dict[str, Any]) -> dict[str, Any]:
        """A page whose cursor never ends."""
        return {**body, "next_token": cursor("vm", 0)} if self.kind == "loop" else body

    def quoted(self, nusd_per_hour: int) -> float:
        """A rate as it is quoted now."""
        return _NONSENSE if self.kind == "rates" else quoted(nusd_per_hour)
