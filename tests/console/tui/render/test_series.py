"""How finely a window is drawn: as fine as fits, and no finer than the bill moves."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from console.tui.render.series import point_cells, points_that_resolve
from store.points import Point
from store.unknown import Unknown
from store.window import Edges

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
DAY = timedelta(hours=24)


def points_every(bill_step: timedelta, known_from: float = 0) -> Callable[[str, int], Sequence[Point]]:
    """Points of a day whose bill moves every `bill_step` and is known in its last part alone."""

    def read(_window: str, count: int) -> Sequence[Point]:
        step = DAY / count
        watched = [n >= known_from * count for n in range(count)]
        return [point(START + step * n, step, step >= bill_step, watched[n]) for n in range(count)]

    return read


def point(start: datetime, step: timedelta, is_known: bool, is_watched: bool = True) -> Point:
    edges = Edges(start, start + step, since=False) if is_watched else Unknown("no tick")
    spend = 10**9 if is_known and is_watched else Unknown("bills every 1 h")
    return Point(start, start + step, edges, spend, 7, 5, spend, Unknown("no instance ran"))


def test_a_wide_screen_is_drawn_finer() -> None:
    read = points_every(timedelta(minutes=1))
    assert len(points_that_resolve("24h", 120, read)[1]) == 96
    assert len(points_that_resolve("24h", 79, read)[1]) == 48
    assert len(points_that_resolve("24h", 40, read)[1]) == 24


def test_no_step_is_finer_than_the_bill_moves() -> None:
    assert len(points_that_resolve("24h", 120, points_every(timedelta(hours=1)))[1]) == 24


def test_a_short_history_is_not_drawn_in_coarse_steps() -> None:
    assert len(points_that_resolve("24h", 120, points_every(timedelta(minutes=1), known_from=0.8))[1]) == 96


def test_five_minutes_are_drawn_within_their_hour() -> None:
    assert points_that_resolve("5m", 80, points_every(timedelta(0)))[0] == "1h"


def test_an_exported_point_is_exact_and_says_why_it_is_not_known() -> None:
    known, unknown = point(START, timedelta(hours=1), True), point(START, timedelta(hours=1), False)
    assert point_cells("h100", known)[:2] == ["h100", "2026-11-24T08:00:00Z"]
    assert point_cells("h100", known)[6:10] == ["1.000000000", "7", "5", "1.000000000"]
    assert point_cells("h100", unknown)[6:] == ["", "7", "5", "", "", "bills every 1 h"]
