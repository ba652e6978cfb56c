"""What a label may use in a day and in a minute."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.engine.protocol import Outcome
from agent.entries import Counts, Entry
from agent.keys import Keys, create_key
from agent.ledger import Ledger
from agent.quota import Quotas
from store.clock import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime.now(UTC).replace(hour=22, minute=0, second=0, microsecond=0))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture
def quotas(tmp_path: Path, ledger: Ledger, clock: SetClock) -> Quotas:
    path = tmp_path / "keys"
    create_key(path, "daily", tokens_per_day=100)
    create_key(path, "minute", requests_per_minute=2)
    create_key(path, "free")
    return Quotas(Keys("keys_file", path), ledger, clock)


def test_without_limits_nothing_is_refused(quotas: Quotas) -> None:
    assert quotas.left("free") is None
    assert all(quotas.refuses("free", 10**6) is None for _ in range(100))


def test_a_days_tokens_end_and_come_back_at_midnight(quotas: Quotas, clock: SetClock) -> None:
    assert quotas.refuses("daily", 99) is None
    quotas.count("daily", 95)
    assert quotas.left("daily") == 5
    refusal = quotas.refuses("daily", 5)
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, "insufficient_quota", 2 * 3600 + 1)
    assert quotas.refuses("daily", 4) is None
    clock.advance(2 * 3600)
    assert quotas.left("daily") == 100


async def test_a_restart_forgets_no_token_of_today(quotas: Quotas, ledger: Ledger, clock: SetClock) -> None:
    now = clock.now()
    ended = Entry("1", "daily", "completions", "m", now, Counts(1, 30, 0, 40, 40), Outcome.STOPPED, now)
    await ledger.write([ended])
    assert quotas.left("daily") == 30
    quotas.count("daily", 5)
    assert quotas.left("daily") == 25


def test_a_minutes_requests_slide(quotas: Quotas, clock: SetClock) -> None:
    assert quotas.refuses("minute", 1) is None
    clock.advance(30)
    assert quotas.refuses("minute", 1) is None
    refusal = quotas.refuses("minute", 1)
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, "rate_limit_exceeded", 31)
    clock.advance(31)
    assert quotas.refuses("minute", 1) is None
    assert quotas.refuses("minute", 1) is not None
