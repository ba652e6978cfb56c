"""A console that holds every secret collects by itself when nobody else does."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from console.collector.inside import collecting
from console.providers.simulator import running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import Settings, load_settings
from store.clock import SystemClock
from store.database import Database
from store.leader import leader
from store.tables import Tick
from tests.console.collector.conftest import SETTINGS, WORLD


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    with running_simulator(SimulatedWorld.from_json(WORLD, SystemClock())) as simulator:
        (tmp_path / "mtok.toml").write_text(SETTINGS.format(url=simulator.base_url), encoding="utf-8")
        yield load_settings(tmp_path / "mtok.toml")


def ticks(database: Database) -> int:
    with database.read() as session:
        return len(session.exec(select(Tick)).all())


def test_it_collects_while_the_screen_is_open_and_steps_down_after(database: Database, settings: Settings) -> None:
    with collecting(database, settings, wanted=True) as note:
        assert "collects" in note
        for _ in range(100):
            if ticks(database) >= 2:
                break
            time.sleep(0.05)
    assert ticks(database) >= 2
    with database.read() as session:
        assert leader(database, session) is None


def test_it_does_not_collect_unasked_or_without_a_secret(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    with collecting(database, settings, wanted=False) as note:
        assert "--no-collect" in note
    (tmp_path / "key").unlink()
    with collecting(database, settings, wanted=True) as note:
        assert "cannot read" in note
    assert ticks(database) == 0
