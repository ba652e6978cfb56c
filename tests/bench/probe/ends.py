"""How a program ends: by its keys, by a signal, by a terminal that goes."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from tests.bench.probe.machine import cpu_fine_s, descendants
from tests.bench.probe.phases import start
from tests.bench.probe.program import Program, Setting
from tests.bench.probe.stream import not_restored
from tests.bench.probe.typed import steps

_WATCH_S = 4.0
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def leave(program: Program, quit_keys: str = "", limit_s: float = 5.0) -> dict[str, Any]:
    """Ask it to quit, then insist; signals go to its own process group alone."""
    began_s, how = program.now_s(), "quit keys"
    if quit_keys and not program.is_over:
        program.play(steps(quit_keys), 0.05)
        program.wait(limit_s)
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        if program.status is not None:
            break
        how = signum.name
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signum)
        program.wait(3)
    took_s = program.now_s() - began_s
    if not program.is_over:
        program.pump_for(0.05)
    program.close()
    return {
        "by": how,
        "seconds": took_s,
        "exit_code": _code(program),
        "terminal_not_restored": not_restored(program.stream),
    }


def signalled(program: Program, signum: int, watch_s: float = _WATCH_S) -> dict[str, Any]:
    """Send one signal: does it end, and is the terminal put back?"""
    mark, began_s = len(program.chunks), program.now_s()
    os.kill(program.pid, signum)
    program.wait(watch_s)
    took_s, has_ended = program.now_s() - began_s, program.status is not None
    program.pump_for(0.05)
    said = b"".join(chunk.data for chunk in program.chunks[mark:])
    left = leave(program)
    return {
        "exited": has_ended,
        "seconds": took_s if has_ended else None,
        "exit_code": left["exit_code"],
        "terminal_not_restored": left["terminal_not_restored"] if has_ended else None,
        "traceback": b"Traceback" in said or b"goroutine " in said,
    }


def hung_up(program: Program, watch_s: float = _WATCH_S) -> dict[str, Any]:
    """Close the terminal, as a dropped SSH session does: does it end?"""
    began_s, pids = program.now_s(), descendants(program.pid)
    cpu_before = cpu_fine_s(program.pid)
    program.close()
    program.wait(watch_s)
    took_s, is_alive = program.now_s() - began_s, program.status is None
    cpu = 100 * (cpu_fine_s(program.pid) - cpu_before) / took_s if is_alive else 0.0
    orphans = 0 if is_alive else sum(Path(f"/proc/{pid}").exists() for pid in pids if pid != program.pid)
    program.kill()
    return {
        "exited": not is_alive,
        "seconds": took_s,
        "exit_code": None if is_alive else _code(program),
        "cpu_percent_while_alive": cpu,
        "orphans": orphans,
    }


def every_end(setting: Setting) -> dict[str, Any]:
    """One fresh start for each way that a session ends unasked."""
    found: dict[str, Any] = {}
    for signum in _SIGNALS:
        program = Program(setting)
        start(program)
        found[signum.name] = signalled(program, signum)
    program = Program(setting)
    start(program)
    found["hangup"] = hung_up(program)
    return found


def _code(program: Program) -> int | None:
    return None if program.status is None else os.waitstatus_to_exitcode(program.status)
