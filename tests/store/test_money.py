"""Amounts are exact, and what is no amount is refused."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import AmountError
from store.money import display, display_exact, display_usd, format_nusd, parse_nusd, per_mtok_nusd, typed_nusd


@pytest.mark.parametrize(
    ("raw", "nusd"),
    [
        ("0", 0),
        ("200", 200_000_000_000),
        ("0.0004645161599999998", 464_516),
        ("0.0034838710000000004", 3_483_871),
        ("-0.000161290333333", -161_290),
        ("1e-9", 1),
        ("0.0000000005", 0),  # half to even
        ("0.0000000015", 2),
        ("9007199.254740993", 9_007_199_254_740_993),  # beyond a float's integers
    ],
)
def test_an_amount_is_read_to_the_nano_dollar(raw: str, nusd: int) -> None:
    assert parse_nusd(raw) == nusd


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "-inf", "", "12,5", "abc", "1" * 400, "1e400", "1e11"])
def test_what_is_no_amount_is_refused(raw: str) -> None:
    with pytest.raises(AmountError):
        parse_nusd(raw)


@pytest.mark.parametrize(
    ("typed", "nusd"),
    [("50", 50 * 10**9), ("12.50", 12_500_000_000), (".5", 500_000_000), ("5.", 5 * 10**9), ("0.000000001", 1)],
)
def test_what_a_person_types_is_taken_as_it_stands(typed: str, nusd: int) -> None:
    assert typed_nusd(typed) == nusd


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        *((typed, "plain digits") for typed in ("1e3", "1_000", "1,000", "1.0.0", "-5", "+5", "$5", "5 ", "", ".")),
        *((typed, "plain digits") for typed in ("\u0663", "\uff15\uff10", "NaN", "inf", "0x10")),
        *((typed, "nine decimals") for typed in ("0.0000000015", "1.0000000000")),
        *((typed, "larger than any bill") for typed in ("9223372036.9", "9" * 30)),
    ],
)
def test_what_a_person_types_unclearly_is_refused(typed: str, problem: str) -> None:
    with pytest.raises(AmountError, match=problem):
        typed_nusd(typed)


@given(st.integers(0, 2**62))
def test_what_is_shown_exactly_is_what_was_typed(nusd: int) -> None:
    shown = display_exact(nusd, "USD")
    assert typed_nusd(shown.removeprefix("$").replace(",", "")) == nusd
    assert display_exact(nusd * 10**9, "EUR").endswith(".00")


@given(st.integers(-(2**62), 2**62))
def test_formatting_keeps_every_nano_dollar(nusd: int) -> None:
    assert Decimal(format_nusd(nusd)) * 10**9 == nusd


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**12))
def test_a_price_per_mtok_is_the_nearest_nano_dollar(nusd: int, tokens: int) -> None:
    assert per_mtok_nusd(nusd, tokens) == round(Fraction(nusd * 10**6, tokens))


@pytest.mark.parametrize(("nusd", "nearest"), [(1, 0), (3, 2), (5, 2), (-1, 0), (-3, -2)])
def test_what_lies_in_the_middle_goes_to_the_even_one(nusd: int, nearest: int) -> None:
    assert per_mtok_nusd(nusd, 2 * 10**6) == nearest


@given(st.integers(-(2**62), 2**62), st.integers(0, 9))
def test_the_screen_rounds_half_even_as_decimals_do(nusd: int, decimals: int) -> None:
    rounded = (Decimal(abs(nusd)) / 10**9).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
    assert display_usd(nusd, decimals) == f"{'-' if nusd < 0 and rounded else ''}${rounded:,.{decimals}f}"


def test_the_screen_rounds_and_shows_the_sign() -> None:
    assert display_usd(12_345_678_900) == "$12.35"
    assert display_usd(-50_000_000) == "-$0.05"
    assert display_usd(-1) == "$0.00"


def test_only_dollars_have_a_dollar_sign() -> None:
    assert display(12_345_678_900, "USD") == "$12.35"
    assert display(1_234_567_890_000, "EUR", 4) == "€1,234.5679"
    assert display(-50_000_000, "CHF") == "-CHF 0.05"
    assert display(50_000_000, "AUD") == "AUD 0.05"
