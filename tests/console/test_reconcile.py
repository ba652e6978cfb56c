"""A month that an auditor goes through: every day's bill, every resource, to the nano-dollar."""

import asyncio
import csv
import gzip
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import col, select

from console.cli import main
from console.collector.build import build_collector
from console.export.focus import columns
from console.settings import load_settings
from store.check import check
from store.copy import copy_store
from store.database import Database
from store.figures import Spend
from store.figures_read import figures
from store.journal_read import entries
from store.money import format_nusd, parse_nusd
from store.tables import BillCounter, BillSample
from store.window import Window
from tests.console.month import FIRST, LAST, Month, month, tell
from tests.databases import opened, postgres_database

MONTH = ("--from", "2026-10-01T00:00:00Z", "--to", "2026-11-01T00:00:00Z")


pytestmark = pytest.mark.xdist_group("month")  # in one worker: a month takes ten seconds to tell


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    """The month, told to SQLite."""
    folder = tmp_path_factory.mktemp("month")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOUD_KEY", "key")
        with month(folder, f"sqlite:///{folder / 'mtok.db'}") as it:
            asyncio.run(tell(it))
            yield it


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def told(
    on_sqlite: Month, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Month]:
    """The month on each database: PostgreSQL has it moved there, and in `make prove` told to itself."""
    if request.param == "sqlite":
        yield on_sqlite
        return
    folder = tmp_path_factory.mktemp("month")
    with postgres_database(request.getfixturevalue("postgres"), "mtok_month") as url:
        if os.environ.get("MTOK_PROVE"):
            with month(folder, url) as it:
                asyncio.run(tell(it))
                yield it
        else:
            with opened(url) as database:
                yield moved(on_sqlite, database, folder, url)


def moved(it: Month, database: Database, folder: Path, url: str) -> Month:
    """The same month in another store, as `mtok store move` moves it."""
    copy_store(it.collector.database, database)
    path = folder / "mtok.toml"
    text = it.settings.read_text(encoding="utf-8")
    path.write_text(text.replace(f"sqlite:///{it.settings.with_name('mtok.db')}", url), encoding="utf-8")
    return replace(it, settings=path, collector=build_collector(database, load_settings(path), it.clock))


def mtok(it: Month, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main([*words, "--config", str(it.settings)])
    out = capsys.readouterr()
    return code, out.out or out.err


def billed(it: Month, start: datetime, end: datetime) -> int:
    """What the provider's own world has billed."""
    seconds = [int(at.timestamp()) for at in (start, end)]
    return sum(one.total_nusd(seconds[1]) - one.total_nusd(seconds[0]) for one in it.world.resources)


def test_a_month_reconciles_to_nothing_and_an_altered_sample_is_named(
    told: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = mtok(told, capsys, "reconcile", *MONTH, "--json")
    body = json.loads(out)
    assert (code, body["holds"], body["difference_usd"]) == (0, True, "0.000000000")
    assert len(body["windows"]) == 31
    theirs = sum(parse_nusd(line["theirs_usd"] or "0") for one in body["windows"] for line in one["lines"])
    assert theirs == billed(told, FIRST, LAST)
    assert check(told.collector.database) == []
    with told.collector.database.write() as session:
        counter = session.exec(select(BillCounter).where(BillCounter.resource_id == "5341")).one()
        samples = session.exec(
            select(BillSample).where(BillSample.counter_id == counter.id).order_by(col(BillSample.at))
        ).all()
        samples[len(samples) // 2].total_nusd += 12_345
    code, out = mtok(told, capsys, "reconcile", *MONTH)
    assert code == 1
    assert f"altered: {counter.counter}" in out
    assert "off by 12345 nusd" in out
    assert "NOT RECONCILED" in out
    assert mtok(told, capsys, "store", "check")[0] == 1
    with told.collector.database.write() as session:
        session.merge(samples[len(samples) // 2]).total_nusd -= 12_345


def test_an_outage_is_placed_on_its_days(told: Month) -> None:
    """The money of a night without us belongs to two days; the provider's windowed bill says how much to each."""
    with told.collector.database.read() as session:
        derived = session.exec(select(BillSample).where(BillSample.origin == "derived")).all()
        places = {sample.at for sample in derived}
        journal = [entry.what for entry in entries(session, 1000)]
    assert {FIRST + timedelta(days=6), FIRST + timedelta(days=7), FIRST + timedelta(days=15)} <= places
    assert "backfill refused" not in journal
    for sample in derived:
        resource = [one for one in told.world.resources if one.created_s <= sample.at.timestamp()]
        totals = {one.total_nusd(int(sample.at.timestamp())) for one in resource}
        assert sample.total_nusd in totals


def test_exports_add_up_to_the_month(told: Month, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    window = Window(FIRST, LAST)
    with told.collector.database.read() as session:
        found = {tier: figures(session, tier, window).spend for tier in ("h100", "a100", "unassigned")}
    wanted = {tier: one.nusd for tier, one in found.items() if isinstance(one, Spend)}
    assert len(wanted) == 3
    _, out = mtok(told, capsys, "export", "csv", *MONTH, "--every", "1h")
    sums = dict.fromkeys(wanted, 0)
    for row in csv.DictReader(io.StringIO(out)):
        sums[row["tier"]] += parse_nusd(row["spend"] or "0")
    assert sums == wanted
    path = tmp_path / "focus.csv.gz"
    assert mtok(told, capsys, "export", "focus", *MONTH, "--every", "1d", "-o", str(path))[0] == 0
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))
    assert tuple(rows[0]) == columns("1.2")
    assert sum(parse_nusd(row["BilledCost"]) for row in rows) == sum(wanted.values())
    credited = [row for row in rows if row["ChargeCategory"] == "Credit"]
    assert credited
    assert all(parse_nusd(row["BilledCost"]) < 0 for row in credited)
    _, out = mtok(told, capsys, "export", "json", *MONTH, "--every", "1d")
    spends = [row["spend"] for row in json.loads(out)]
    assert sum(parse_nusd(spent) for spent in spends if isinstance(spent, str)) == sum(wanted.values())


def test_an_invoice_is_compared_resource_by_resource(
    told: Month, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    window = tuple(int(at.timestamp()) for at in (FIRST, LAST))
    amounts: dict[tuple[str, int], int] = {}
    for one in told.world.resources:
        kind = "instance" if one.kind == "vm" else "volume"
        rise = one.total_nusd(window[1]) - one.total_nusd(window[0])
        amounts[kind, one.id] = amounts.get((kind, one.id), 0) + rise
    path = tmp_path / "invoice.csv"
    lines = [f"{kind},{id_},{format_nusd(nusd)}" for (kind, id_), nusd in amounts.items()]
    path.write_text("\n".join(["resource_type,resource_id,amount", *lines]), encoding="utf-8")
    code, out = mtok(told, capsys, "reconcile", *MONTH, "--invoice", str(path))
    assert (code, "every difference is explained" in out) == (0, True)
    path.write_text("\n".join(["resource_type,resource_id,amount", *lines, "volume,777,3.5"]), encoding="utf-8")
    code, out = mtok(told, capsys, "reconcile", *MONTH, "--invoice", str(path))
    assert code == 1
    assert "volume 777" in out
    assert "never read a bill of" in out
    path.write_text("resource_type,resource_id,amount\nvolume,5341,NaN\n", encoding="utf-8")
    code, out = mtok(told, capsys, "reconcile", *MONTH, "--invoice", str(path))
    assert (code, "row 2" in out) == (2, True)
