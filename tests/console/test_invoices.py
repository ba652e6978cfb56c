"""An invoice's file, as people hand it over: cut off, with tax, in two currencies, over two providers."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from console.reconcile import read_invoice
from store.database import open_database
from store.errors import SettingsError
from store.money import format_nusd
from store.tables import BillCounter, BillSample
from tests.commands import mtok
from tests.databases import empty_sqlite

START = datetime(2026, 11, 1, tzinfo=UTC)
END = START + timedelta(days=1)
HEADER = "resource_type,resource_id,amount\n"
UNIT = 10**9
SETTINGS = """
[store]
url = "{store}"
[budget]
daily_usd = "100"
[providers.east]
kind = "files"
folder = "."
[providers.west]
kind = "files"
folder = "."
[[tiers]]
name = "h100"
provider = "east"
market = "reserved"
instances = ["8429"]
"""
Reconciled = Callable[..., tuple[int, Any]]


@pytest.fixture
def reconciled(tmp_path: Path) -> Reconciled:
    """`mtok reconcile` of a day: two providers, $2 with one, $3 and €5 with the other."""
    store = empty_sqlite(tmp_path / "mtok.db")
    database = open_database(store)
    with database.write() as session:
        for provider, id_, currency, nusd in (
            ("east", "8429", "USD", 2 * UNIT),
            ("west", "77", "USD", 3 * UNIT),
            ("west", "77", "EUR", 5 * UNIT),
        ):
            counter = BillCounter(
                provider=provider,
                counter=f"{id_}:{currency}",
                kind="instance",
                resource_id=id_,
                name=id_,
                tier="h100",
                currency=currency,
                started_at=START,
                first_seen_at=START,
                opening_nusd=0,
            )
            session.add(counter)
            session.flush()
            assert counter.id is not None
            raw = format_nusd(nusd)
            session.add(
                BillSample(counter_id=counter.id, at=END, as_of_at=END, total_nusd=nusd, debits_nusd=nusd, raw=raw)
            )
    database.close()
    (tmp_path / "mtok.toml").write_text(SETTINGS.format(store=store), encoding="utf-8")

    def run(invoice: str, *words: str) -> tuple[int, Any]:
        path = tmp_path / "invoice.csv"
        path.write_text(invoice, encoding="utf-8")
        window = ("--from", "2026-11-01T00:00:00Z", "--to", "2026-11-02T00:00:00Z")
        config = ("--config", str(tmp_path / "mtok.toml"))
        code, out, err = mtok("reconcile", *window, "--invoice", str(path), *config, *words)
        return code, json.loads(out) if "--json" in words else out + err

    return run


def test_a_compressed_invoice_that_is_cut_off_or_damaged_is_one_line(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + "instance,8429,2.5\n" * 500).encode())
    path = tmp_path / "invoice.csv.gz"
    for raw in (packed[:-20], packed[:20] + b"\xff" * 40, b"no gzip"):
        path.write_bytes(raw)
        with pytest.raises(SettingsError, match=r"cannot be read: .*; check the file"):
            read_invoice(path)


def test_an_invoice_over_two_providers_is_compared_once(reconciled: Reconciled) -> None:
    invoice = "resource_type,resource_id,amount,currency\ninstance,8429,2,\ninstance,77,3,usd\ninstance,77,5,EUR\n"
    code, body = reconciled(invoice, "--json")
    assert (code, body["holds"], body["difference_usd"]) == (0, True, "0.000000000")
    (window,) = body["windows"]
    assert window["provider"] == "east, west"
    assert [(one["resource_id"], one["currency"]) for one in window["lines"]] == [
        ("77", "EUR"),
        ("77", "USD"),
        ("8429", "USD"),
    ]
    code, body = reconciled(invoice.replace("8429,2", "8429,4"), "--json")
    assert (code, body["holds"], body["difference_usd"]) == (1, False, "2.000000000")


def test_one_provider_has_an_invoice_of_its_own(reconciled: Reconciled) -> None:
    assert reconciled(HEADER + "instance,8429,2\n", "--provider", "east")[0] == 0
    code, text = reconciled(HEADER + "instance,8429,2\n")
    assert (code, "a resource that their bill does not name" in text) == (1, True)
    code, text = reconciled(HEADER, "--provider", "north")
    assert (code, "choose one of: east, west" in text) == (2, True)


def test_currencies_are_never_summed_and_never_called_dollars(reconciled: Reconciled) -> None:
    code, body = reconciled("resource_type,resource_id,amount,currency\ninstance,77,8,USD\n", "--json")
    assert (code, body["difference_usd"]) == (
        1,
        "3.000000000",
    )  # 5 more of one resource, and 2 of another not named
    assert body["differences"] == {"EUR": "-5.000000000", "USD": "3.000000000"}
    euro, dollar, _ = body["windows"][0]["lines"]
    assert (euro["ours"], euro["ours_usd"]) == ("5.000000000", {"unknown": "it bills in EUR, and not in USD"})
    assert (dollar["ours"], dollar["ours_usd"], dollar["theirs_usd"]) == (
        "3.000000000",
        "3.000000000",
        "8.000000000",
    )
    text = reconciled(HEADER)[1]
    assert "difference -5.000000000 EUR, -5.000000000 USD: NOT RECONCILED" in text


def test_tax_is_left_out_and_an_amount_without_a_currency_is_in_the_resources_own(tmp_path: Path) -> None:
    path = tmp_path / "focus.csv"
    rows = "Usage,VM,8429,2,EUR\nTax,VM,8429,0.38,EUR\nUsage,VM,77,3,\n"
    path.write_text(f"ChargeCategory,ResourceType,ResourceId,BilledCost,BillingCurrency\n{rows}", encoding="utf-8")
    assert read_invoice(path) == {("instance", "8429", "EUR"): 2 * UNIT, ("instance", "77", ""): 3 * UNIT}
