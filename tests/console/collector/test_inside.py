"""A console that holds every secret collects by itself when nobody else does."""

import threading
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


def test_it_does_not_collect_without_an_alarm_channel_s_secret(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    text = (tmp_path / "mtok.toml").read_text(encoding="utf-8")
    text += '[[alarms.channels]]\nname = "pager"\nurl_file = "no-such-file"\n'
    (tmp_path / "mtok.toml").write_text(text, encoding="utf-8")
    with collecting(database, load_settings(tmp_path / "mtok.toml"), wanted=True) as note:
        assert "does not collect" in note
        assert "pager" in note
    assert ticks(database) == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_collector_that_cannot_begin_does_not_break_the_end_of_the_screen(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").unlink()  # between the question and the start
    monkeypatch.setattr("console.collector.inside._why_not", lambda _: None)
    with collecting(database, settings, wanted=True):
        for thread in threading.enumerate():
            if thread.name == "collector":
                thread.join(30)
    assert ticks(database) == 0
