"""Locust, unmodified: what its clients were told is what the ledger holds. `make prove` runs it."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.agent.conftest import KEY, running_agent, write_settings

pytestmark = pytest.mark.processes


def test_what_locusts_clients_were_told_is_what_the_ledger_holds(tmp_path: Path, model_dir: Path) -> None:
    assert find_spec("locust") is not None, "not run: pip install '.[prove]'"
    told = tmp_path / "told.json"
    with running_agent(write_settings(tmp_path, model_dir)) as agent:
        agent.lease()
        command = [str(Path(sys.executable).with_name("locust")), "--headless", "--host", agent.public]
        command += ["--locustfile", str(Path(__file__).with_name("locustfile.py")), "--json", "--only-summary"]
        command += ["--users", "16", "--spawn-rate", "16", "--run-time", "5s", "--stop-timeout", "20"]
        names = {"MTOK_MODEL": agent.model, "MTOK_KEY": KEY, "MTOK_TOLD": str(told)}
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **names}, timeout=60, check=False
        )
        usage = agent.usage()
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(told.read_text(encoding="utf-8"))
    print(f"Locust: {found}")
    assert sum(one["num_failures"] for one in json.loads(done.stdout)) == 0
    assert found["requests"] > 100
    assert {name: usage[name] for name in found} == found
    assert usage["delivered_tokens"] == found["completion_tokens"]
    assert usage["in_flight"] == 0
