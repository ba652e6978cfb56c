"""Exact amounts: integer nano-dollars, parsed from the provider's own text.

A nano-dollar (`nusd`) is 10⁻⁹ of the provider's currency unit; BIGINT holds ±9.2 × 10⁹ units.
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation, localcontext
from functools import lru_cache

from store.errors import AmountError

NUSD = 10**9
USD = "USD"
MAX_NUSD = 2**63 - 1
_MAX_CHARACTERS = 64  # the longest float repr has 24; beyond this it is no price but an attack or a fault
_TYPED = re.compile(r"(?=\.?[0-9])[0-9]*(?:\.([0-9]*))?")
_DECIMALS = 9
_EXACT = Context(prec=120, rounding=ROUND_HALF_EVEN)


def parse_nusd(raw: str) -> int:
    """Nano-dollars of an amount as the provider wrote it, rounded half even, once.

    Raises:
        AmountError: not a finite decimal number, too long, or more than a BIGINT holds.
    """
    if len(raw) > _MAX_CHARACTERS:
        raise AmountError(raw, f"has {len(raw)} characters")
    try:
        amount = Decimal(raw)
    except InvalidOperation:
        raise AmountError(raw, "is not a number") from None
    if not amount.is_finite():
        raise AmountError(raw, "is not finite")
    if amount.adjusted() > 10:
        raise AmountError(raw, "is larger than any bill")
    with localcontext(_EXACT):
        nusd = int((amount * NUSD).to_integral_value(ROUND_HALF_EVEN))
    if abs(nusd) > MAX_NUSD:
        raise AmountError(raw, "is larger than any bill")
    return nusd


def typed_nusd(typed: str) -> int:
    """Nano-units of an amount as a person types it: plain digits, at most one point, and nothing is rounded.

    Raises:
        AmountError: it is written otherwise, has more than nine decimals, or is more than a BIGINT holds.
    """
    match = _TYPED.fullmatch(typed)
    if match is None:
        raise AmountError(typed, "is not a number in plain digits with at most one point")
    if len(match[1] or "") > _DECIMALS:
        raise AmountError(typed, "has more than nine decimals")
    return parse_nusd(typed)


def format_nusd(nusd: int) -> str:
    """The amount as a decimal string with nine decimals, exact: `-0.000000001`."""
    sign = "-" if nusd < 0 else ""
    whole, part = divmod(abs(nusd), NUSD)
    return f"{sign}{whole}.{part:09d}"


_SIGNS = {USD: "$", "EUR": "€"}  # signs that mean one currency; a dollar sign is the US dollar's alone


@lru_cache(maxsize=4096)  # a screen shows most amounts again each second
def display(nusd: int, currency: str, decimals: int = 2) -> str:
    """The amount for a screen, rounded half even, with its currency: `$12.34`, `-€0.05`, `CHF 12.34`."""
    rounded = _half_even(abs(nusd) * 10**decimals, NUSD)
    whole, part = divmod(rounded, 10**decimals)
    text = f"{whole:,}.{part:0{decimals}d}" if decimals else f"{whole:,}"
    sign = _SIGNS.get(currency, f"{currency} ")
    return f"-{sign}{text}" if nusd < 0 and rounded else f"{sign}{text}"


def display_usd(nusd: int, decimals: int = 2) -> str:
    """Dollars for a screen: `$12.34`, `-$0.05`."""
    return display(nusd, USD, decimals)


def display_exact(nusd: int, currency: str) -> str:
    """The amount for a screen as it is: with as many decimals as it takes, two at least."""
    decimals = next(many for many in range(2, _DECIMALS + 1) if nusd % 10 ** (_DECIMALS - many) == 0)
    return display(nusd, currency, decimals)


def per_mtok_nusd(spend_nusd: int, tokens: int) -> int:
    """Nano-dollars per million tokens, rounded half even; `tokens` is above zero."""
    return _half_even(spend_nusd * 10**6, tokens)


def _half_even(amount: int, unit: int) -> int:
    """`amount` ÷ `unit`, above zero, as a whole number; what lies in the middle goes to the even one."""
    whole, rest = divmod(amount, unit)
    return whole + (2 * rest > unit or (2 * rest == unit and whole % 2 == 1))
