"""What follows from a capacity that `mtok agent bench` measured: the load, and the price that a rate implies."""

from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

_HOUR_S = 3600
KILOSECOND = 1000  # a rate is kept as whole tokens in so many seconds: exact, and never a float


def per_kilosecond(tokens_per_s: float) -> int:
    """A rate as the store keeps it: tokens in 1000 seconds, rounded half even, once."""
    return int((Decimal(str(tokens_per_s)) * KILOSECOND).to_integral_value(ROUND_HALF_EVEN))


def implied_nusd(rate_nusd_per_hour: int, capacity_per_ks: int) -> int:
    """What a million completion tokens would cost at full load by a quoted rate: a bound to show, never a figure.

    Nano-dollars, rounded half even; the capacity is above zero.
    """
    return round(Fraction(rate_nusd_per_hour * 10**6 * KILOSECOND, _HOUR_S * capacity_per_ks))


def load_of(completion_tokens: int, elapsed: timedelta, capacity_per_ks: int) -> Fraction:
    """Tokens per second ÷ capacity, exact; above 1 where a benchmark has found too little."""
    elapsed_us = elapsed // timedelta(microseconds=1)
    return Fraction(completion_tokens * KILOSECOND * 10**6, elapsed_us * capacity_per_ks)
