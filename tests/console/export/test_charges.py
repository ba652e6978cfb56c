"""FOCUS says what is known of each counter, whatever is not known of its tier's sum."""

import csv
import io
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import col, select

from console.export.charges import charges
from console.export.focus import Charge, billing_periods
from console.export.series import steps
from store.clock import SetClock
from store.figures import Spend
from store.figures_read import figures
from store.tables import BillCounter
from store.window import Window
from tests.commands import mtok
from tests.conftest import START, History, add_ended_buckets
from tests.console.fleet_world import fleet_world
from tests.databases import statements

HOUR = timedelta(hours=1)
OTHER = {"counter": "usage:vm:9", "resource_id": "9", "name": "h100-b"}


def charged(history: History) -> tuple[list[Charge], dict[str, str]]:
    """Every charge of the history's first hour, and what is left out."""
    left_out: dict[str, str] = {}
    with history.database.read() as session:
        found = steps(session, "h100", Window(START, START + HOUR), HOUR, ZoneInfo("UTC"))
        return [one for step in found for one in charges(session, step, {}, left_out)], left_out


def tell(history: History, minutes: int = 3, **other: object) -> None:
    for minute in range(minutes):
        bills = history.bill(minute * 100), history.bill(minute * 7, **{**OTHER, **other})
        history.tick(*bills, totals=history.totals(minute * 10, minute * 20))


def lose(history: History, name: str) -> None:
    with history.database.write() as session:
        counter = session.exec(select(BillCounter).where(col(BillCounter.counter) == name)).one()
        counter.unsettled_at = START + timedelta(minutes=2)


def test_only_the_unsettled_counter_is_left_out_and_it_is_named(history: History) -> None:
    tell(history)
    lose(history, "usage:vm:8429")
    found, left_out = charged(history)
    assert [(one.resource_id, one.nusd, one.completion_tokens) for one in found] == [("9", 14, 40)]
    assert found[0].per_mtok_output_nusd is None
    (what, why), *more = left_out.items()
    assert (what, more) == ("usage:vm:8429 of h100", [])
    assert "mtok counter settle" in why


def test_currencies_stand_side_by_side(history: History) -> None:
    tell(history, currency="EUR")
    found, left_out = charged(history)
    assert [(one.currency, one.nusd, one.completion_tokens) for one in found] == [
        ("USD", 200, 40),
        ("EUR", 14, None),
    ]
    assert left_out == {}


def test_tokens_without_any_bill_beside_them_are_named(history: History) -> None:
    for minute in range(3):
        history.tick(history.bill(minute * 100), totals=history.totals(minute * 10, minute * 20))
    lose(history, "usage:vm:8429")
    found, left_out = charged(history)
    assert found == []
    assert list(left_out) == ["usage:vm:8429 of h100", "tokens of h100"]


def test_buckets_that_have_ended_cost_a_step_no_statement(history: History) -> None:
    tell(history)
    with statements(history.database) as sent:
        found = charged(history)
    asked = len(sent)
    add_ended_buckets(history.database, 30)
    with statements(history.database) as sent:
        assert charged(history) == found
    assert len(sent) == asked


def test_tokens_stand_beside_a_counter_at_rest_where_none_moved(history: History) -> None:
    add_ended_buckets(history.database, 2)
    history.resources = frozenset()
    for minute in range(3):
        history.tick(totals=history.totals(minute * 10, minute * 20))
    (one,), left_out = charged(history)
    assert (one.nusd, one.prompt_tokens, one.completion_tokens, left_out) == (0, 20, 40, {})


def charged_daily(history: History, window: Window, zone: str) -> list[Charge]:
    with history.database.read() as session:
        found = [
            step
            for part in billing_periods(window)
            for step in steps(session, "h100", part, timedelta(days=1), ZoneInfo(zone))
        ]
        return [one for step in found for one in charges(session, step, {}, {})]


def test_a_month_is_charged_what_it_was_billed_though_ticks_lie_before_its_days(history: History) -> None:
    """The first day of November begins at a tick of October's; in Berlin it begins an hour before, too."""
    october, november = datetime(2026, 10, 30, 23, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    history.clock = SetClock(october + timedelta(minutes=9, seconds=0.35))
    while history.clock.now() < november + 24 * HOUR:
        minutes = (history.clock.now() - october) // timedelta(minutes=1)
        history.tick(history.bill(minutes), totals=history.totals(minutes, minutes), after_s=600)
    window = Window(october, november + 24 * HOUR)
    for zone, days in (("UTC", 3), ("Europe/Berlin", 4)):
        found = charged_daily(history, window, zone)
        assert len(found) == days
        spent = [sum(one.nusd for one in found if (one.start_at >= november) is late) for late in (False, True)]
        assert spent == [24 * 60 + 50, 24 * 60]
        assert not any(one.start_at < november < one.end_at or one.is_correction for one in found)
        assert sum(one.completion_tokens or 0 for one in found) == sum(spent)
    with history.database.read() as session:
        spend = figures(session, "h100", window).spend
    assert isinstance(spend, Spend)
    assert spend.nusd == sum(spent)


def test_what_is_left_out_is_said_on_stderr_with_exit_code_5(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = fleet_world(tmp_path_factory.mktemp("world"), minutes=3)
    window = ("--from", "2026-11-24T08:00:00Z", "--to", "2026-11-24T09:00:00Z")
    words = ("export", "focus", *window, "--config", str(world.settings.path))
    code, out, err = mtok(*words)
    assert (code, err) == (0, "")
    assert len({row["ResourceId"] for row in csv.DictReader(io.StringIO(out))}) == 3
    with world.database.write() as session:
        session.exec(select(BillCounter).where(col(BillCounter.tier) == "l40")).one().unsettled_at = START
    code, out, err = mtok(*words)
    assert code == 5
    assert {row["ResourceId"] for row in csv.DictReader(io.StringIO(out))} == {"8429", "8437"}
    assert "left out: usage:vm:8433 of l40: unsettled: usage:vm:8433 vanished" in err
