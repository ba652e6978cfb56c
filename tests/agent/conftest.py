"""A model made once, and an agent in a process of its own."""

import contextlib
import functools
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.engine.make import ensure_model
from agent.ledger_sql import connect
from store.file_modes import make_private

# they compare us with programs that only `make prove` installs
collect_ignore = [] if os.environ.get("MTOK_PROVE") else ["engine/test_oracle.py", "test_locust.py"]
KEY, SECRET = "a key", "a secret"
SUMS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "delivered_tokens")
SERVE = [sys.executable, "-c", "import sys; from agent.cli import main; sys.exit(main())", "serve", "--config"]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference model."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    ensure_model(path)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_settings(home: Path, model_dir: Path, more: str = "") -> Path:
    """An agent's settings with two free ports, one key and a secret."""
    (home / "control.secret").write_text(SECRET, encoding="utf-8")
    (home / "keys").write_text(f"# clients\ntests {hashlib.sha256(KEY.encode()).hexdigest()}\n", encoding="utf-8")
    path = home / "agent.toml"
    path.write_text(
        f'name = "a"\npublic_address = "127.0.0.1:{free_port()}"\n'
        f'control_address = "127.0.0.1:{free_port()}"\ncontrol_secret_file = "control.secret"\n'
        f'keys_file = "keys"\nledger = "ledger.db"\nmodel_dir = "{model_dir}"\n{more}',
        encoding="utf-8",
    )
    return path


def addresses(settings: Path) -> tuple[str, str]:
    """The roots of the public and the control API."""
    found = tomllib.loads(settings.read_text(encoding="utf-8"))
    scheme = "https" if "tls" in found else "http"
    return f"{scheme}://{found['public_address']}", f"http://{found['control_address']}"


@functools.cache
def empty_ledger() -> bytes:
    """A ledger of no identity yet. To make one an agent loads SQLModel, which is nearly half of its start."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        connect(path).close()
        return path.read_bytes()


def put_empty_ledger(path: Path) -> None:
    """An empty ledger where there is none."""
    if not path.exists():
        make_private(path, 0o600)
        path.write_bytes(empty_ledger())


@dataclass
class RunningAgent:
    """An agent's process and both its APIs. `home` holds its settings, its keys and its ledger."""

    home: Path
    process: subprocess.Popen[bytes]
    public: str
    control: str
    tls: ssl.SSLContext | None = None
    seq: int = 0

    def call(self, url: str, body: object = None, *, method: str | None = None, key: str = KEY) -> tuple[int, Any]:
        """Status and JSON of one call."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.tls) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, {**json.load(error), "retry_after": error.headers.get("Retry-After")}

    def post(self, path: str, body: object) -> tuple[int, Any]:
        return self.call(f"{self.public}{path}", body)

    def usage(self) -> Any:
        return self.call(f"{self.control}/control/usage", key=SECRET)[1]

    def lease(self, verdict: str = "open", *reasons: str, ttl_s: float = 600) -> tuple[int, Any]:
        """Put the next lease in force."""
        self.seq += 1
        body = {
            "nonce": self.usage()["nonce"],
            "seq": [1, self.seq],
            "verdict": verdict,
            "reasons": reasons,
            "ttl_s": ttl_s,
        }
        return self.call(f"{self.control}/control/lease", body, method="PUT", key=SECRET)

    def status(self) -> Any:
        return self.call(f"{self.control}/control/status", key=SECRET)[1]

    def probe(self, body: object = None) -> tuple[int, Any]:
        return self.call(f"{self.control}/control/probe", body, method="POST", key=SECRET)

    @property
    def model(self) -> str:
        return str(self.call(f"{self.public}/v1/models")[1]["data"][0]["id"])


@contextlib.contextmanager
def running_agent(
    settings: Path, *, loading: bool = False, tls: ssl.SSLContext | None = None, makes_ledger: bool = False
) -> Iterator[RunningAgent]:
    """An agent that serves, or with `loading` answers at all; ended with SIGTERM, unless it has ended before."""
    if not makes_ledger:
        put_empty_ledger(settings.with_name("ledger.db"))
    process = subprocess.Popen([*SERVE, str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    public, control = addresses(settings)
    running = RunningAgent(settings.parent, process, public, control, tls)
    try:
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError):
                if running.call(f"{public}/health")[0] == 200 or loading:
                    break
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.05)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(15)
        if process.stderr:
            process.stderr.close()


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Iterator[RunningAgent]:
    """The process behind `agent`."""
    with running_agent(write_settings(tmp_path_factory.mktemp("agent"), model_dir)) as running:
        yield running


@pytest.fixture
def agent(standing: RunningAgent) -> RunningAgent:
    """An agent with an open lease, that every test may use which only adds to what is in its ledger."""
    assert standing.lease()[0] == 200
    return standing


def risen(before: Any, after: Any) -> dict[str, int]:
    """By how much each sum of a usage has grown between two readings."""
    return {name: after[name] - before[name] for name in after if name in SUMS}
