"""What every provider's bodies are read with: digits kept, and what is not in shape named in one line."""

import pytest

from console.providers.wire import Number, Unreadable, not_negative, object_in, object_of, rows_of


def test_numbers_keep_their_digits() -> None:
    body = object_of('{"a": 0.10, "b": [12345678901234567890, NaN], "c": 1e-3}')
    assert body == {"a": Number("0.10"), "b": [Number("12345678901234567890"), Number("NaN")], "c": Number("1e-3")}


@pytest.mark.parametrize("text", ["", '{"a": ', "[" * 100_000])
def test_what_is_not_json_says_why_only_if_asked(text: str) -> None:
    with pytest.raises(Unreadable, match=r"^the body is not JSON \(.+\)$"):
        object_of(text)
    with pytest.raises(Unreadable, match=r"^the body is not JSON$"):
        object_of(text, tells_why=False)


def test_a_list_is_no_object() -> None:
    with pytest.raises(Unreadable, match="not a JSON object"):
        object_of("[]")


@pytest.mark.parametrize("row", [{}, {"rows": {}}, [], None])
def test_a_missing_list_is_named(row: object) -> None:
    with pytest.raises(Unreadable, match="'rows' is missing or no list"):
        rows_of(row, "rows")


def test_a_missing_object_is_an_empty_one() -> None:
    assert object_in({"a": []}, "a") == object_in({}, "a") == {}
    assert object_in({"a": {"b": 1}}, "a") == {"b": 1}


@pytest.mark.parametrize(
    ("raw", "told"), [("-0.01", r"^total -0\.01 is negative: a bill is not$"), ("NaN", "NaN"), ("9" * 400, ".")]
)
def test_an_amount_below_zero_is_unreadable_and_so_is_none(raw: str, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        not_negative(Number(raw), "total", "a bill is not")
    assert not_negative(Number("0"), "total", "a bill is not").nusd == 0
