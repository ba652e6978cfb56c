"""A bill by the hour leaves a counter each hour: what is done each second and each tick does not read them all."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event

from store.alarms import conditions
from store.backfill import missing_samples
from store.budget_curve import debits_since
from store.counters import watched_counters
from store.figures import Spend
from store.gate import GatePolicy
from store.rest import rest_needed
from store.verdicts import verdict_now
from store.window import Window
from tests.conftest import START, History, add_ended_buckets, billed_in, debits_between
from tests.databases import empty_sqlite, opened

ZONE = ZoneInfo("UTC")
POLICY = GatePolicy(10**12, ZONE, timedelta(seconds=170))
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
FEW, MANY = 30, 600
LOOKS: dict[str, Callable[[History], object]] = {
    "tick": lambda of: of.tick(of.bill(10**9), totals=of.totals(0, 0), after_s=0),
    "gate": lambda of: verdict_of(of),
    "alarms": lambda of: read(of, lambda session: conditions(session, POLICY, verdict_of(of))),
    "backfill": lambda of: read(of, lambda session: [*missing_samples(session, "cloud", now(of), ZONE, DAY)]),
    "known counters": lambda of: read(of, lambda session: watched_counters(session, "cloud")),
    "rest": lambda of: read(of, lambda session: rest_needed(session, "h100", MINUTE)),
    "debits": lambda of: read(of, lambda session: debits_between(session, START, now(of))),
    "curve": lambda of: read(of, lambda session: debits_since(session, START, [START + MINUTE, now(of)])),
}


def now(history: History) -> Any:
    return history.clock.now()


def read(history: History, ask: Callable[[Any], object]) -> object:
    with history.database.read() as session:
        return ask(session)


def verdict_of(history: History) -> Any:
    return read(history, lambda session: verdict_now(session, POLICY, now(history)))


def work(folder: Path, ended: int, look: Callable[[History], object]) -> int:
    """How many hundreds of steps SQLite takes for a look, with so many counters that ended before."""
    folder.mkdir()
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    with opened(empty_sqlite(folder / "mtok.db")) as database:
        add_ended_buckets(database, ended)
        history = History(database)
        for _ in range(3):
            history.tick(history.bill(10**9), totals=history.totals(0, 0))
        event.listen(database.engine, "checkout", lambda raw, *_: raw.set_progress_handler(step, 100))
        look(history)
    return count


@pytest.mark.parametrize("name", LOOKS)
def test_it_costs_no_more_for_counters_that_have_ended(tmp_path: Path, name: str) -> None:
    few, many = (work(tmp_path / str(ended), ended, LOOKS[name]) for ended in (FEW, MANY))
    assert many <= few + 5


def test_a_tier_whose_bills_ended_before_a_window_spent_nothing_in_it(history: History) -> None:
    add_ended_buckets(history.database, 3)
    history.resources = frozenset()
    for _ in range(2):
        history.tick(totals=history.totals(0, 0))
    with history.database.read() as session:
        found = billed_in(session, "h100", Window(START, START + MINUTE))
    assert isinstance(found, Spend)
    assert (found.nusd, found.currency) == (0, "USD")
