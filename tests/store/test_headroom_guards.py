"""What each guard of `is_frozen` and of the headroom's duration keeps from happening, one row a guard."""

from datetime import UTC, datetime, timedelta

import pytest

from store.headroom import Course, Horizon, Metered, headroom, is_frozen

AFTER = timedelta(minutes=15)
HORIZON = Horizon(tick=timedelta(minutes=1), drain=timedelta(minutes=2), sleep=timedelta(minutes=30))
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)
NOW = MIDNIGHT - timedelta(minutes=10)


def metered(still_min: float, **changes: object) -> Metered:
    """A running instance at $2.00 an hour whose bill last moved `still_min` minutes ago."""
    moved_at = NOW - timedelta(minutes=still_min)
    fields: dict[str, object] = {
        "counter": "usage:vm:8429",
        "tier": "h100",
        "course": Course.STOPPABLE,
        "moved_at": moved_at,
        "step": timedelta(minutes=1),
        "rate_nusd_per_hour": 2 * 10**9,
        "runs_since": moved_at - timedelta(hours=1),
        "quantum_nusd": 1,
    }
    return Metered(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(metered(15), True, id="still for as long as it may be"),
        pytest.param(metered(14), False, id="still for less"),
        pytest.param(metered(36, runs_since=NOW), False, id="still since before it slept, and awake again now"),
        pytest.param(metered(36, runs_since=NOW - AFTER), True, id="awake again for as long"),
        pytest.param(metered(20, step=timedelta(minutes=10)), False, id="two of its steps"),
        pytest.param(metered(30, step=timedelta(minutes=10)), True, id="three of its steps"),
        pytest.param(metered(20, quantum_nusd=10**9), False, id="fewer than three quanta due"),
        pytest.param(metered(90, quantum_nusd=10**9), True, id="three quanta due"),
        pytest.param(metered(20, rate_nusd_per_hour=0, quantum_nusd=0), False, id="nothing due"),
        pytest.param(metered(20, runs_since=None), False, id="does not run, and is quoted all the same"),
        pytest.param(metered(20, rate_nusd_per_hour=None), False, id="nobody knows what is due"),
    ],
)
def test_a_bill_is_frozen_when_it_should_have_moved(one: Metered, expected: bool) -> None:
    assert is_frozen(one, NOW, AFTER) is expected


@pytest.mark.parametrize(
    ("one", "minutes"),
    [
        pytest.param(metered(20), 20 + 10, id="stoppable, not beyond midnight"),
        pytest.param(metered(20, trails=timedelta(minutes=3)), 20 + 3 + 10, id="and what the bill trails by"),
        pytest.param(metered(20, course=Course.UNSTOPPABLE), 20 + 10, id="unstoppable, until midnight"),
        pytest.param(metered(20, course=Course.ENDED), 20, id="ended"),
        pytest.param(
            metered(8 * 60, step=timedelta(minutes=10), course=Course.UNSTOPPABLE, is_asleep=True),
            10 + 10,
            id="asleep for hours: a step behind, no more",
        ),
        pytest.param(metered(-1), 10, id="moved after this clock's instant"),
    ],
)
def test_headroom_reaches_over_what_is_unseen_and_what_is_ahead(one: Metered, minutes: int) -> None:
    (term,) = headroom([one], NOW, MIDNIGHT, HORIZON)
    assert term.duration == timedelta(minutes=minutes)


def test_headroom_of_what_can_be_stopped_ends_when_it_is_stopped() -> None:
    (term,) = headroom([metered(20)], NOW, MIDNIGHT + timedelta(days=1), HORIZON)
    assert term.duration == timedelta(minutes=20) + HORIZON.whole


@pytest.mark.parametrize("course", Course)
def test_after_midnight_nothing_is_ahead(course: Course) -> None:
    (term,) = headroom([metered(20, course=course)], NOW, NOW - timedelta(minutes=1), HORIZON)
    assert term.duration == timedelta(minutes=20)
