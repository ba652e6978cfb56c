"""What a tree of processes, and the rest of the machine, uses: read from /proc.

A program that leaves its tree (a tmux server, a daemon) is not counted.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MIB = 2**20


def descendants(root: int) -> list[int]:
    """`root` and every live process below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(children.get(pid, ()))
    return found


def cpu_s(root: int) -> float:
    """User and system seconds of the tree, children that have ended included; in steps of 10 ms."""
    ticks = 0
    for pid in descendants(root):
        fields = _stat(pid)
        ticks += sum(int(field) for field in fields[11:15]) if fields else 0  # utime, stime, cutime, cstime
    return ticks / _TICKS_PER_S


def cpu_fine_s(root: int) -> float:
    """Seconds of the tree's live threads, to the nanosecond."""
    return sum(int(text.split()[0]) for text in _of_threads(root, "schedstat")) / 1e9


def wakeups(root: int) -> int:
    """How often the tree's threads gave the processor up by themselves."""
    lines = [line for text in _of_threads(root, "status") for line in text.splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def memory_mib(root: int) -> tuple[float, float | None]:
    """Resident, and proportional where the kernel shows it, of the whole tree."""
    rss = pss = 0
    shows_pss = False
    for pid in descendants(root):
        try:
            rss += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    pss += int(line.split()[1]) * 1024
                    shows_pss = True
        except OSError:
            continue
    return rss / _MIB, pss / _MIB if shows_pss else None


def busy_s() -> tuple[float, float]:
    """Busy seconds of all cores since boot, and when that was read."""
    first, _, _ = Path("/proc/stat").read_text().partition("\n")
    fields = [int(word) for word in first.split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / _TICKS_PER_S, time.monotonic()


def others_percent(before: tuple[float, float], own_s: float) -> float:
    """What everything but our tree has used since `before`, in per cent of one core."""
    busy, at = busy_s()
    return max(0.0, 100 * (busy - before[0] - own_s) / max(at - before[1], 1e-6))


def wait_for_quiet(limit_s: float, percent: float) -> bool:
    """Wait until the machine is mostly idle for a second; False if it never was."""
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        before = busy_s()
        time.sleep(1.0)
        if others_percent(before, 0) <= percent:
            return True
    return False


def drop_caches() -> bool:
    """Empty the page cache; False where that is not allowed."""
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the name; none of a process that has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def _of_threads(root: int, name: str) -> Iterator[str]:
    for pid in descendants(root):
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                yield (thread / name).read_text()
        except OSError:
            continue
