"""What the demo's parts would make at their start, made once: a model, ledgers and a store without an entry."""

import functools
import tempfile
from pathlib import Path

from agent.engine.make import ensure_model
from console.demo.fleets import TIERS, DemoTier
from console.demo.world import World
from tests.agent.conftest import put_empty_ledger
from tests.databases import empty_sqlite


@functools.cache
def _model() -> dict[str, bytes]:
    """The reference model's files."""
    with tempfile.TemporaryDirectory() as folder:
        ensure_model(path := Path(folder) / "model")
        return {file.name: file.read_bytes() for file in path.iterdir()}


def use_null_engine(world: World) -> None:
    """A token each ten milliseconds that costs nothing, for what is not about engines; before the agents start."""
    for agent in world.agents:
        text = agent.settings.read_text(encoding="utf-8")
        assert 'engine = "reference"\n' in text
        text = text.replace('engine = "reference"\n', 'engine = "null"\n')
        agent.settings.write_text(f"{text}[null]\ntokens_per_step = 1\nstep_ms = 10\n", encoding="utf-8")


def prepare_demo(state: Path, tiers: tuple[DemoTier, ...] = TIERS) -> None:
    """Before a demo starts in `state`, or before its agents do."""
    model = state / "agents" / "model"
    model.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in _model().items():
        (model / name).write_bytes(content)
    for tier in tiers:
        home = state / "agents" / f"{tier.name}-a"
        home.mkdir(mode=0o700, exist_ok=True)
        put_empty_ledger(home / "ledger.db")
    empty_sqlite(state / "mtok.db")
