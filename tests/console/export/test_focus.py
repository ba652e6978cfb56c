"""FOCUS rows keep the rules that matter, those that its validator misses among them."""

import json
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from console.export.focus import Charge, billing_periods, columns, focus_lines
from store.window import Edges, Window

# FOCUS 1.2, "MUST be present", unconditionally
MANDATORY = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
]
START = datetime(2026, 12, 31, 23, tzinfo=UTC)


def charge(**changes: object) -> Charge:
    fields: dict[str, object] = {
        "start_at": START,
        "end_at": START + timedelta(hours=1),
        "edges": Edges(START - timedelta(seconds=59.7), START + timedelta(hours=1, seconds=-59.7), since=False),
        "tier": "h100",
        "provider": "cloud",
        "provider_kind": "hyperstack",
        "resource_kind": "instance",
        "resource_id": "8429",
        "resource_name": "h100-a",
        "currency": "USD",
        "nusd": 2_000_000_001,
        "is_credit": False,
        "is_correction": False,
        "counter": "hyperstack:usage:vm:8429",
        "cumulative_nusd": 50 * 10**9,
        "sample_state": "complete",
    }
    return Charge(**{**fields, **changes})  # type: ignore[arg-type]


def told(version: str = "1.2", **changes: object) -> dict[str, str]:
    header, row = focus_lines([charge(**changes)], version)
    return dict(zip(header, row, strict=True))


def test_every_mandatory_column_is_there_and_ours_come_last() -> None:
    names = columns("1.2")
    assert set(MANDATORY) <= set(names)
    assert len(names) == len(set(names))
    first = next(index for index, name in enumerate(names) if name.startswith("x_"))
    assert all(name.startswith("x_") for name in names[first:])
    assert all(re.fullmatch(r"(x_)?[A-Z][A-Za-z]+", name) for name in names)


def test_the_newest_version_renames_two() -> None:
    assert set(columns("1.2")) ^ set(columns("1.4")) == {
        "ProviderName",
        "PublisherName",
        "ServiceProviderName",
        "HostProviderName",
    }


def test_a_usage_row() -> None:
    row = told()
    costs = {row[name] for name in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")}
    assert costs == {"2.000000001"}
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert (row["ChargeCategory"], row["ChargeClass"], row["ChargeFrequency"]) == ("Usage", "", "Usage-Based")
    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("3600", "Seconds")
    assert (row["PricingQuantity"], row["PricingUnit"]) == ("3600", "Seconds")
    assert (row["x_CountedStart"], row["x_CountedEnd"]) == ("2026-12-31T22:59:00Z", "2026-12-31T23:59:00Z")
    assert json.loads(row["Tags"]) == {"tier": "h100"}


def test_a_window_is_cut_where_a_month_ends() -> None:
    end = START + timedelta(days=40)
    first, second = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
    assert list(billing_periods(Window(START, first))) == [Window(START, first)]
    assert list(billing_periods(Window(START, end))) == [
        Window(START, first),
        Window(first, second),
        Window(second, end),
    ]


def test_no_price_is_stated_that_would_not_multiply_to_the_cost() -> None:
    assert not {"ListUnitPrice", "ContractedUnitPrice", "SkuPriceId"} & set(columns("1.2"))


def test_a_credit_is_negative_and_of_its_own_category() -> None:
    row = told(nusd=-5, is_credit=True)
    assert (row["BilledCost"], row["ChargeCategory"]) == ("-0.000000005", "Credit")
    assert (row["PricingQuantity"], row["PricingUnit"], row["ConsumedQuantity"]) == ("", "", "")


def test_a_correction_of_an_earlier_period_says_so() -> None:
    assert told(is_correction=True)["ChargeClass"] == "Correction"


def test_volumes_are_storage_and_the_simulator_says_what_it_is() -> None:
    row = told(resource_kind="volume", provider_kind="simulator")
    assert (row["ServiceCategory"], row["ServiceSubcategory"]) == ("Storage", "Block Storage")
    assert (row["ProviderName"], row["x_Simulated"]) == ("SIMULATED provider", "true")


def test_a_name_is_never_a_formula() -> None:
    row = told(resource_name="=HYPERLINK(1)", resource_id="@8429")
    assert (row["ResourceName"], row["ResourceId"]) == ("'=HYPERLINK(1)", "'@8429")


def test_what_is_not_known_is_an_empty_cell() -> None:
    row = told()
    assert (row["x_PromptTokens"], row["x_PerMtokOutput"]) == ("", "")
    assert not {"N/A", "None", "null", "NaN"} & set(row.values())


@given(st.lists(st.integers(-(10**18), 10**18), max_size=20))
def test_costs_add_up_exactly(amounts: list[int]) -> None:
    header, *rows = focus_lines([charge(nusd=nusd, is_credit=nusd < 0) for nusd in amounts], "1.2")
    cost = header.index("BilledCost")
    assert sum((Fraction(row[cost]) for row in rows), Fraction(0)) == Fraction(sum(amounts), 10**9)
    instant = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
    for row in rows:
        assert all(instant.fullmatch(row[header.index(name)]) for name in header if name.endswith(("Start", "End")))
