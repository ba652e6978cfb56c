"""Our clock is trusted once a provider's own agrees with it, until it jumps. Silence vouches for nothing."""

from datetime import timedelta

import pytest

from console.collector.clock_jumps import ClockTrust
from store.clock import SetClock
from tests.conftest import START

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


def test_nobody_vouches_for_a_clock_at_first(clock: SetClock) -> None:
    trust = ClockTrust(clock)
    assert "none answers" in (trust.doubt(False, ()) or "")
    assert "86400 s away" in (trust.doubt(False, (DAY,)) or "")
    assert trust.doubt(True, ()) is None


def test_a_provider_that_is_wrong_alone_is_its_own_problem(clock: SetClock) -> None:
    trust = ClockTrust(clock)
    assert trust.doubt(True, ()) is None
    clock.advance(60)
    assert trust.doubt(False, (DAY,)) is None
    assert trust.doubt(True, (DAY,)) is None


@pytest.mark.parametrize("jump_s", [86_400, -86_400])
def test_a_jump_ends_the_trust_until_somebody_agrees_again(clock: SetClock, jump_s: float) -> None:
    trust = ClockTrust(clock)
    trust.doubt(True, ())
    clock.advance(60)
    clock.jump(jump_s)
    assert trust.doubt(False, (DAY,)) is not None
    clock.advance(60)
    assert trust.doubt(False, ()) is not None  # silence is no agreement
    assert trust.doubted_for() == timedelta(seconds=60)
    assert trust.doubt(True, ()) is None
    assert trust.doubted_for() is None
