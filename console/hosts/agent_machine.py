"""What an agent says of its machine in `GET /control/usage`: capacity and GPUs.

A bad value here is a figure that is not known, with its reason: the ledger's totals beside it still count. Texts
come from another machine: what cannot be printed is replaced, what is long is cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    StrictFloat,
    StrictInt,
    TypeAdapter,
    ValidationError,
)

from store.capacity import per_kilosecond
from store.machines import GpuView
from store.printable import named
from store.unknown import Unknown

_MOST_GPUS = 64
_FIRST_YEAR, _LAST_YEAR = 2000, 9000  # what lies beyond may have no UTC, and no place in a database
_NO_CAPACITY = "this agent says nothing of its capacity; a newer mtok does"
_NO_GPUS = Unknown("no GPU figures: this agent says nothing of GPUs; a newer mtok does")


def _in_range(at: datetime) -> datetime:
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        msg = f"the year {at.year} is none of ours"
        raise ValueError(msg)
    return at


Instant = Annotated[AwareDatetime, AfterValidator(_in_range)]
_Big = Annotated[StrictInt, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True)
class AgentMachine:
    """An agent's machine. `capacity_per_ks`: completion tokens in 1000 s; None, and `capacity_about` says why."""

    capacity_per_ks: int | None = None
    capacity_measured_at: datetime | None = None
    capacity_about: str = _NO_CAPACITY
    gpus: tuple[GpuView, ...] | Unknown = _NO_GPUS


class _Capacity(BaseModel):
    capacity_tokens_per_s: Annotated[StrictFloat | StrictInt, Field(ge=0.001, le=1e12, allow_inf_nan=False)]
    measured_at: Instant
    conditions: str


class _Gpu(BaseModel):
    index: Annotated[StrictInt, Field(ge=0, le=1024)]
    name: str
    driver: str
    utilisation_percent: Annotated[StrictInt, Field(ge=0, le=100)] | None = None
    memory_used_bytes: _Big | None = None
    memory_total_bytes: _Big | None = None
    power_mw: _Big | None = None
    temperature_c: Annotated[StrictInt, Field(ge=-273, le=1000)] | None = None


_GPUS = TypeAdapter(Annotated[list[_Gpu], Field(max_length=_MOST_GPUS)])


def machine_of(agent: str, body: Mapping[str, Any]) -> AgentMachine:
    """The machine, as the answer of `agent` has it."""
    gpus = _gpus(agent, body)
    about = body.get("capacity")
    if about is None:
        return AgentMachine(gpus=gpus)
    if isinstance(about, dict) and isinstance(about.get("unknown"), str):
        return AgentMachine(capacity_about=named(about["unknown"]), gpus=gpus)
    try:
        said = {"capacity_tokens_per_s": body.get("capacity_tokens_per_s"), **about}
        found = _Capacity.model_validate(said)
    except (ValidationError, TypeError):
        return AgentMachine(capacity_about="its answer on capacity is not in the documented shape", gpus=gpus)
    per_ks = per_kilosecond(found.capacity_tokens_per_s)
    return AgentMachine(per_ks, found.measured_at, named(found.conditions), gpus)


def _gpus(agent: str, body: Mapping[str, Any]) -> tuple[GpuView, ...] | Unknown:
    said = body.get("gpu")
    if said is None:
        return _NO_GPUS
    if isinstance(said, dict) and isinstance(said.get("unknown"), str):
        return Unknown(named(said["unknown"]))
    try:
        found = _GPUS.validate_python(said)
    except ValidationError:
        return Unknown("no GPU figures: its answer on GPUs is not in the documented shape")
    return tuple(_view(agent, one) for one in found)


def _view(agent: str, one: _Gpu) -> GpuView:
    plain = one.model_copy(update={"name": named(one.name), "driver": named(one.driver)})
    return GpuView(agent=agent, **plain.model_dump())
