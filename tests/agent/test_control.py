"""The control API: it answers from the first moment, and a probe is metered like every request."""

import contextlib
import json
import os
import shutil
import sqlite3
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.agent.conftest import SECRET, RunningAgent, risen, running_agent, write_settings

pytestmark = pytest.mark.processes


@pytest.fixture
def slow_model(tmp_path: Path, model_dir: Path) -> Path:
    """A model whose config.json is a pipe: loading it waits for whoever writes there."""
    slow = tmp_path / "slow"
    shutil.copytree(model_dir, slow)
    (slow / "config.json").unlink()
    os.mkfifo(slow / "config.json")
    return slow


def let_load(slow: Path, text: str) -> None:
    (slow / "config.json").write_text(text, encoding="utf-8")


def test_while_the_model_loads_control_answers_and_the_public_api_says_so(
    tmp_path: Path, model_dir: Path, slow_model: Path
) -> None:
    with running_agent(write_settings(tmp_path, slow_model), loading=True) as agent:
        status = agent.status()
        assert status["loaded"] is False
        assert (status["engine"]["name"], status["model"]) == ("reference", None)
        assert agent.usage()["requests"] == 0
        assert agent.lease()[0] == 200
        code, body = agent.call(f"{agent.public}/health")
        assert (code, body["status"]) == (503, "loading")
        code, body = agent.post("/v1/chat/completions", {})
        assert (code, body["error"]["code"], body["retry_after"]) == (503, "loading", "5")
        assert agent.probe()[1]["error"]["code"] == "loading"
        let_load(slow_model, (model_dir / "config.json").read_text(encoding="utf-8"))
        deadline = time.monotonic() + 60
        while not agent.status()["loaded"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert agent.status()["model"] == agent.model
        assert agent.probe()[0] == 200


def test_a_model_that_cannot_be_loaded_ends_the_process_with_one_line(tmp_path: Path, slow_model: Path) -> None:
    with running_agent(write_settings(tmp_path, slow_model), loading=True) as agent:
        assert agent.usage()["requests"] == 0
        let_load(slow_model, "{}")
        assert agent.process.wait(60) == 1
        assert agent.process.stderr is not None
        last = agent.process.stderr.read().decode().splitlines()[-1]
    assert last.startswith("mtok: model ")
    assert "config.json" in last


def test_a_stop_does_not_wait_for_a_model_that_is_being_loaded(tmp_path: Path, slow_model: Path) -> None:
    with running_agent(write_settings(tmp_path, slow_model), loading=True) as agent:
        agent.process.terminate()
        assert agent.process.wait(60) == 0


def test_a_probe_is_one_entry_under_its_own_label(agent: RunningAgent) -> None:
    agent.probe()
    before = agent.usage()
    asked_s = time.monotonic()
    code, body = agent.probe()
    assert (code, body["completion_tokens"]) == (200, 1)
    assert 0 < body["first_token_ms"] <= (time.monotonic() - asked_s) * 1000
    made = agent.probe({"max_tokens": 3})[1]["completion_tokens"]
    assert made in (1, 2, 3)
    after = agent.usage()
    grown = risen(before, after)
    assert grown == risen(before["labels"].pop("mtok.probe"), after["labels"].pop("mtok.probe"))
    assert before["labels"] == after["labels"]
    assert grown["requests"] == 2
    assert grown["completion_tokens"] == grown["delivered_tokens"] == 1 + made
    assert after["in_flight"] == 0


@pytest.mark.parametrize("body", [{"max_tokens": 0}, {"max_tokens": 10**9}, {"tokens": 1}, [], b"{"])
def test_a_probe_that_makes_no_sense_is_a_400(agent: RunningAgent, body: object) -> None:
    code, answer = agent.probe(body)
    assert (code, answer["error"]["code"]) == (400, "invalid_probe")


def test_without_an_open_lease_a_probe_is_answered_with_the_lease(tmp_path: Path, model_dir: Path) -> None:
    with running_agent(write_settings(tmp_path, model_dir)) as agent:
        code, body = agent.probe()
        assert (code, body["verdict"], body["reasons"]) == (409, "closed", ["no_lease"])
        agent.lease("closed", "exhausted")
        code, body = agent.probe()
        assert (code, body["reasons"], body["seq"]) == (409, ["exhausted"], [1, 1])
        assert json.dumps(agent.usage()["labels"]) == "{}"


def test_a_probe_asks_for_the_control_secret(agent: RunningAgent) -> None:
    assert agent.call(f"{agent.control}/control/probe", method="POST", key="wrong")[0] == 401


def test_figures_of_every_label_are_for_the_control_secret_alone(agent: RunningAgent) -> None:
    body = {"model": agent.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
    agent.post("/v1/chat/completions", body)
    agent.probe()
    labels = agent.usage()["labels"]
    request = urllib.request.Request(
        f"{agent.control}/control/metrics", headers={"Authorization": f"Bearer {SECRET}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    for metric, label in (("prompt_tokens", "tests"), ("requests", "mtok.probe")):
        assert labels[label][metric] > 0
        assert f'mtok_agent_{metric}_total{{label="{label}"}} {labels[label][metric]}.0' in text
    assert agent.call(f"{agent.control}/control/metrics", key="wrong")[0] == 401


SLOW = 'engine = "null"\n[limits]\nmax_in_flight_s = 0.1\n[null]\nstep_ms = 5\n'


def test_a_usage_is_as_of_what_was_counted_last(tmp_path: Path, model_dir: Path) -> None:
    with running_agent(write_settings(tmp_path, model_dir, SLOW)) as agent:
        agent.lease()
        before = datetime.now(UTC)
        assert before <= datetime.fromisoformat(agent.usage()["as_of"]) <= datetime.now(UTC)
        body = {"model": agent.model, "prompt": "Hello", "max_tokens": 20_000}
        asking = threading.Thread(target=agent.post, args=("/v1/completions", body))
        asking.start()
        while not agent.usage()["completion_tokens"]:
            time.sleep(0.05)
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            held_at = datetime.now(UTC)
            time.sleep(0.5)
            assert datetime.fromisoformat(agent.usage()["as_of"]) <= held_at
        agent.lease("closed", "manual")
        asking.join(30)
        assert datetime.fromisoformat(agent.usage()["as_of"]) > held_at
