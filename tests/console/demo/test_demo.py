"""The whole loop, in real processes: the figures are the provider's own, and blind agents do not serve."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands import mtok_json
from tests.prepared import prepare_demo

pytestmark = pytest.mark.processes

MTOK = [sys.executable, "-c", "import sys; from console.cli import main; sys.exit(main())"]


def get_json(url: str, **query: str) -> Any:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.load(answer)


def wait_until(holds: Callable[[], bool], within_s: float) -> float:
    """Seconds until it held."""
    start = time.monotonic()
    while time.monotonic() - start < within_s:
        if holds():
            return time.monotonic() - start
        time.sleep(0.1)
    pytest.fail(f"did not hold within {within_s} s")


@dataclass(frozen=True)
class RunningDemo:
    """A demo in processes of its own; `body` is what its `demo.json` says."""

    process: subprocess.Popen[bytes]
    state: Path
    body: dict[str, Any]


@contextlib.contextmanager
def running_demo(state: Path, served: int = 4) -> Iterator[RunningDemo]:
    """A demo from the first `served` requests on, until the block ends or somebody ends it before."""
    command = [*MTOK, "demo", "--headless", "--json", "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: (state / "load.json").exists() and answers(state) >= served, 120)
            yield RunningDemo(process, state, json.loads((state / "demo.json").read_text(encoding="utf-8")))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def received_by_now(state: Path) -> dict[str, Any]:
    """By tier, what the load's clients were told."""
    tiers: dict[str, Any] = json.loads((state / "load.json").read_text(encoding="utf-8"))["tiers"]
    return tiers


def answers(state: Path) -> int:
    return sum(tier["answers"] for tier in received_by_now(state).values())


def processes_of(state: Path) -> list[str]:
    """Command lines of processes that name the demo's directory."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(state) in (entry / "cmdline").read_text(encoding="utf-8"):
                found.append(entry.name)
    return [pid for pid in found if pid != str(os.getpid())]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A demo whose figures are looked at. The last of its tests ends it."""
    with running_demo(tmp_path_factory.mktemp("demo") / "state") as running:
        yield running
    assert not processes_of(running.state)


@pytest.fixture(scope="module")
def played_with(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A demo with which more is done than its own load does. The last of its tests ends it."""
    state = tmp_path_factory.mktemp("demo") / "state"
    prepare_demo(state)
    with running_demo(state) as running:
        yield running


def test_each_spend_equals_the_simulators_own_account_to_the_nano_dollar(demo: RunningDemo) -> None:
    wait_until(lambda: ticks_of(demo.state) >= 4, 120)
    for tier in ("h100", "l40", "a100"):
        explained = mtok_json("explain", tier, "--window", "1h", "--json", "--config", demo.body["settings"])
        terms = explained["spend"]["terms"]
        assert len(terms) == 2  # an instance and a volume
        for term in terms:
            start, end = term["start"]["as_of"], term["end"]["as_of"]
            account = get_json(demo.body["provider_account_url"], **{"from": start, "to": end})
            (row,) = [row for row in account["resources"] if str(row["resource_id"]) == term["resource_id"]]
            assert term["nusd"] == row["billed_nusd"] > 0
        assert explained["spend"]["nusd"] == sum(term["nusd"] for term in terms)


AUDIT = """
import json, sys
from fractions import Fraction
for body in json.load(sys.stdin):
    spend, usage, figures = body["spend"], body["usage"], body["figures"]
    nusd = sum(term["end"]["nusd"] - term["start"]["nusd"] for term in spend["terms"])
    raw = sum(round(Fraction(term[edge]["raw"]) * 10**9) * sign for term in spend["terms"] for edge, sign in (("end", 1), ("start", -1)))
    tokens = sum(term["end"]["completion_tokens"] - term["start"]["completion_tokens"] for term in usage["terms"])
    assert nusd == raw == spend["nusd"] == round(Fraction(figures["spend_usd"]) * 10**9), (nusd, raw, spend["nusd"])
    assert tokens == figures["completion_tokens"] > 0 and round(Fraction(nusd * 10**6, tokens)) == round(Fraction(figures["usd_per_mtok_output"]) * 10**9)
"""  # noqa: E501


def test_each_figure_is_added_up_again_by_an_independent_script(demo: RunningDemo) -> None:
    explained = [
        mtok_json("explain", tier, "--window", window, "--json", "--config", demo.body["settings"])
        for tier in ("h100", "l40", "a100")
        for window in ("5m", "1h", "24h", "7d", "30d", "today", "month")
    ]
    subprocess.run([sys.executable, "-c", AUDIT], input=json.dumps(explained), text=True, check=True)


def test_figures_equal_what_was_billed_and_received_though_a_tier_slept_and_woke(demo: RunningDemo) -> None:
    """What clients were told, what the ledger holds and what the store has are the same, the probe apart."""
    state, config = demo.state, ("--config", str(demo.state / "mtok.toml"))
    asleep = mtok_json("tier", "hibernate", "h100", "--wait", "--yes", "--json", *config)
    assert (asleep["outcome"], asleep["provider_calls"]) == ("done", 1)
    assert [phase["phase"] for phase in asleep["phases"]][-3:] == ["provider", "asleep", "settled"]
    awake = mtok_json("tier", "wake", "h100", "--wait", "--yes", "--json", *config)
    assert (awake["outcome"], awake["phases"][-1]["phase"]) == ("done", "first_token")
    (past,) = mtok_json("tier", "history", "h100", "--json", *config)["operations"]
    told_later = {name: past[name] for name in ("cost", "cost_usd", "currency")}
    assert past == {**awake, **told_later}
    before = received_by_now(state)["h100"]["answers"]
    wait_until(lambda: received_by_now(state)["h100"]["answers"] > before, 120)
    demo.process.send_signal(signal.SIGTERM)
    printed, _ = demo.process.communicate(timeout=120)
    assert demo.process.returncode == 0
    assert not processes_of(state)
    status = json.loads(printed)
    assert status["simulated"] is True
    assert [tier["tier"] for tier in status["tiers"]] == ["h100", "l40", "a100"]
    received = received_by_now(state)
    for tier in status["tiers"]:
        tokens_agree(tier["windows"]["24h"], received[tier["tier"]])
        spend_agrees(tier["windows"]["24h"], tier["tier"], state)
    assert received["h100"]["refused"] > 0  # it was asleep for a while, and said so
    assert status["tiers"][0]["windows"]["24h"]["reserved_completion_tokens"] == 1  # the probe's


def tokens_agree(shown: dict[str, Any], received: dict[str, Any]) -> None:
    """What is shown of a tier is what its clients were told, the probe's token apart."""
    assert received["broken"] == 0
    served = shown["completion_tokens"] - shown["reserved_completion_tokens"]
    assert served == received["completion_tokens"] > 0
    if not shown["reserved_completion_tokens"]:  # no probe read a prompt of its own here
        assert shown["prompt_tokens"] == received["prompt_tokens"]
    assert float(shown["usd_per_mtok_output"]) > 0


def spend_agrees(shown: dict[str, Any], tier: str, state: Path) -> None:
    """What is shown of a tier is what the simulator says it had billed, from edge to edge."""
    totals = account_left_behind(state)
    window = ("--from", shown["start"], "--to", shown["end"])
    explained = mtok_json("explain", tier, *window, "--json", "--config", str(state / "mtok.toml"))
    billed = sum(
        totals[term["resource_id"]][term["end"]["as_of"]] - totals[term["resource_id"]][term["start"]["as_of"]]
        for term in explained["spend"]["terms"]
    )
    assert explained["spend"]["nusd"] == billed > 0
    assert explained["spend"]["usd"] == shown["spend_usd"]


def account_left_behind(state: Path) -> dict[str, dict[str, int]]:
    """By resource and second, what the simulator says that it had billed."""
    body = json.loads((state / "account.json").read_text(encoding="utf-8"))
    return {str(row["resource_id"]): row["total_nusd"] for row in body["resources"]}


def test_the_openai_package_streams_a_chat_and_gets_usage(played_with: RunningDemo) -> None:
    import openai  # a second, and every worker reads this file

    agent = played_with.body["agents"][0]
    with openai.OpenAI(base_url=f"{agent['url']}/v1", api_key=agent["api_key"], max_retries=5) as client:
        model = client.models.list().data[0]
        assert model.owned_by == "mtok"
        stream = client.chat.completions.create(
            model=model.id,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage is not None
    assert 1 <= usage.completion_tokens <= 16
    assert chunks[-2].choices[0].finish_reason in ("length", "stop")


def ask(agent: dict[str, Any]) -> tuple[int, str | None]:
    """The status and the error code of a small request."""
    models = urllib.request.Request(f"{agent['url']}/v1/models", headers=key_of(agent))
    with urllib.request.urlopen(models, timeout=10) as answer:
        model = json.load(answer)["data"][0]["id"]
    body = json.dumps({"model": model, "prompt": "Hello", "max_tokens": 2}).encode()
    request = urllib.request.Request(f"{agent['url']}/v1/completions", body, key_of(agent))
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, None
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]["code"]


def ticks_of(state: Path) -> int:
    with contextlib.closing(sqlite3.connect(state / "mtok.db")) as store:
        return int(store.execute("SELECT count(*) FROM ticks").fetchone()[0])


def key_of(agent: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {agent['api_key']}", "Content-Type": "application/json"}


def test_agents_stop_when_the_collector_is_dead_and_serve_when_it_is_back(played_with: RunningDemo) -> None:
    """`dark_after` is 12 s in the demo, a tick 2 s."""
    state, body = played_with.state, played_with.body
    status = mtok_json("status", "--json", "--config", body["settings"])
    os.kill(body["collector"]["pid"], signal.SIGKILL)
    last_s = time.monotonic() - status["billing"]["age_s"]
    for agent in body["agents"]:
        wait_until(lambda agent=agent: ask(agent) == (503, "no_lease"), 60)  # type: ignore[misc]
    assert time.monotonic() - last_s < 12 + 2 + 8  # a tick may have come before the kill; to ask takes time
    before = ticks_of(state)
    again = subprocess.Popen(
        [*MTOK, "collect", "--config", body["settings"]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: ask(body["agents"][0])[0] == 200, 60)
        assert 2 <= ticks_of(state) - before <= 5  # two open it; a slow machine may ask a few later
        for agent in body["agents"]:
            wait_until(lambda agent=agent: ask(agent)[0] == 200, 30)  # type: ignore[misc]
        status = mtok_json("status", "--json", "--config", body["settings"])
        assert status["gate"]["state"] == "open"
    finally:
        again.send_signal(signal.SIGTERM)
        again.wait(60)


def test_everything_ends_with_the_demo_also_when_it_is_killed(played_with: RunningDemo) -> None:
    assert len(processes_of(played_with.state)) >= 6
    played_with.process.kill()
    assert played_with.process.wait(30) == -9
    wait_until(lambda: not processes_of(played_with.state), 60)


def test_everything_ends_with_the_demo_at_ctrl_c(tmp_path: Path) -> None:
    prepare_demo(state := tmp_path / "state")
    with running_demo(state, served=0) as demo:
        assert len(processes_of(state)) >= 6
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(60) == 130
        wait_until(lambda: not processes_of(state), 60)
