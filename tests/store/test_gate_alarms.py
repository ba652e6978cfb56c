"""Alarms: each once for as long as it lasts, and a closed gate's again when it gets worse."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlmodel import select

from store.alarms import conditions, follow
from store.gate import GatePolicy
from store.tables import AlarmRow
from store.verdicts import close_by_hand, closed_by_hand, open_by_hand, record_verdict, verdict_now
from tests.conftest import History

POLICY = GatePolicy(1000 * 10**9, ZoneInfo("UTC"), timedelta(seconds=170))


def look(history: History) -> list[tuple[str, str, bool]]:
    """Decide and follow; every alarm of the gate so far: its kind, its subject, and whether it lasts."""
    with history.database.write() as session:
        verdict = verdict_now(session, POLICY, history.clock.now())
        record_verdict(session, verdict)
        follow(session, history.clock.now(), conditions(session, POLICY, verdict))
    with history.database.read() as session:
        rows = session.exec(select(AlarmRow).order_by(AlarmRow.id)).all()  # type: ignore[arg-type]
        return [(row.kind, row.subject, row.ended_at is None) for row in rows if row.kind.startswith("gate_")]


def test_a_reason_that_joins_another_one_is_told_and_what_remains_of_them_is_not(history: History) -> None:
    manual, both = "the gate: manual", "the gate: dark, manual"

    def ticks() -> None:
        for _ in range(3):
            history.tick(history.bill(10**9), totals=history.totals(0, 0))

    ticks()
    with history.database.write() as session:
        close_by_hand(session, history.clock.now(), "ada", "maintenance")
    assert look(history) == [("gate_closed", manual, True)]
    history.clock.advance(600)
    assert look(history) == [("gate_closed", manual, False), ("gate_closed", both, True)]
    history.clock.advance(60)
    assert len(look(history)) == 2  # its text counts the minutes
    ticks()
    assert look(history) == [("gate_closed", manual, False), ("gate_closed", manual, True)]
    history.clock.advance(600)
    assert look(history)[-1] == ("gate_closed", both, True)
    ticks()
    with history.database.write() as session:
        closure = closed_by_hand(session)
        assert closure is not None
        open_by_hand(session, closure, history.clock.now(), "ada", "done")
    assert [one[2] for one in look(history)] == [False] * 4
    assert look(history)[-1] == ("gate_opened", "the gate", False)
