"""What is measured of a running program: its start, its quiet, its keys, another size, a line that is stuck."""

import statistics
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.probe.machine import (
    busy_s,
    cpu_fine_s,
    cpu_s,
    descendants,
    memory_mib,
    others_percent,
    wakeups,
)
from tests.bench.probe.painted import Chunk, Painted, paint_times
from tests.bench.probe.program import Program
from tests.bench.probe.typed import key_bytes

_BURST_GAP_S = 0.05  # writes closer together are one burst
_KEY_QUIET_S = 0.04


def start(program: Program, quiet_s: float = 0.35, limit_s: float = 20.0, wait_text: str = "") -> dict[str, Any]:
    """Read until it has painted something and is quiet. `quiet_s` is below a cursor's blink, 0.5 s."""
    text_at = _text_at(program, wait_text, limit_s) if wait_text else None
    end_s, last = time.monotonic() + limit_s, None
    while not program.is_over:  # quiet before there is anything to see is a program that loads
        last = program.pump_until_quiet(quiet_s, max(0.01, end_s - time.monotonic()))
        if last is None or program.painted.is_begun or time.monotonic() >= end_s:
            break
        program.pump(max(0.01, end_s - time.monotonic()))
    used_s = max(cpu_s(program.pid), cpu_fine_s(program.pid))
    chunks = program.chunks
    return {
        "others_cpu_percent": others_percent(program.busy_before, used_s),
        "first_byte_s": chunks[0].at_s if chunks else None,
        "first_paint_s": None,
        "painted_90_s": None,
        "wait_text_s": text_at,
        "quiescent_s": last,
        "bytes": program.bytes_since(0),
        "writes": len(chunks),
        "cpu_s": used_s,
        "alive": not program.is_over,
        **(paint_times(program.cols, program.rows, chunks) if chunks else {}),
    }


def _text_at(program: Program, text: str, limit_s: float) -> float | None:
    painted, end_s = Painted(program.cols, program.rows), time.monotonic() + limit_s
    while time.monotonic() < end_s and not program.is_over:
        painted.feed(program.pump(0.2))
        if painted.shows(text):
            return program.now_s()
    return None


@dataclass(frozen=True)
class _Use:
    """Counters of a tree of processes, of which two are subtracted."""

    at_s: float
    cpu_s: float
    fine_s: float
    wakeups: int

    @staticmethod
    def of(program: Program) -> "_Use":
        pid = program.pid
        return _Use(program.now_s(), cpu_s(pid), cpu_fine_s(pid), wakeups(pid))

    def cpu_since_s(self, before: "_Use") -> float:
        """Fine where it can be; the coarse one also has children that have ended."""
        fine, coarse = self.fine_s - before.fine_s, self.cpu_s - before.cpu_s
        return max(fine, coarse if coarse > fine + 0.05 else 0)


def idle(program: Program, seconds: float) -> dict[str, Any]:
    """What it writes and uses while nobody types."""
    mark, before, busy_before = len(program.chunks), _Use.of(program), busy_s()
    program.pump_for(seconds)
    after = _Use.of(program)
    took_s, used_s = after.at_s - before.at_s, after.cpu_since_s(before)
    others = others_percent(busy_before, used_s)
    chunks = program.chunks[mark:]
    bursts = _bursts(chunks)
    rss, pss = memory_mib(program.pid)
    return {
        "seconds": took_s,
        "bytes_per_s": program.bytes_since(mark) / took_s,
        "zlib_bytes_per_s": _packed(chunks) / took_s,
        "writes_per_s": len(chunks) / took_s,
        "bursts": len(bursts),
        "burst_bytes_median": statistics.median(bursts) if bursts else 0,
        "burst_bytes_max": max(bursts, default=0),
        "cpu_percent": 100 * used_s / took_s,
        "others_cpu_percent": others,
        "wakeups_per_s": (after.wakeups - before.wakeups) / took_s,
        "rss_mib": rss,
        "pss_mib": pss,
        "processes": len(descendants(program.pid)),
    }


def _packed(chunks: Sequence[Chunk]) -> int:
    """What `ssh -C` would send: one stream of zlib, flushed with each write."""
    packer = zlib.compressobj(6)
    return sum(len(packer.compress(one.data)) + len(packer.flush(zlib.Z_PARTIAL_FLUSH)) for one in chunks)


def _bursts(chunks: Sequence[Chunk]) -> list[int]:
    sizes: list[int] = []
    last_s = None
    for chunk in chunks:
        if last_s is None or chunk.at_s - last_s > _BURST_GAP_S:
            sizes.append(0)
        sizes[-1] += len(chunk.data)
        last_s = chunk.at_s
    return sizes


def keys(
    program: Program, names: Sequence[str], count: int = 20, gap_s: float = 0.15, limit_s: float = 2.0
) -> dict[str, Any]:
    """Type keys in turn; the time to the first byte and to the end of each reply."""
    first, settled, sizes, misses = [], [], [], 0
    for index in range(count):
        program.pump_for(gap_s + 0.037 * (index % 7))  # so that no key rides on a refresh of 1 Hz
        if program.is_over:
            break
        mark, sent_s = len(program.chunks), program.now_s()
        program.send(key_bytes(names[index % len(names)]))
        end_s = time.monotonic() + limit_s
        while len(program.chunks) == mark and time.monotonic() < end_s and not program.is_over:
            program.pump(end_s - time.monotonic())
        if len(program.chunks) == mark:
            misses += 1
            continue
        first.append(program.chunks[mark].at_s - sent_s)
        program.pump_until_quiet(_KEY_QUIET_S, 0.5)
        settled.append(program.chunks[-1].at_s - sent_s)
        sizes.append(float(program.bytes_since(mark)))
    return {
        "keys": count,
        "no_reply": misses,
        "first_byte_ms": spread(first, 1000),
        "settled_ms": spread(settled, 1000),
        "bytes": spread(sizes, 1),
    }


def spread(values: Sequence[float], scale: float) -> dict[str, float] | None:
    """Median, 95th percentile and the largest; None of no values."""
    if not values:
        return None
    ordered = sorted(value * scale for value in values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"median": statistics.median(ordered), "p95": p95, "max": ordered[-1], "n": len(ordered)}


def resized(program: Program, cols: int, rows: int) -> dict[str, Any]:
    """Another size: the time to the first byte and to quiet, and the bytes."""
    program.pump_until_quiet(0.15, 2)
    mark, sent_s = len(program.chunks), program.now_s()
    program.resize(cols, rows)
    last = program.pump_until_quiet(0.3, 5)
    mine = program.chunks[mark:]
    return {
        "cols": cols,
        "rows": rows,
        "first_byte_ms": (mine[0].at_s - sent_s) * 1000 if mine else None,
        "settled_ms": (last - sent_s) * 1000 if mine and last else None,
        "bytes": program.bytes_since(mark),
    }


def stalled(program: Program, seconds: float) -> dict[str, Any]:
    """Stop reading, as a stuck SSH line does, then read again: how much old news comes first."""
    program.pump_until_quiet(0.15, 1)
    cpu_before, rss_before = cpu_fine_s(program.pid), memory_mib(program.pid)[0]
    time.sleep(seconds)
    cpu_after, rss_after = cpu_fine_s(program.pid), memory_mib(program.pid)[0]
    mark, began_s = len(program.chunks), program.now_s()
    program.pump_until_quiet(0.15, 5)
    backlog, last_s = 0, began_s
    for chunk in program.chunks[mark:]:
        if chunk.at_s - last_s > 0.15:
            break
        backlog, last_s = backlog + len(chunk.data), chunk.at_s
    return {
        "seconds": seconds,
        "backlog_bytes": backlog,
        "backlog_ms": (last_s - began_s) * 1000,
        "cpu_percent": 100 * (cpu_after - cpu_before) / seconds,
        "rss_growth_mib": rss_after - rss_before,
    }
