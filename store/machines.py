"""What a tier's agents last said of their machines: what they can do at most, and what their GPUs do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from store.capacity import KILOSECOND
from store.unknown import Unknown

if TYPE_CHECKING:
    from store.tables import AgentRow

NO_AGENT = Unknown("no agent has answered yet")


@dataclass(frozen=True, slots=True)
class CapacityView:
    """A tier's capacity now, in completion tokens in 1000 s; `abouts` says by agent how each was measured."""

    per_ks: int
    abouts: Mapping[str, str]

    @property
    def tokens_per_s(self) -> Fraction:
        """The same a second."""
        return Fraction(self.per_ks, KILOSECOND)


@dataclass(frozen=True, slots=True)
class GpuView:
    """One GPU of an agent's host, as it said last; None is a figure that it does not give."""

    agent: str
    index: int
    name: str
    driver: str
    utilisation_percent: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_mw: int | None = None
    temperature_c: int | None = None


def capacity_of(agents: Sequence["AgentRow"]) -> CapacityView | Unknown:
    """What a tier's agents can do at most, together; not known as soon as one of them is not."""
    if not agents:
        return NO_AGENT
    for one in agents:
        if one.capacity_per_ks is None:
            return Unknown(f"agent {one.agent}: {one.capacity_about or 'not measured: run mtok agent bench'}")
    total = sum(one.capacity_per_ks for one in agents if one.capacity_per_ks is not None)
    return CapacityView(total, {one.agent: one.capacity_about for one in agents})


def dumped_gpus(gpus: Sequence[GpuView] | Unknown) -> str:
    """As the store keeps it: a JSON list, or a JSON string that says why there is none."""
    found = gpus.reason if isinstance(gpus, Unknown) else [{**asdict(one), "agent": None} for one in gpus]
    return json.dumps(found, ensure_ascii=False)


def gpus_of(agents: Sequence["AgentRow"]) -> tuple[tuple[GpuView, ...], Mapping[str, str]]:
    """The GPUs of the agents that answer, and by agent why it has none to show."""
    views: list[GpuView] = []
    without: dict[str, str] = {}
    for one in agents:
        if one.problem is not None or not one.gpu:
            continue
        found = json.loads(one.gpu)
        if isinstance(found, str):
            without[one.agent] = found
        else:
            views += [GpuView(**{**gpu, "agent": one.agent}) for gpu in found]
    return tuple(views), without
