"""A program measured from start to end, a few times over: one report."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.bench.probe.ends import every_end, leave
from tests.bench.probe.machine import drop_caches, wait_for_quiet
from tests.bench.probe.phases import idle, keys, resized, stalled, start
from tests.bench.probe.program import Program, Setting
from tests.bench.probe.stream import features
from tests.bench.probe.typed import steps

_BEST_OF = ("first_byte_s", "first_paint_s", "painted_90_s", "cpu_s")


@dataclass(frozen=True)
class Wanted:
    """What to measure; what is empty or zero is not. `before`: keys to type first, such as `h wait:0.5`."""

    runs: int = 1
    warm: int = 0
    drops_caches: bool = False
    wait_machine_s: float = 0
    busy_max_percent: float = 15
    quiet_s: float = 0.35
    start_limit_s: float = 20.0
    wait_text: str = ""
    before: str = ""
    duration_s: float = 10.0
    keys: Sequence[str] = ()
    key_count: int = 20
    key_gap_s: float = 0.15
    key_limit_s: float = 2.0
    resize: tuple[int, int] | None = None
    stall_s: float = 0
    exits: bool = False
    quit_keys: str = ""
    exit_limit_s: float = 5.0
    dump: str = ""
    dump_resized: str = ""
    raw: str = ""
    label: str = ""


def measure(setting: Setting, wanted: Wanted) -> dict[str, Any]:
    """The last run in full, with the starts of all.

    Raises:
        NoSuchProgram: there is no such command.
    """
    for _ in range(wanted.warm):
        _run(setting, replace(wanted, raw=""), is_full=False)
    runs = [_run(setting, wanted, is_full=index == wanted.runs - 1) for index in range(wanted.runs)]
    starts = [run["start"] for run in runs]
    return {
        "label": wanted.label or " ".join(setting.command)[:60],
        "cols": setting.cols,
        "rows": setting.rows,
        "term": setting.term,
        "runs": wanted.runs,
        "drop_caches": wanted.drops_caches,
        **runs[-1],
        "start_median": {name: _median([one[name] for one in starts]) for name in starts[0]},
        **({"exits": every_end(setting)} if wanted.exits else {}),
        "start_best": {
            name: min((one[name] for one in starts if one[name] is not None), default=None) for name in _BEST_OF
        },
        "start_all_painted_90_s": [one["painted_90_s"] for one in starts],
    }


def _median(values: Sequence[Any]) -> float | None:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return statistics.median(numbers) if numbers else None


def _run(setting: Setting, wanted: Wanted, *, is_full: bool) -> dict[str, Any]:
    if wanted.drops_caches:
        drop_caches()
    if wanted.wait_machine_s:
        wait_for_quiet(wanted.wait_machine_s, wanted.busy_max_percent)
    program = Program(setting)
    report: dict[str, Any] = {}
    try:
        report["start"] = start(program, wanted.quiet_s, wanted.start_limit_s, wanted.wait_text)
        if is_full and not program.is_over:
            report |= _phases(program, wanted)
        elif program.is_over:
            report["output"] = program.stream[-600:].decode("utf-8", "replace")
        if wanted.raw:
            Path(wanted.raw).write_bytes(program.stream)
    finally:
        report["exit"] = leave(program, wanted.quit_keys, wanted.exit_limit_s)
        report["emits"] = features(program.stream)
        report["total_bytes"] = program.bytes_since(0)
        program.kill()
    return report


def _phases(program: Program, wanted: Wanted) -> dict[str, Any]:
    report: dict[str, Any] = {}
    if wanted.before:
        program.play(steps(wanted.before), 0.15)
        program.pump_until_quiet(0.3, 3)
    if wanted.duration_s > 0:
        report["idle"] = idle(program, wanted.duration_s)
    if wanted.keys:
        report["key"] = keys(program, wanted.keys, wanted.key_count, wanted.key_gap_s, wanted.key_limit_s)
    if wanted.stall_s:
        report["stall"] = stalled(program, wanted.stall_s)
    if wanted.dump:
        Path(wanted.dump).write_text(program.painted.text, encoding="utf-8")
    if wanted.resize:
        report["resize"] = resized(program, *wanted.resize)
        if wanted.dump_resized:
            Path(wanted.dump_resized).write_text(program.painted.text, encoding="utf-8")
    return report
