"""Windows by name, in UTC and in the budget's zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from store.unknown import Unknown
from store.window import day_name, day_start, named_window

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_day_begins_in_the_budgets_zone() -> None:
    now = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
    assert day_start(now, BERLIN) == datetime(2026, 11, 23, 23, 0, tzinfo=UTC)
    assert day_name(now, BERLIN) == "2026-11-24"


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25)])
def test_days_of_the_clock_change_are_as_long_as_they_are(day: tuple[int, int, int], hours: int) -> None:
    start = day_start(datetime(*day, 12, tzinfo=BERLIN), BERLIN)
    following = day_start(start + timedelta(hours=30), BERLIN)
    assert following - start == timedelta(hours=hours)


def test_named_windows_end_now() -> None:
    now = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
    assert named_window("5m", now, BERLIN).start == now - timedelta(minutes=5)
    assert named_window("month", now, BERLIN).start == datetime(2026, 10, 31, 23, 0, tzinfo=UTC)


def test_an_unknown_figure_is_never_taken_for_zero() -> None:
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(Unknown("not read"))
