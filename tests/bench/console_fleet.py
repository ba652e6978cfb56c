"""What the console is measured on: a real store of many tiers that ends now, and the settings that name them."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from store.leader import acquire
from tests.bench.probe.machine import memory_mib
from tests.bench.test_fleet_bench import furnished
from tests.console.fleet_world import settings_text

_COLLECTORS = "import console.collector.build, console.collector.schedule, console.opening"
_AS_COLLECTOR = f"""
import sys, time
from pathlib import Path
{_COLLECTORS}
with console.opening.opened(Path(sys.argv[1])) as (settings, database), database.read():
    print(flush=True)
    time.sleep(60)
"""
_AS_CONSOLE = f"""
import sys
{_COLLECTORS}
from console.cli import main
sys.exit(main(sys.argv[1:]))
"""


def stored_fleet(folder: Path, tiers: int, days: float) -> Path:
    """The settings of a fleet whose store has a sample a minute until now."""
    config = folder / "mtok.toml"
    sections = ((f"t{n}", "H100 PCIe", "spot", f"r{n}") for n in range(tiers))
    config.write_text(settings_text(sections, "100000"), encoding="utf-8")
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    database = furnished(folder / "mtok.db", days, tiers, now)
    acquire(database, "vm:1:bench", 3600)
    database.close()
    return config


def console_command(config: Path, *options: str) -> Sequence[str]:
    """The console itself, with what a collector imports loaded too, as in one that leads."""
    return [sys.executable, "-c", _AS_CONSOLE, "console", "--no-collect", "--config", str(config), *options]


def console_alone(config: Path) -> Sequence[str]:
    """The console as an engineer starts it beside a collector."""
    return [str(Path(sys.executable).with_name("mtok")), "console", "--no-collect", "--config", str(config)]


@contextmanager
def as_collector(config: Path) -> Iterator[int]:
    """The pid of a process that has loaded what a collector loads and opened the store."""
    process = subprocess.Popen([sys.executable, "-c", _AS_COLLECTOR, str(config)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def collectors_mib(config: Path) -> float:
    """What a collector's process holds before its first tick."""
    with as_collector(config) as pid:
        return memory_mib(pid)[0]


def help_s(rounds: int = 7) -> float:
    """The quickest `mtok --help`."""
    command, took = [str(Path(sys.executable).with_name("mtok")), "--help"], []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - start)
    return min(took)
