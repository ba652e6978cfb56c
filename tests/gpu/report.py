"""What was measured on a GPU, as JSON and as text, with the machine and the versions that it was measured with."""

import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.engine.probe import Machine, checks

RESULTS = Path(__file__).parents[1] / "bench" / "results"
NOT_RUN = 77  # as automake's tests say "skipped": neither passed nor failed
PACKAGES = ("mtok", "exllamav2", "torch", "numpy", "tokenizers")


@dataclass
class Report:
    """One run of `name`; `rows` are what was found, each with its own words for people under `text`."""

    name: str
    machine: Mapping[str, Any]
    at: datetime
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether a row says so."""
        return any(row.get("ok") is False for row in self.rows)

    def add(self, text: str, **values: Any) -> None:
        """Note a finding, and show it."""
        self.rows.append({"text": text, **values})
        print(text, flush=True)

    def text(self) -> str:
        """For people."""
        lines = [f"{self.name}, {self.at:%Y-%m-%d %H:%M} UTC", *(f"{k}: {v}" for k, v in self.machine.items()), ""]
        return "\n".join([*lines, *(str(row["text"]) for row in self.rows)]) + "\n"

    def body(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "at": self.at.isoformat(),
            "machine": dict(self.machine),
            "failed": self.has_failed,
            "rows": self.rows,
        }

    def write(self, folder: Path = RESULTS) -> Path:
        """Keep both; the path of the text."""
        folder.mkdir(parents=True, exist_ok=True)
        device = re.sub(r"[^a-z0-9]+", "-", str(self.machine.get("device", "no-gpu")).lower()).strip("-")
        stem = folder / f"{self.name}-{device}-{self.at:%Y%m%d-%H%M}"
        stem.with_suffix(".json").write_text(json.dumps(self.body(), indent=1) + "\n", encoding="utf-8")
        path = stem.with_suffix(".txt")
        path.write_text(self.text(), encoding="utf-8")
        return path


def missing(machine: Machine | None = None) -> str | None:
    """Why nothing can be run here; None when it can."""
    for check in checks(machine or Machine()):
        if check.found is None:
            return f"{check.name}: {check.problem}"
    return None


def not_run(name: str, reason: str) -> int:
    """Say so plainly; the exit code for it."""
    print(f"{name} not run: no GPU ({reason})", file=sys.stderr)
    return NOT_RUN


def this_machine() -> dict[str, Any]:
    """The GPU, the driver's CUDA, and every version that a result depends on."""
    import torch

    gpu = torch.cuda.get_device_properties(0)
    return {
        "device": gpu.name,
        "devices": torch.cuda.device_count(),
        "memory_gib": round(gpu.total_memory / 2**30, 1),
        "capability": f"{gpu.major}.{gpu.minor}",
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def new_report(name: str) -> Report:
    """A report of this machine at this instant."""
    return Report(name, this_machine(), datetime.now(UTC))
