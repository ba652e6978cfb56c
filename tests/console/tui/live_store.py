"""A fleet in a real store whose last minute is now, for consoles that run as processes of their own."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlmodel import col, select

from store.clock import SetClock
from store.tables import JournalEntry, OperationPhase, OperationRow
from tests.console.fleet_world import FleetWorld, fleet_world

MTOK = (sys.executable, "-c", "import sys; from console.main import main; sys.exit(main())")


def live_world(folder: Path) -> FleetWorld:
    """Three tiers that serve, told until a moment ago by this machine's clock."""
    world = fleet_world(folder)
    world.clock = SetClock(datetime.now(UTC) - timedelta(minutes=7, seconds=5))
    for _ in range(8):
        world.tick()
    return world


def console_of(world: FleetWorld, *options: str) -> Sequence[str]:
    """The console on that store."""
    return [*MTOK, "console", "--no-collect", "--config", str(world.settings.path), *options]


def asked(world: FleetWorld) -> list[str]:
    """The tiers that were asked to hibernate, each recorded whole: its row, its phase, its line in the journal."""
    with world.database.read() as session:
        rows = session.exec(select(OperationRow).order_by(col(OperationRow.id))).all()
        phases = session.exec(select(OperationPhase)).all()
        entries = session.exec(select(JournalEntry).where(JournalEntry.what == "hibernate asked")).all()
    tiers = [row.tier for row in rows]
    assert [phase.operation_id for phase in phases] == [row.id for row in rows]
    assert sorted(entry.subject for entry in entries) == sorted(tiers)
    return tiers


def processes_of(world: FleetWorld) -> list[int]:
    """The pids whose command line names this world's settings, ourselves left out."""
    needle, found = str(world.settings.path).encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if needle in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found


@contextlib.contextmanager
def nobody_left(world: FleetWorld, within_s: float = 15.0) -> Iterator[None]:
    """After the block every process of this world ends by itself, in a bounded time."""
    yield
    end_s = time.monotonic() + within_s
    while left := processes_of(world):
        if time.monotonic() > end_s:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"processes {left} are left behind")
        time.sleep(0.05)
