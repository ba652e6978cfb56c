"""Settling: no sample of a counter is later than its end, whoever's clock that is dated by."""

from datetime import timedelta

from sqlmodel import select

from store.settle import settle
from store.tables import BillCounter
from tests.conftest import START, History, debits_between


def test_an_engineer_whose_clock_trails_hides_no_debit(history: History) -> None:
    for minute in range(5):
        history.tick(history.bill(100 + minute), totals=history.totals(0, 0))
    with history.database.write() as session:
        counter = session.exec(select(BillCounter)).one()
        counter.unsettled_at = history.clock.now()
        session.flush()
        behind = START - timedelta(hours=1)
        settle(session, behind, counter.id or 0, actor="ada", reason="deleted by hand")
    with history.database.read() as session:
        assert debits_between(session, START + timedelta(minutes=1), history.clock.now()) == 3
        assert session.exec(select(BillCounter.final_at)).one() == START + timedelta(minutes=4)
