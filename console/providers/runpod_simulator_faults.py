"""Faults of the simulated RunPod: those of every simulator of ours, on bodies of its own shape."""

from typing import Any

from console.providers.simulator_faults import NONSENSE, SPOILED, Faults

Body = dict[str, Any]


class RunPodFaults(Faults):
    """The same words as `Faults`; the records of a bill are spoilt, each with `recordCount` to match."""

    _missing_owner: str | None = None

    def without_one(self, body: Body) -> Body:
        """A bill that lacks one resource, whoever asks for it."""
        if self.kind != "missing":
            return body
        owners = [owner for row in body["records"] if (owner := _owner(row)) is not None]
        if self._missing_owner is None:
            self._missing_owner = min(owners, default=None)
        return _with(body, [row for row in body["records"] if _owner(row) != self._missing_owner])

    def spoiled(self, body: Body) -> Body:
        """A bill whose first row is unsound."""
        if self.kind not in SPOILED or not body["records"]:
            return body
        first, *others = body["records"]
        rows = [{**first, "totalAmount": SPOILED[self.kind]}]
        if self.kind == "twice":
            rows.insert(0, first)
        return _with(body, [*rows, *others])

    def emptied(self, body: Body) -> Body:
        """A bill without records."""
        return _with(body, [])

    def quoted(self, body: Body) -> Body:
        """The pods, every price a large nonsense if the fault says so."""
        if self.kind != "rates" or "pods" not in body:
            return body
        return {**body, "pods": [{**row, "cost": NONSENSE} for row in body["pods"]]}

    def set(self, kind: str | None, prefix: str | tuple[str, ...] = "", times: int | None = None) -> None:
        """Begin a fault, or end the one there is (`None`)."""
        super().set(kind, prefix, times)
        self._missing_owner = None


def _owner(row: Body) -> str | None:
    return row.get("podId") or row.get("networkVolumeId")


def _with(body: Body, rows: list[Body]) -> Body:
    return {**body, "records": rows, "metadata": {**body["metadata"], "recordCount": len(rows)}}
