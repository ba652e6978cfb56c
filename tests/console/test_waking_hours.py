"""Waking hours are those of a place, on its days, over midnight and through its changes of the clock."""

from datetime import UTC, datetime

import pytest

from console.waking_hours import parse_waking_hours


@pytest.mark.parametrize(
    ("text", "at", "holds"),
    [
        ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-11-24T07:00", True),  # Tuesday, 08:00 in Berlin
        ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-11-24T06:59", False),
        ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-11-24T17:00", False),  # the end is outside
        ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-11-28T10:00", False),  # Saturday
        ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-07-21T06:00", True),  # summer time: 08:00
        ("Fri 22:00-06:00 UTC", "2026-11-28T05:59", True),  # Saturday morning belongs to Friday
        ("Fri 22:00-06:00 UTC", "2026-11-27T05:59", False),
        ("daily 00:00-24:00 UTC", "2026-11-28T23:59", True),
        ("Sat,Sun 10:00-12:00 UTC", "2026-11-29T10:00", True),
        ("Fri-Mon 10:00-12:00 UTC", "2026-11-30T10:00", True),
        ("Fri-Mon 10:00-12:00 UTC", "2026-11-24T10:00", False),
    ],
)
def test_waking_hours(text: str, at: str, holds: bool) -> None:
    assert parse_waking_hours(text).holds(datetime.fromisoformat(at).replace(tzinfo=UTC)) is holds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("always", "names no waking hours"),
        ("Mon-Fri 08:00-18:00 Mars/Olympus", "there is no time zone"),
        ("Mon-Foo 08:00-18:00 UTC", "there is no day 'Foo'"),
        ("Mon 8-18 UTC", "names no waking hours"),
        ("Mon 08:00-25:00 UTC", "hour"),
    ],
)
def test_what_is_none_is_said(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_waking_hours(text)
