"""By how much a thousand random days overshoot their limit, in parts of the bound that was promised."""

from statistics import median

from tests.store.overspend import random_day

DAYS = 1000


def test_overspend() -> None:
    days = [random_day(seed) for seed in range(DAYS)]
    over = [day for day in days if day.over_nusd > 0]
    worst = max(days, key=lambda day: day.ratio)
    print(f"\noverspend on {DAYS} random days: {len(over)} went over their limit")
    print(f"  worst {worst.ratio:.2f} of its bound (${worst.over_nusd / 1e9:.2f} of ${worst.bound_nusd / 1e9:.2f})")
    print(f"  median of those over {median(day.ratio for day in over):.2f} of the bound")
    print(f"  served while beyond the limit: {max(day.served_over_nusd for day in days)} nano-dollars")
    assert worst.ratio <= 1
