"""`mtok agent bench`, with a running agent and without one: what it generates is in the same ledger."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.bench_command import quoted_rate, table, with_price
from agent.cli import main
from store.errors import SettingsError
from tests.agent.conftest import KEY, SECRET, RunningAgent, running_agent, write_settings
from tests.agent.test_accounts import made
from tests.agent.test_capacity import MEASURED

Bench = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.processes
SHORT = ["--seconds", "0.05", "--runs", "1", "--prompt-tokens", "8", "--completion-tokens", "16"]
NULL = 'engine = "null"\nengine_journal = "journal"\n[limits]\nmax_batch = 4\n'


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    """The command, with an agent's settings and more words."""

    def run(settings: Path, *words: str) -> tuple[int, str, str]:
        code = main(["bench", "--config", str(settings), *SHORT, *words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return write_settings(tmp_path, tmp_path, NULL)


def in_step(agent: RunningAgent, journal: Path) -> Any:
    """The agent's usage, once it is that of the engine's own journal."""
    usage = agent.usage()
    assert usage["in_flight"] == 0
    assert usage["completion_tokens"] == made(journal)["end"] > 0
    assert set(usage["labels"]) == {"mtok.bench"}
    return usage


def test_a_running_agent_is_measured_and_says_so_also_after_a_restart(
    bench: Bench, settings: Path, tmp_path: Path
) -> None:
    with running_agent(settings) as agent:
        usage = agent.usage()
        assert (usage["capacity_tokens_per_s"], usage["capacity"]["unknown"]) == (
            None,
            "not measured: run mtok agent bench",
        )
        code, out, err = bench(settings, "--json")
        assert (code, out) == (1, "")
        assert "no_lease" in err.splitlines()[-1]
        agent.lease()
        code, out, err = bench(settings, "--json", "--usd-per-hour", "2.00")
        assert code == 0, err
        assert "the agent runs: measuring through its control API" in err
        found = json.loads(out)
        assert [one["batch"] for one in found["batches"]] == [1, 4]
        assert found["implied"]["basis"] == "implied by a quoted rate, not a bill"
        usage = in_step(agent, tmp_path / "journal")
        assert usage["capacity_tokens_per_s"] == found["capacity_tokens_per_s"]
        assert usage["capacity"]["conditions"].startswith(f"batch {found['capacity_batch']}, prompts of 8 ")
        assert agent.status()["capacity"] == usage["capacity"]
        url = f"{agent.public}/metrics"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert b"mtok_agent_capacity_tokens_per_second" in answer.read()
    settings.write_text(settings.read_text(encoding="utf-8").replace("max_batch = 4", "max_batch = 2"))
    with running_agent(settings) as agent:
        usage = agent.usage()
    assert usage["capacity_tokens_per_s"] is None
    assert usage["capacity"]["unknown"] == "measured with max_batch 4, now 2: run mtok agent bench again"


def test_without_an_agent_the_engine_is_opened_for_it(bench: Bench, settings: Path, tmp_path: Path) -> None:
    code, out, err = bench(settings)
    assert code == 0, err
    assert "no agent runs: opening the engine for this benchmark" in err
    assert "capacity " in out.splitlines()[-1]
    with running_agent(settings) as agent:
        usage = in_step(agent, tmp_path / "journal")
        assert usage["capacity_tokens_per_s"] > 0


def test_a_few_batches_are_no_capacity(bench: Bench, settings: Path) -> None:
    code, out, _ = bench(settings, "--batch", "2")
    assert code == 0
    assert "not kept: only some batches" in out
    assert not list(settings.parent.glob("*.bench.json"))


def test_the_control_api_asks_for_its_secret_and_for_sense(settings: Path) -> None:
    with running_agent(settings) as agent:
        agent.lease()
        url = f"{agent.control}/control/bench"
        assert agent.call(url, {}, method="POST", key="wrong")[0] == 401
        bodies: tuple[Any, ...] = ({"runs": 0}, {"seconds": 10**9}, {"what": 1}, [], b"{")
        for body in bodies:
            code, answer = agent.call(url, body, method="POST", key=SECRET)
            assert (code, answer["error"]["code"]) == (400, "invalid_bench")
        assert agent.usage()["requests"] == 0


def test_an_engine_that_cannot_be_opened_is_one_line(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    code, out, err = bench(write_settings(tmp_path, tmp_path / "model"))
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("mtok: model ")


@pytest.mark.parametrize("text", ["0", "-1", "two", "1e99", ""])
def test_a_rate_that_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"2\.00"):
        quoted_rate(text)


def test_what_a_rate_implies_is_labelled_and_exact() -> None:
    result = with_price(MEASURED.body(), quoted_rate("2.00"))
    assert result["implied"]["usd_per_mtok_output"] == "5.527915976"  # 2 / 3600 / 100.5 * 10^6
    text = table(result)
    assert "$5.5279 per Mtok output at full load, at $2.00 an hour: implied by a quoted rate, not a bill" in text
    assert "implied" not in table(with_price(MEASURED.body(), None))
