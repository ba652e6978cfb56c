"""A leader that dies at any write: the next one goes on, and the provider sees one effect.

Every transaction of an operation is a place to die, once before it is durable and once right after. `make prove`
dies at each; here at every third. The last step is beyond the last of them: nobody dies there.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from console.collector.build import build_collector
from console.collector.operations import Operations
from console.providers.simulator import Simulator
from console.settings import Settings, load_settings
from store.clock import SystemClock
from store.database import Database, open_database
from store.leader import acquire, release
from store.phases import OperationKind, Phase
from store.tables import JournalEntry, OperationCall, OperationRow
from tests.console.collector.conftest import PATIENT, SETTINGS, ask
from tests.databases import empty_sqlite

STEPS = range(40) if os.environ.get("MTOK_PROVE") else range(0, 19, 3)


class Killed(BaseException):
    """The process is gone: nothing that follows in it runs."""


@contextmanager
def dying_at(database: Database, step: int, *, durable: bool) -> Iterator[Callable[[], int]]:
    """Die at a commit, before or after it is durable; every later one dies too. Yields how many there were."""
    dialect, count = database.engine.dialect, 0
    commit = dialect.do_commit

    def do_commit(connection: Any) -> None:
        nonlocal count
        count += 1
        if count - 1 < step:
            return commit(connection)
        if count - 1 == step and durable:
            commit(connection)
        raise Killed

    dialect.do_commit = do_commit  # type: ignore[method-assign, assignment]
    try:
        yield lambda: count
    finally:
        dialect.do_commit = commit  # type: ignore[method-assign]


class Life:
    """One leader, from its election to its death."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.database = open_database(settings.store_url)
        self.collector = build_collector(self.database, settings, SystemClock())
        self.operations = Operations(self.collector)
        fence = acquire(self.database, name, 600)
        assert fence is not None
        self.name, self.fence = name, fence

    async def carry_out(self, kind: OperationKind) -> OperationRow:
        """Tick and advance until the operation is over, or its tier asleep."""
        for _ in range(100):
            await self.operations.advance(self.fence)
            with self.database.read() as session:
                rows = session.exec(select(OperationRow).where(OperationRow.kind == kind)).all()
            if rows[-1].finished_at is not None or rows[-1].phase == Phase.ASLEEP:
                return rows[-1]
            await asyncio.sleep(0.03)
        pytest.fail(f"the {kind} does not end: {rows[-1]}")

    async def end(self) -> None:
        await self.operations.stop()
        await self.collector.account.close()
        self.database.close()


@pytest.fixture
async def lives(settings: Settings) -> AsyncIterator[Callable[[str], Life]]:
    lived: list[Life] = []

    def live(name: str) -> Life:
        lived.append(Life(settings, name))
        return lived[-1]

    yield live
    for life in lived:
        await life.end()


@pytest.fixture
def settings(simulator: Simulator, tmp_path: Path) -> Settings:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    text = SETTINGS.format(url=simulator.base_url, **PATIENT)
    (tmp_path / "mtok.toml").write_text(text, encoding="utf-8")
    empty_sqlite(tmp_path / "mtok.db")
    return load_settings(tmp_path / "mtok.toml")


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The store is a file of the settings' own: each life opens it anew."""
    return str(tmp_path)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_a_leader_that_dies_at_any_write_of_a_hibernate_leaves_one_effect(
    lives: Callable[[str], Life], simulator: Simulator, step: int, durable: bool
) -> None:
    await _survive(lives, simulator, step, durable=durable, kind=OperationKind.HIBERNATE)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_a_leader_that_dies_at_any_write_of_a_wake_leaves_one_effect(
    lives: Callable[[str], Life], simulator: Simulator, step: int, durable: bool
) -> None:
    machine = simulator.world.find("vm", 8429)
    assert machine is not None
    simulator.world.hibernate(machine)
    await _survive(lives, simulator, step, durable=durable, kind=OperationKind.WAKE)


async def _survive(
    lives: Callable[[str], Life], simulator: Simulator, step: int, *, durable: bool, kind: OperationKind
) -> None:
    first = lives("first")
    await first.collector.tick(first.fence)
    ask(first.database, kind)
    with dying_at(first.database, step, durable=durable) as commits:
        died = await _dies(first.carry_out(kind))
    assert died == (commits() > step)
    assert not died or step < STEPS[-1]
    release(first.database, "first")
    second = lives("second")
    row = await second.carry_out(kind)
    assert row.outcome == "done" or row.phase == Phase.ASLEEP
    word = "/hibernate?" if kind is OperationKind.HIBERNATE else "/hibernate-restore"
    assert sum(word in request for request in simulator.requests) == 1
    with second.database.read() as session:
        calls = session.exec(select(OperationCall)).all()
        assert [call.ended for call in calls][-1] == "applied"
        told = [entry.what for entry in session.exec(select(JournalEntry)) if entry.actor == "ada"]
    assert sum(what.endswith(" sent") for what in told) == len(calls)


async def _dies(work: Any) -> bool:
    try:
        await work
    except Killed:
        return True
    return False
