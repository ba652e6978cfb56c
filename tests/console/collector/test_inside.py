"""A console that holds every secret collects by itself when nobody else does."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlmodel import select

from console.collector.inside import InsideCollector
from console.providers.simulator import running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import Settings, load_settings
from store.clock import SystemClock
from store.database import Database
from store.errors import StoreUnreachable
from store.leader import leader
from store.tables import Tick
from tests.console.collector.conftest import PATIENT, SETTINGS, WORLD


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    with running_simulator(SimulatedWorld.from_json(WORLD, SystemClock())) as simulator:
        text = SETTINGS.format(url=simulator.base_url, **PATIENT)
        (tmp_path / "mtok.toml").write_text(text, encoding="utf-8")
        yield load_settings(tmp_path / "mtok.toml")


def ticks(database: Database) -> int:
    with database.read() as session:
        return len(session.exec(select(Tick)).all())


@contextmanager
def collecting(database: Database, settings: Settings) -> Iterator[list[str | None]]:
    """A collector inside this process; what it tells."""
    told: list[str | None] = []
    collector = InsideCollector(lambda: database, settings, told.append)
    collector.start()
    try:
        yield told
    finally:
        collector.stop()


def ended() -> None:
    """Wait until the collector's thread has ended by itself."""
    for thread in threading.enumerate():
        if thread.name == "collector":
            thread.join(30)
            assert not thread.is_alive()


def test_it_collects_while_the_screen_is_open_and_steps_down_after(database: Database, settings: Settings) -> None:
    with collecting(database, settings) as told:
        for _ in range(400):
            if ticks(database) >= 2:
                break
            time.sleep(0.05)
        assert told == [None]
    assert ticks(database) >= 2
    with database.read() as session:
        assert leader(database, session) is None


def test_it_does_not_collect_without_a_secret(database: Database, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "key").unlink()
    with collecting(database, settings) as told:
        ended()
    (why_not,) = told
    assert "cannot read" in (why_not or "")
    assert ticks(database) == 0


def test_it_does_not_collect_without_an_alarm_channel_s_secret(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    text = (tmp_path / "mtok.toml").read_text(encoding="utf-8")
    text += '[[alarms.channels]]\nname = "pager"\nurl_file = "no-such-file"\n'
    (tmp_path / "mtok.toml").write_text(text, encoding="utf-8")
    with collecting(database, load_settings(tmp_path / "mtok.toml")) as told:
        ended()
    (why_not,) = told
    assert "pager" in (why_not or "")
    assert ticks(database) == 0


def test_a_collector_that_cannot_begin_says_so(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").unlink()  # between the question and the start
    monkeypatch.setattr("console.collector.build.why_not_lead", lambda _: None)
    with collecting(database, settings) as told:
        ended()
    (why_not,) = told
    assert "cannot read" in (why_not or "")
    assert ticks(database) == 0


def test_whatever_keeps_it_from_collecting_is_told(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "console.collector.schedule", None)
    with collecting(database, settings) as told:
        ended()
    (why_not,) = told
    assert "ModuleNotFoundError" in (why_not or "")


def test_a_store_that_does_not_answer_is_asked_again(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.collector.inside._OPENS_AGAIN_S", 0.01)
    refused = iter([StoreUnreachable("sqlite:///x", "locked")] * 3)

    def opened() -> Database:
        for error in refused:
            raise error
        return database

    told: list[str | None] = []
    collector = InsideCollector(opened, settings, told.append)
    collector.start()
    for _ in range(400):
        if ticks(database):
            break
        time.sleep(0.05)
    collector.stop()
    assert ticks(database)
    why_not, collects = told  # said once, however often it was refused
    assert "locked" in (why_not or "")
    assert collects is None


def test_one_that_waits_for_its_store_can_be_stopped(settings: Settings) -> None:
    told = threading.Event()

    def refuses() -> Database:
        raise StoreUnreachable("sqlite:///x", "locked")

    collector = InsideCollector(refuses, settings, lambda _: told.set())
    collector.start()
    assert told.wait(30)
    collector.stop()
    ended()


def test_one_that_is_stopped_before_it_has_loaded_never_ticks(database: Database, settings: Settings) -> None:
    collector = InsideCollector(lambda: database, settings, print)
    collector.stop()
    collector.start()
    ended()
    assert ticks(database) == 0
