"""What a benchmark has found, kept beside the ledger for as long as the same model is served in the same way."""

import os
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from agent.engine.protocol import EngineInfo
from agent.errors import BenchStopped
from store.unknown import Unknown

SERVED = ("engine", "model", "quantisation", "attention", "device", "max_batch")
"""What must be the same for a measurement to hold."""

NOT_MEASURED = Unknown("not measured: run mtok agent bench")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Rate(_Part):
    """Tokens per second of wall time: the median of the runs, and how far they lay apart."""

    tokens_per_s: float = Field(gt=0, allow_inf_nan=False)
    slowest: float = Field(gt=0, allow_inf_nan=False)
    fastest: float = Field(gt=0, allow_inf_nan=False)


class BatchRate(Rate):
    """Completion tokens per second while `batch` sequences run."""

    batch: int = Field(ge=1)


class LeftOut(_Part):
    """A batch that was not measured."""

    batch: int
    why: str


class Measurement(_Part):
    """A whole benchmark: what was served, under which conditions, and how fast."""

    measured_at: AwareDatetime
    mtok_version: str
    engine: str
    engine_version: str
    device: str
    model: str
    quantisation: str
    attention: str | None
    context_tokens: int
    max_batch: int
    prompt_tokens: int
    completion_tokens: int
    prefill_tokens: int
    seconds: float
    runs: int
    prefill: Rate
    batches: tuple[BatchRate, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()
    is_partial: bool = False
    is_shared: bool = False

    @property
    def best(self) -> BatchRate:
        """The batch at which the most tokens were generated."""
        return max(self.batches, key=lambda one: one.tokens_per_s)

    @property
    def capacity_tokens_per_s(self) -> float:
        """The agent's capacity: completion tokens per second that it has sustained at its best batch."""
        return self.best.tokens_per_s

    @property
    def conditions(self) -> str:
        """Under what the capacity was measured, as one line."""
        asked = f"batch {self.best.batch}, prompts of {self.prompt_tokens} and answers of {self.completion_tokens}"
        served = f"{self.model}, {self.quantisation}, attention {self.attention or 'plain'}, {self.device}"
        return f"{asked} tokens; {served}; {self.engine} ({self.engine_version}), mtok {self.mtok_version}"

    @property
    def not_kept(self) -> str | None:
        """Why this is no capacity."""
        if self.is_shared:
            return "others were served meanwhile: it is too low for a capacity"
        return "only some batches were asked for: the best may not be among them" if self.is_partial else None

    def body(self) -> dict[str, Any]:
        """It as JSON has it, with what follows from it."""
        follows = {
            "capacity_tokens_per_s": self.capacity_tokens_per_s,
            "capacity_batch": self.best.batch,
            "not_kept": self.not_kept,
        }
        return {**self.model_dump(mode="json"), **follows}

    def differs(self, info: EngineInfo) -> str | None:
        """How what is served now is not what was measured."""
        now = served(info)
        changed = [f"{name} {getattr(self, name)}, now {now[name]}" for name in SERVED if not self._has(name, now)]
        return "; ".join(changed) or None

    def _has(self, name: str, now: dict[str, Any]) -> bool:
        return bool(getattr(self, name) == now[name])


def served(info: EngineInfo) -> dict[str, Any]:
    """What an engine says of itself, by the names of `SERVED`."""
    return {"engine": info.name, **{name: getattr(info, name) for name in SERVED[1:]}}


class Capacity:
    """The last measurement of an agent, from a file and into it."""

    def __init__(self, ledger: Path) -> None:
        self.path = ledger.with_name(f"{ledger.name}.bench.json")
        self._last: Measurement | Unknown = self._read()

    def now(self, info: EngineInfo | None) -> Measurement | Unknown:
        """The measurement, if it is of what is served now; else why there is none."""
        if info is None:
            return Unknown("the model is being loaded")
        if isinstance(self._last, Unknown):
            return self._last
        differs = self._last.differs(info)
        return self._last if differs is None else Unknown(f"measured with {differs}: run mtok agent bench again")

    def keep(self, measurement: Measurement) -> None:
        """Take a measurement in the place of the last one, whole or not at all.

        Raises:
            BenchStopped: the file cannot be written; the measurement holds until this process ends.
        """
        self._last = measurement
        fresh = self.path.with_name(f"{self.path.name}.new")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                file.write(measurement.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            problem = f"its result cannot be kept in {self.path}: {error.strerror or error}"
            raise BenchStopped(problem, "not_kept") from None

    def _read(self) -> Measurement | Unknown:
        try:
            return Measurement.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return NOT_MEASURED
        except (OSError, ValidationError):
            return Unknown(f"{self.path.name} cannot be read: run mtok agent bench again")
