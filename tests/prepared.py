"""What the demo's agents would make at their start, made once: their model, and ledgers without an entry."""

import functools
import tempfile
from pathlib import Path

from agent.engine.make import ensure_model
from console.demo.fleets import TIERS, DemoTier
from tests.agent.conftest import put_empty_ledger


@functools.cache
def _model() -> dict[str, bytes]:
    """The reference model's files."""
    with tempfile.TemporaryDirectory() as folder:
        ensure_model(path := Path(folder) / "model")
        return {file.name: file.read_bytes() for file in path.iterdir()}


def prepare_agents(state: Path, tiers: tuple[DemoTier, ...] = TIERS) -> None:
    """Before a demo starts in `state`, or before its agents do."""
    model = state / "agents" / "model"
    model.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in _model().items():
        (model / name).write_bytes(content)
    for tier in tiers:
        home = state / "agents" / f"{tier.name}-a"
        home.mkdir(mode=0o700, exist_ok=True)
        put_empty_ledger(home / "ledger.db")
