"""Figures as an exported table holds them: exact, and empty where they are not known."""

from fractions import Fraction

from store.money import format_nusd
from store.unknown import Unknown


def exact(value: int | Unknown) -> str:
    """An amount with all its nine decimals."""
    return "" if isinstance(value, Unknown) else format_nusd(value)


def whole(value: int | Unknown) -> str:
    """A count."""
    return "" if isinstance(value, Unknown) else str(value)


def ratio(value: Fraction | Unknown) -> str:
    """A share of 1, in four decimals."""
    return "" if isinstance(value, Unknown) else f"{float(value):.4f}"
