"""Entries are forgotten, and what ends the task that forgets them is told."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from agent.engine.protocol import Outcome
from agent.entries import Counts, Entry
from agent.ledger import Ledger
from agent.retention import keep_thinning
from agent.server import _beside
from agent.settings import Retention, load_agent_settings
from store.errors import SettingsError
from tests.agent.conftest import write_settings

DAYS = "MTOK_AGENT_RETENTION__DAYS"
LONGEST = 36_500


async def test_the_longest_time_is_one_that_ends_no_thinning(tmp_path: Path) -> None:
    path = write_settings(tmp_path, tmp_path / "model")
    retention = load_agent_settings(path, {DAYS: str(LONGEST), "MTOK_AGENT_RETENTION__ENTRIES": "1000"}).retention
    ledger, now = Ledger(tmp_path / "ledger.db"), datetime.now(UTC)
    ended = [Entry(str(one), "a", "c", "m", now, Counts(1), Outcome.FINISHED, now) for one in range(1010)]
    await ledger.write(ended)
    with structlog.testing.capture_logs() as told:
        async with _beside(keep_thinning(ledger, retention)), asyncio.timeout(10):
            while not told:  # noqa: ASYNC110 - nothing else announces it
                await asyncio.sleep(0.01)
    ledger.close()
    assert told == [{"event": "entries forgotten", "entries": 10, "log_level": "info"}]


def test_a_longer_time_is_refused_by_name(tmp_path: Path) -> None:
    path = write_settings(tmp_path, tmp_path / "model")
    with pytest.raises(SettingsError, match=rf"retention\.days: .*{LONGEST}"):
        load_agent_settings(path, {DAYS: str(LONGEST + 1)})


async def test_what_ends_a_task_beside_the_server_is_in_the_log(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    with structlog.testing.capture_logs() as told:
        async with _beside(keep_thinning(ledger, Retention.model_construct(days=10**6))), asyncio.timeout(10):
            while not told:  # noqa: ASYNC110 - nothing else announces it
                await asyncio.sleep(0.01)
    ledger.close()
    (line,) = told
    assert (line["event"], line["task"], line["log_level"]) == ("task ended", "keep_thinning", "error")
    assert isinstance(line["exc_info"], OverflowError)
