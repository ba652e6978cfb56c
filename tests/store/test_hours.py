"""Hours as points, and what their prices were."""

from datetime import timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from store.hours import Band, HourPoint, Quantiles, band_of, bands, quantiles
from store.unknown import Unknown
from tests.conftest import START, History

HOUR = timedelta(hours=1)


def band(history: History, at_hours: float, days: int = 1) -> Band:
    with history.database.read() as session:
        return bands(session, ["h100"], START + HOUR * at_hours, days)[0]


def quarters(history: History, count: int, first: int = 0) -> None:
    """A tick each quarter of an hour, busy half of the time, dearer from hour to hour."""
    bill = first * 1_000
    for quarter in range(first, first + count):
        made = quarter * 100
        totals = history.totals(0, made, busy_ms=quarter * 450_000)
        history.tick(history.bill(bill), totals=totals, after_s=900)
        bill += 1_000 * (1 + quarter // 4)


def test_each_whole_hour_is_a_point(history: History) -> None:
    quarters(history, 14)
    found = band(history, 3.4)
    assert len(found.hours) == 24
    assert [hour.start for hour in found.hours[-3:]] == [START + HOUR * hour for hour in range(3)]
    assert [hour.output_nusd_per_mtok for hour in found.hours[-3:]] == [10**7, 2 * 10**7, 3 * 10**7]
    assert {hour.utilisation for hour in found.hours[-3:]} == {Fraction(1, 2)}
    assert isinstance(found.hours[0].spend_nusd, Unknown)
    load = found.hours[-1].load
    assert isinstance(load, Unknown)
    assert "mtok agent bench measures it" in load.reason
    assert found.output == Quantiles(3, 10**7, 2 * 10**7, 3 * 10**7)


def test_an_hour_that_nobody_saw_end_is_no_point_of_its_own(history: History) -> None:
    quarters(history, 5)
    history.clock.advance(4 * 3600)
    quarters(history, 5, first=5)
    late = band(history, 6).hours[-1]
    assert isinstance(late.utilisation, Unknown)
    assert "in longer windows" in late.utilisation.reason


def test_hours_of_two_currencies_have_no_quantiles_in_common() -> None:
    hours = [HourPoint(START, 10**9, 5, 10**9, Fraction(1), Fraction(1), one) for one in ("USD", "EUR", None)]
    mixed = band_of("h100", tuple(hours))
    assert (mixed.currency, mixed.output) == ("EUR", Unknown("its hours are billed in EUR and USD"))
    assert band_of("h100", tuple(hours[1:])).output == Quantiles(2, 10**9, 10**9, 10**9)


def test_a_tier_without_tokens_has_no_price(history: History) -> None:
    assert band(history, 3).output == Unknown("no hour with tokens and a known spend")


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=60))
def test_a_quantile_is_one_of_the_prices_and_has_its_rank(prices: list[int]) -> None:
    found = quantiles(prices)
    assert isinstance(found, Quantiles)
    for percent, price in ((10, found.p10_nusd), (50, found.p50_nusd), (90, found.p90_nusd)):
        assert price in prices
        assert sum(one <= price for one in prices) * 100 >= percent * len(prices)
        assert sum(one < price for one in prices) * 100 < percent * len(prices)
