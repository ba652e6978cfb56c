"""Clients come and go, the agent is killed: what the engine produced is in the ledger, but for a second a kill."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from agent.ledger import Ledger
from tests.agent.conftest import write_settings
from tests.agent.storm import Produced, read_entries, read_journal, run_storm

PROVES = bool(os.environ.get("MTOK_PROVE"))
CLIENTS, LIVES, LIFE_S = (500, 4, 8.0) if PROVES else (60, 2, 2.0)
MAY_LOSE_S = 1.0
SLACK_S = 0.5  # on a machine that is busier than any host: clients, engine and agent share it
MORE = 'engine_journal = "engine.log"\n[limits]\nmax_batch = 32\nmax_queue = 600\nmax_connections = 1000\n'


@pytest.mark.processes
async def test_after_a_storm_the_ledger_and_the_engine_agree(tmp_path: Path, model_dir: Path) -> None:
    settings = write_settings(tmp_path, model_dir, MORE)
    storm = await run_storm(settings, CLIENTS, LIVES, LIFE_S)
    produced, entries = read_journal(tmp_path / "engine.log"), read_entries(tmp_path / "ledger.db")
    lost, oldest_s = 0, 0.0
    for id_, one in produced.items():
        entry = entries.get(id_)
        kill_s = next((kill for kill in storm.kills_s if kill >= one.first_s), float("inf"))
        if entry is None or entry["outcome"] == "aborted":
            counted = entry["completion_tokens"] if entry else 0
            assert one.until(kill_s - MAY_LOSE_S - SLACK_S) <= counted <= one.completion
            lost += one.completion - counted
            oldest_s = max(oldest_s, kill_s - one.first_after(counted))
        else:
            assert found(entry) == (one.prompt, one.cached, one.completion)
            assert entry["delivered_tokens"] <= entry["completion_tokens"]
    for id_, usage in storm.answers.items():
        entry = entries[id_.split("-")[-1]]
        assert entry["outcome"] != "aborted"
        assert entry["completion_tokens"] == entry["delivered_tokens"] == usage["completion_tokens"]
    assert all(entry["outcome"] for entry in entries.values())
    assert all(not found(entry)[2] for id_, entry in entries.items() if id_ not in produced)
    ledger = Ledger(tmp_path / "ledger.db")  # which checks its sums
    total = ledger.totals()["tests"]
    ledger.close()
    assert total.completion_tokens == sum(one.completion for one in produced.values()) - lost
    assert total.requests == len(entries)
    assert reported_deaths(tmp_path / "ledger.db") == len(storm.kills_s)
    made = sum(one.completion for one in produced.values())
    second = sum(within_last_second(one, storm.kills_s) for one in produced.values())
    print(
        f"\nstorm: {CLIENTS} clients, {storm.asked} requests sent, {storm.gone} left,"
        f" {len(storm.answers)} read whole; {len(storm.kills_s)} kills; engine {made} tokens,"
        f" ledger {total.completion_tokens}; {lost} lost of {second} in the second before a kill,"
        f" the oldest of them {oldest_s:.2f} s before it"
    )
    assert storm.gone > CLIENTS / 10
    assert len(storm.answers) > CLIENTS


def found(entry: dict[str, int]) -> tuple[int, int, int]:
    return entry["prompt_tokens"], entry["cached_tokens"], entry["completion_tokens"]


def within_last_second(one: Produced, kills_s: list[float]) -> int:
    return sum(n for at_s, n in one.tokens if any(kill - MAY_LOSE_S < at_s <= kill + 0.1 for kill in kills_s))


def reported_deaths(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM deaths").fetchone()[0])
