"""The agent's commands, as an engineer on the host types them."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.cli import main
from tests.agent.conftest import SERVE, RunningAgent, write_settings

pytestmark = pytest.mark.processes


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_key_is_made_listed_and_revoked(
    tmp_path: Path, model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ("--config", str(write_settings(tmp_path, model_dir)))
    code, key, _ = run(capsys, "key", "create", "alice", "--tokens-per-day", "5000", *config)
    assert code == 0
    assert key.startswith("mtok-")
    assert len(key.strip()) > 40
    _, listed, _ = run(capsys, "key", "list", *config)
    assert "alice" in listed
    assert "tokens_per_day 5000" in listed
    assert key.strip() not in listed
    _, listed, _ = run(capsys, "key", "list", "--json", *config)
    assert json.loads(listed.splitlines()[-1])["tokens_per_day"] == 5000
    assert run(capsys, "key", "revoke", "alice", *config) == (0, "", "revoked 1 key\n")
    code, _, line = run(capsys, "key", "revoke", "alice", *config)
    assert (code, line.count("\n")) == (2, 1)
    assert run(capsys, "key", "create", "mtok.x", *config)[0] == 2


def test_requests_are_shown_beside_a_running_agent(agent: RunningAgent, capsys: pytest.CaptureFixture[str]) -> None:
    body = {"model": agent.model, "prompt": "Hello", "max_tokens": 3}
    for _ in range(3):
        agent.post("/v1/completions", body)
    config = ("--config", str(agent.home / "agent.toml"))
    code, out, err = run(capsys, "requests", "--last", "3", *config)
    assert (code, err) == (0, "")
    text = out.splitlines()
    assert text[0].startswith("started")
    assert len(text) == 4
    assert all("completions" in line for line in text[1:])
    code, out, _ = run(capsys, "requests", "--json", "--last", "2", *config)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["label"] for line in lines] == ["tests", "tests"]
    assert sum(line["completion_tokens"] for line in lines) <= agent.usage()["completion_tokens"]
    assert all(line["outcome"] in ("length", "finished") for line in lines)


def test_tail_goes_on_with_each_request_as_it_ends(agent: RunningAgent) -> None:
    body = {"model": agent.model, "prompt": "Hello", "max_tokens": 3}
    agent.post("/v1/completions", body)
    command = [*SERVE[:3], "requests", "--tail", "--last", "1", "--json"]
    command += ["--config", str(agent.home / "agent.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        ends = threading.Timer(20, tail.kill)
        ends.start()
        assert tail.stdout is not None
        first = json.loads(tail.stdout.readline())
        threading.Timer(1, agent.post, ("/v1/completions", body)).start()
        second = json.loads(tail.stdout.readline())
        tail.kill()
        ends.cancel()
    assert first["id"] != second["id"]
    assert second["outcome"] in ("length", "finished")


def test_without_a_ledger_the_fault_is_one_line(
    tmp_path: Path, model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "requests", "--config", str(write_settings(tmp_path, model_dir)))
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert "ledger" in err
    assert not (tmp_path / "ledger.db").exists()


def test_check_says_what_an_engine_lacks_and_knows_no_other(
    tmp_path: Path, model_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "exllamav2_ext", raising=False)  # the double of tests that ran before
    assert run(capsys, "check", "--engine", "reference") == (0, "", "")
    code, _, err = run(capsys, "check", "--engine", "nobody")
    assert (code, err.count("\n")) == (2, 1)
    more = 'engine = "exllamav2"\nallow_vanishing = true\n[exllamav2]\nextension_dir = "e"\n'
    config = write_settings(tmp_path, model_dir, more)
    code, out, err = run(capsys, "check", "--config", str(config))
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("mtok: exllamav2 needs ")
    names = [line.split()[0] for line in out.splitlines()]
    assert names[:5] == ["settings", "addresses", "storage", "ledger", "driver"]
    assert names[-1] == "extension"
