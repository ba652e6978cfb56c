"""What a bill is compared with: the counters of a window, however many have ended before it."""

from datetime import timedelta

from store.reconcile import counted
from tests.conftest import START, History, add_ended_buckets
from tests.databases import statements

HOUR = timedelta(hours=1)


def test_counters_that_ended_before_a_window_cost_it_no_statement(history: History) -> None:
    for minute in range(3):
        history.tick(history.bill(minute * 100), totals=history.totals(0, 0))
    add_ended_buckets(history.database, 30)
    with history.database.read() as session, statements(history.database) as sent:
        (part,) = counted(session, "cloud", START, START + HOUR)
    assert (part.counter.counter, part.nusd) == ("usage:vm:8429", 200)
    assert len(sent) < 10
