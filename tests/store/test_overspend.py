"""What may be billed beyond the limit is bounded, and the bound holds on random days."""

from tests.store.overspend import random_day


def test_no_random_day_is_billed_beyond_its_bound_nor_served_beyond_its_limit() -> None:
    days = [random_day(seed) for seed in range(20)]
    assert any(day.over_nusd > 0 for day in days)
    assert all(day.over_nusd <= day.bound_nusd for day in days), max(day.ratio for day in days)
    assert all(day.served_over_nusd == 0 for day in days)
