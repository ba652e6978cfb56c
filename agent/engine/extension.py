"""Compiles ExLlamaV2's extension in a process of its own, once for each set of versions and GPUs.

The library would compile at its import, for minutes and in silence, in this process. Here that has a log, a time
limit and a lock; what comes out is kept, and what was compiled before a failure is not compiled again.

Source: exllamav2 0.3.2, ext.py; torch 2.13, utils/cpp_extension.py (read on 2026-11-25).
"""

import atexit
import contextlib
import fcntl
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import structlog

from agent.engine.probe import EXTENSION, Machine, architectures, extension_file
from agent.errors import BuildFailed

log = structlog.get_logger()
# importing it is what compiles; the working directory of torch's build is TORCH_EXTENSIONS_DIR/exllamav2_ext
COMMAND = (sys.executable, "-c", "import exllamav2.ext")
LOCK_POLL_S = 0.2
_ENDING_POLL_S = 0.02
_ENDING_ROUNDS = 250  # a disk that hangs can hold a process for ever
MEMORY_OF_A_JOB_BYTES = 3 << 30  # nvcc on one of its files
ERROR_WORDS = ("error", "Error", "fatal")


def ensure_extension(machine: Machine, within_s: float, say: Callable[[str], None]) -> None:
    """Make `exllamav2_ext` importable, compiling it if need be.

    Raises:
        BuildFailed: it cannot be compiled, or not in time.
    """
    if machine.find(EXTENSION) is not None:
        return
    archs = architectures()
    built = extension_file(machine, archs)
    if not built.is_file():
        say(f"building the extension, for minutes, log {log_file(built)}")
        build(built, COMMAND, build_environment(machine, archs), within_s)
    sys.path.insert(0, str(built.parent))
    importlib.invalidate_caches()


def build(built: Path, command: Sequence[str], environment: dict[str, str], within_s: float) -> None:
    """Have `built`, which `command` leaves in TORCH_EXTENSIONS_DIR/exllamav2_ext; of several callers one compiles.

    Raises:
        BuildFailed: with the log's name and its last error.
    """
    deadline_s = time.monotonic() + within_s
    log_path = log_file(built)
    work = log_path.parent
    work.mkdir(parents=True, exist_ok=True)
    with _locked(work / "lock", deadline_s, log_path) as lock:
        if built.is_file():
            return
        folder = work / EXTENSION
        (folder / "lock").unlink(missing_ok=True)  # torch waits for ever on the one that a killed build left
        environment = environment | {"TORCH_EXTENSIONS_DIR": str(work)}
        _run(command, environment, log_path, deadline_s, lock)
        made = folder / f"{EXTENSION}.so"
        if not made.is_file():
            raise BuildFailed(f"it ended without {made.name}", log_path)
        _publish(made, built)
        shutil.rmtree(folder, ignore_errors=True)
    log.info("exllamav2 extension built", path=str(built))


def log_file(built: Path) -> Path:
    """What the compiler says while `built` is made."""
    return built.parent.with_name(f"{built.parent.name}.building") / "build.log"


def build_environment(machine: Machine, archs: Sequence[str]) -> dict[str, str]:
    """What nvcc, torch and ninja have to find, although nobody activated this environment."""
    headers = [str(folder) for folder in machine.header_dirs]
    given = machine.environment
    home = {} if machine.cuda_home is None else {"CUDA_HOME": str(machine.cuda_home)}
    return {
        **given,
        **home,
        "PATH": machine.path if machine.cuda_home is None else f"{machine.path}:{machine.cuda_home / 'bin'}",
        "CPATH": os.pathsep.join([*headers, *filter(None, [given.get("CPATH")])]),
        "TORCH_CUDA_ARCH_LIST": ";".join(archs),
        "MAX_JOBS": given.get("MAX_JOBS") or str(_jobs()),
        "EXLLAMA_NO_XFORMERS": "1",
        "EXLLAMA_NO_FLASH_ATTN": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _run(command: Sequence[str], environment: dict[str, str], log_path: Path, deadline_s: float, lock: int) -> None:
    with log_path.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),  # held as long as any of them lives
        )
    atexit.register(_end, process)
    try:
        code = process.wait(max(deadline_s - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        raise BuildFailed("it took longer than build_within_s", log_path) from None
    finally:
        _end(process)
        atexit.unregister(_end)
    if code:
        raise BuildFailed(f"{_last_error(log_path)} (exit code {code})", log_path)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the build with all its compilers: ninja gives each a group of its own, but they share the session."""
    for _ in range(_ENDING_ROUNDS):
        members = list(_session(process.pid))
        if not members:
            break
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_ENDING_POLL_S)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_ENDING_POLL_S)


def _session(leader: int) -> Iterator[int]:
    """Every living process of a session; proc(5), /proc/PID/stat."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, _group, session = path.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                yield int(path.parent.name)


def _publish(made: Path, built: Path) -> None:
    """Put the file in its place, whole or not at all."""
    built.parent.mkdir(exist_ok=True)
    beside = built.with_suffix(".new")
    shutil.copyfile(made, beside)
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.rename(built)


@contextlib.contextmanager
def _locked(path: Path, deadline_s: float, log_path: Path) -> Iterator[int]:
    """The lock of one build, which a process that was killed does not leave behind."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise BuildFailed("another process has been building it for too long", log_path) from None
                time.sleep(LOCK_POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _last_error(log_path: Path) -> str:
    """The last line of a log that speaks of an error; else its last line."""
    lines = [line.strip() for line in log_path.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if any(word in line for word in ERROR_WORDS)]
    line = next(reversed(errors or lines), "it failed without a word")
    return "".join(char if char.isprintable() else "?" for char in line)[:300]


def _jobs() -> int:
    """Compilers at once: as many as cores, and as memory is there for."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(os.cpu_count() or 1, memory_bytes // MEMORY_OF_A_JOB_BYTES))
