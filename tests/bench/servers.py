"""The servers that are measured side by side: each pinned to one core, on loopback, ended by its id."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.agent.conftest import KEY, SERVE, RunningAgent, addresses, free_port, write_settings

ROOT = Path(__file__).parents[2]
CORES = sorted(os.sched_getaffinity(0))
SECONDS = float(os.environ.get("MTOK_BENCH_SECONDS", "3"))
ROUNDS, MOST_ROUNDS = 3, 6
QUIET = 0.06  # of all cores: what others may use in a round that counts
SERVER_CORE, LOAD_CORE = {CORES[0]}, {CORES[-1]}


@dataclass(frozen=True)
class Served:
    """A server that answers, with what it took to get there."""

    port: int
    key: str
    model: str
    process: "subprocess.Popen[bytes]"
    start_s: float

    @property
    def rss_mb(self) -> float:
        """Its resident memory, and that of its children."""
        return sum(_rss_bytes(pid) for pid in _tree(self.process.pid)) / 1e6

    @property
    def cpu_s(self) -> float:
        """Processor time so far."""
        return sum(_cpu_s(pid) for pid in _tree(self.process.pid))


def busy_s() -> float:
    """Processor time of the whole machine so far."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return (sum(map(int, words)) - int(words[3]) - int(words[4])) / os.sysconf("SC_CLK_TCK")


def our_s() -> float:
    """Processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def measured(server: Served, connections: int, by: str, **changes: object) -> dict[str, float]:
    """The median of the quietest rounds: others' work on this machine is no server's fault."""
    rounds: list[dict[str, float]] = []
    while len(rounds) < MOST_ROUNDS and sum(one["others"] < QUIET for one in rounds) < ROUNDS:
        rounds.append(_loaded(server, connections, **changes))
    quietest = sorted(rounds, key=lambda one: one["others"])[:ROUNDS]
    return sorted(quietest, key=lambda one: one[by])[len(quietest) // 2]


def _loaded(server: Served, connections: int, **changes: object) -> dict[str, float]:
    """One round, its load from a process of its own on the other core."""
    messages = [{"role": "user", "content": "Say hello in one short sentence."}]
    body = json.dumps({"model": server.model, "messages": messages, "max_tokens": 20, **changes})
    command = [sys.executable, "-m", "tests.bench.load", str(server.port), str(connections), str(SECONDS)]
    began_s, cpu_s, others_s = time.monotonic(), server.cpu_s, busy_s() - our_s() - server.cpu_s
    done = subprocess.run(
        [*command, server.key, body],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, LOAD_CORE),
    )
    found: dict[str, float] = json.loads(done.stdout)
    found["cpu_s"] = server.cpu_s - cpu_s
    others_s = busy_s() - our_s() - server.cpu_s - others_s
    found["others"] = others_s / (time.monotonic() - began_s) / len(CORES)
    assert not found["errors"]
    return found


@contextlib.contextmanager
def bare(home: Path, mode: str) -> Iterator[Served]:
    """Starlette and uvicorn alone, or with one durable row a request."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.bare", str(port), mode, str(home / f"{mode}-{port}.db")]
    with _served(command, port, "/health", {}) as (process, start_s):
        yield Served(port, "none", "null", process, start_s)


@contextlib.contextmanager
def agent(home: Path, tokens_per_step: int, step_ms: float = 0.0) -> Iterator[Served]:
    """The agent, with an engine that costs nothing and an open lease."""
    home.mkdir(parents=True, exist_ok=True)
    more = 'engine = "null"\n[limits]\nmax_batch = 64\n'
    more += f"[null]\ntokens_per_step = {tokens_per_step}\nstep_ms = {step_ms}\n"
    settings = write_settings(home, home / "model", more)
    public, control = addresses(settings)
    port = int(public.rpartition(":")[2])
    with _served([*SERVE, str(settings)], port, "/health", {}) as (process, start_s):
        RunningAgent(home, process, public, control).lease(ttl_s=3600)
        yield Served(port, KEY, "null", process, start_s)


@contextlib.contextmanager
def litellm(home: Path, upstream: Served) -> Iterator[Served | str]:
    """LiteLLM's proxy in front of `upstream`; a sentence when it cannot be had."""
    missing = _install(ROOT / ".bench" / "litellm", "litellm[proxy]")
    if missing is not None:
        yield missing
        return
    port, key = free_port(), "sk-bench-0123456789abcdef"
    config = home / "litellm.json"  # JSON is YAML
    target = {"model": "openai/null", "api_base": f"http://127.0.0.1:{upstream.port}/v1", "api_key": "none"}
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    models = [{"model_name": "null", "litellm_params": {**target, **prices}}]
    settings = {"telemetry": False, "drop_params": True}
    whole = {"model_list": models, "litellm_settings": settings, "general_settings": {"master_key": key}}
    config.write_text(json.dumps(whole), encoding="utf-8")
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_TELEMETRY": "False",
        "DISABLE_ADMIN_UI": "True",
    }
    command = [str(ROOT / ".bench/litellm/bin/litellm"), "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1"]
    try:
        with _served(command, port, "/health/liveliness", environment) as (process, start_s):
            yield Served(port, key, "null", process, start_s)
    except NotStarted as error:
        yield f"not run: {error}"


class NotStarted(Exception):
    """A server that ended, or did not answer in time."""


def _install(home: Path, package: str) -> str | None:
    """A virtual environment of its own with `package`; why not, when it cannot be had."""
    if (home / "bin" / "litellm").exists():
        return None
    try:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, capture_output=True)
        pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", package]
        subprocess.run(pip, check=True, capture_output=True, timeout=900)
    except (subprocess.SubprocessError, OSError) as error:
        return f"not run: {package} cannot be installed ({type(error).__name__})"
    return None


@contextlib.contextmanager
def _served(
    command: Sequence[str], port: int, path: str, environment: dict[str, str]
) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    began_s = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, SERVER_CORE),
    )
    try:
        _wait(process, f"http://127.0.0.1:{port}{path}")
        yield process, time.perf_counter() - began_s
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    end_s = time.perf_counter() + 120
    while time.perf_counter() < end_s:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        if process.poll() is not None:
            raise NotStarted(f"it ended with exit code {process.returncode}")
        time.sleep(0.01)
    raise NotStarted("it did not answer within 120 s")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [one for child in children.read_text().split() for one in _tree(int(child))]
    return sorted(set(found))


def _rss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
