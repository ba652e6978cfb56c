"""Hyperstack's bodies: every published capture, our own fixtures in their shapes, and what is no body."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from console.providers.hyperstack_wire import body_of, usage_row, window_bills
from console.providers.wire import Number, Unreadable, rows_of

OWN = Path(__file__).parents[2] / "data" / "hyperstack"


def numbers_in(value: Any) -> list[str]:
    """Every number of a parsed body, as it was written."""
    if isinstance(value, Number):
        return [value.raw]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [raw for one in inside for raw in numbers_in(one)]


@pytest.fixture(scope="module")
def captures(official: Path) -> dict[str, str]:
    """By name, the exact text of each capture."""
    text = (official / "hyperstack.docs-examples.json").read_text(encoding="utf-8")
    found = re.findall(r'^ "((?:GET|POST|schema|error)[^"]*)": (\{.*\}),?$', text, re.MULTILINE)
    return {name: raw for name, raw in found if not name.startswith("error")}


@pytest.mark.official
def test_every_capture_is_read_with_its_own_digits(captures: dict[str, str]) -> None:
    assert len(captures) == 14
    for name, raw in captures.items():
        wrapped = raw if '"status":' in raw[:400] or '"success"' in raw else f'{{"status":true,"data":[{raw}]}}'
        if name.startswith("schema"):
            wrapped = f'{{"status":true,"data":[{raw}]}}'
        digits = re.findall(r"(?<![\w\"-])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?=[,}\]])", wrapped)
        assert sorted(numbers_in(body_of(wrapped))) == sorted(digits), name


@pytest.mark.official
def test_usage_captures_become_rows(captures: dict[str, str]) -> None:
    (row,) = rows_of(body_of(captures["GET /billing/billing/usage"]), "data")
    read = usage_row(row)
    assert (read.resource_type, read.resource_id, read.total.raw) == ("volume", "5341", "0.0004645161599999998")
    assert read.total.nusd == 464_516
    page = f'{{"status":true,"data":[{captures["schema page Billing_metrices_fields"]}]}}'
    assert usage_row(rows_of(body_of(page), "data")[0]).total.raw == "0.0007978495155555552"


@pytest.mark.official
@pytest.mark.parametrize(
    ("name", "bills"),
    [
        ("GET /billing/billing/history/virtual-machine", ["0", "0.0034838710000000004", "0.04"]),
        ("GET /billing/billing/history/virtual-machine/{vm_id}", ["0.0034838710000000004"]),
        ("GET /billing/billing/history/virtual-machine/{vm_id}/graph", ["0.0034838710000000004"]),
        (
            "GET /billing/billing/history/volume",
            ["0.000016129033333333334", "0.00012903226666666667", "0.00040000002666666656"],
        ),
        ("GET /billing/billing/history/volume/{volume_id}", ["0.000016129033333333334"]),
        ("GET /billing/billing/history/volume/{volume_id}/graph", ["0.000016129033333333334"]),
        (
            "GET /billing/billing/history/snapshot",
            ["0.000006451613333333334", "0.00009677420000000002", "0.00020645162666666658"],
        ),
    ],
)
def test_windowed_captures_become_bills(captures: dict[str, str], name: str, bills: list[str]) -> None:
    read = window_bills(body_of(captures[name]))
    assert [bill.metrics["incurred_bill"].raw for bill in read] == bills


@pytest.mark.official
def test_the_odd_captures_are_read_too(captures: dict[str, str]) -> None:
    (split,) = window_bills(body_of(captures["GET /billing/billing/virtual-machine/{vm_id}/sub-resource"]))
    assert split.metrics["disk_non_discounted_bill"].nusd == -161_290
    assert window_bills(body_of(captures["GET /billing/billing/virtual-machine/{vm_id}/billing-events"])) == []


@pytest.mark.official
def test_documented_errors_are_no_bodies(official: Path) -> None:
    examples = json.loads((official / "hyperstack.docs-examples.json").read_text(encoding="utf-8"))
    errors = [json.dumps(body) for name, body in examples.items() if name.startswith("error")]
    assert len(errors) == 4
    for error in errors:
        with pytest.raises(Unreadable, match="the provider says"):
            body_of(error)


def test_our_own_fixtures_hold_the_traps() -> None:
    rows = rows_of(body_of((OWN / "usage.json").read_text(encoding="utf-8")), "data")
    with pytest.raises(Unreadable, match="is negative"):
        usage_row(rows[1])
    machine, volume, other = [
        usage_row(row) for row in (rows[0], {**rows[1], "total_bill": Number("0.5")}, rows[2])
    ]
    assert machine.total.raw == "2.0000000000000004"
    assert machine.total.nusd == 2_000_000_000
    assert volume.total.nusd == 500_000_000
    assert volume.rate is None
    assert volume.excluded
    assert other.create_time is None
    assert other.terminate_time is not None
    assert other.rate is not None
    assert Decimal(other.rate.raw) == Decimal("0.0000001")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"status": false, "message": "no"}', '{"data": []}', "[" * 100_000]
)
def test_what_is_no_body_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        body_of(text)


@pytest.mark.parametrize(
    "change",
    [
        {"total_bill": "NaN"},
        {"total_bill": '"1.0"'},
        {"total_bill": "null"},
        {"total_bill": "true"},
        {"total_bill": "9" * 400},
        {"total_bill": "Infinity"},
        {"resource_id": "null"},
        {"resource_type": '""'},
        {"create_time": '"yesterday"'},
    ],
)
def test_a_row_that_a_bill_cannot_rest_on_is_unreadable(change: dict[str, str]) -> None:
    fields = {"resource_id": "1", "resource_type": '"vm"', "total_bill": "1.5", "create_time": "null", **change}
    raw = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"
    (row,) = rows_of(body_of(f'{{"status": true, "data": [{raw}]}}'), "data")
    with pytest.raises(Unreadable):
        usage_row(row)
