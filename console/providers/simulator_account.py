"""What a simulated provider billed, from its world's own history: for auditors, not on the wire."""

from collections.abc import Sequence
from typing import Any, Protocol

from console.providers.simulator_world import instant

Body = dict[str, Any]
_LAST_S = 7200


class Accrued(Protocol):
    """A resource whose bill at any second can be computed again."""

    @property
    def id(self) -> int | str:
        """The provider's id."""
        ...

    @property
    def kind(self) -> str:
        """The provider's word for what it is."""
        ...

    @property
    def name(self) -> str:
        """What its owner called it."""
        ...

    def total_nusd(self, second: int) -> int:
        """What had been billed by `second`, nano-dollars."""
        ...


class Account(Protocol):
    """A world, as far as its bills go. Seconds are whole ones since 1970 on its clock."""

    began_s: int

    @property
    def resources(self) -> Sequence[Accrued]:
        """Everything that was ever billed."""
        ...

    def now_s(self) -> int:
        """The present second of the world."""
        ...


def account(world: Account, start_s: int, end_s: int) -> Body:
    """What was billed between two instants."""
    rows = [_account_row(one, start_s, end_s) for one in world.resources]
    return {
        "simulated": True,
        "from": instant(start_s),
        "to": instant(end_s),
        "resources": rows,
        "billed_nusd": sum(row["billed_nusd"] for row in rows),
    }


def _account_row(resource: Accrued, start_s: int, end_s: int) -> Body:
    start, end = resource.total_nusd(start_s), resource.total_nusd(end_s)
    return {
        "resource_type": resource.kind,
        "resource_id": resource.id,
        "name": resource.name,
        "total_from_nusd": start,
        "total_to_nusd": end,
        "billed_nusd": end - start,
    }


def account_by_second(world: Account) -> Body:
    """What had been billed in each of the last seconds, for whoever asks when the simulator has ended."""
    end = world.now_s()
    seconds = range(max(world.began_s, end - _LAST_S), end + 1)
    rows = [
        {
            "resource_type": one.kind,
            "resource_id": one.id,
            "name": one.name,
            "total_nusd": {instant(second): one.total_nusd(second) for second in seconds},
        }
        for one in world.resources
    ]
    return {"simulated": True, "resources": rows}
