"""A tier whose bill comes in files, a day at a time: its figures, its step, and what the gate makes of it."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.collector.build import build_collector
from console.collector.tick import Collector
from console.reconcile import reconcile_window
from console.settings import load_settings
from store.check import check
from store.clock import SetClock
from store.database import Database, open_database
from store.figures import Spend
from store.figures_read import figures, figures_and_trends, steps_until
from store.fleet_reader import FleetReader
from store.gate import Reason, Verdict
from store.journal_read import entries
from store.leader import acquire
from store.unknown import Unknown
from store.window import Window
from tests.databases import empty_sqlite

SETTINGS = """
[budget]
daily_usd = "60"
dark_after = "5h"
dark_hibernate_after = "6h"

[collector]
every = "2h"

[providers.exports]
kind = "files"
folder = "exports"

[[tiers]]
name = "on-prem"
provider = "exports"
market = "reserved"
instances = ["gpu-1"]
"""
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
HOURLY_USD = 2
EVERY_S = 7200
USD = 10**9


@dataclass
class Days:
    """An export that states each day at two in the next morning, and a collector that ticks every two hours."""

    folder: Path
    database: Database
    clock: SetClock
    collector: Collector

    def __post_init__(self) -> None:
        fence = acquire(self.database, "test", 10**9)
        assert fence is not None
        self.fence = fence

    def state(self, day: datetime, usd: str, name: str | None = None) -> None:
        """A day's file, written just before now."""
        end = day + DAY
        path = self.folder / f"{name or f'{day:%Y-%m-%d}'}.csv"
        head = "resource,kind,start,end,amount,currency"
        path.write_text(f"{head}\ngpu-1,instance,{day:%FT%TZ},{end:%FT%TZ},{usd},USD\n", encoding="utf-8")
        at = self.clock.now().timestamp() - 10
        os.utime(path, (at, at))

    def state_hours(self, day: datetime) -> None:
        """A day's file with a row an hour."""
        hours = [day + n * HOUR for n in range(24)]
        rows = [f"gpu-1,instance,{one:%FT%TZ},{one + HOUR:%FT%TZ},{HOURLY_USD},USD\n" for one in hours]
        path = self.folder / f"{day:%Y-%m-%d}.csv"
        path.write_text(f"resource,kind,start,end,amount,currency\n{''.join(rows)}", encoding="utf-8")
        at = self.clock.now().timestamp() - 10
        os.utime(path, (at, at))

    def go_on(self, until: datetime) -> None:
        """Tick every two hours; at 02:30 the day before is stated."""
        while self.clock.now() < until:
            now = self.clock.now()
            if now.hour == 2:
                today = now.replace(hour=0, minute=0, second=0, microsecond=0)
                self.state(today - DAY, f"{24 * HOURLY_USD}.00")
            asyncio.run(self.collector.tick(self.fence))
            self.clock.advance(EVERY_S)

    @property
    def verdict(self) -> Verdict:
        """The last one."""
        assert self.collector.verdict is not None
        return self.collector.verdict

    def spend(self, start: datetime, end: datetime) -> Spend | Unknown:
        with self.database.read() as session:
            return figures(session, "on-prem", Window(start, end)).spend


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    """Monday at half past midnight, with last week's files."""
    found = _begun(tmp_path)
    yield found
    found.database.close()


def _three_days(tmp_path: Path) -> Days:
    found = _begun(tmp_path)
    found.go_on(MONDAY + 3 * DAY)
    return found


def _begun(tmp_path: Path) -> Days:
    (tmp_path / "exports").mkdir()
    file = tmp_path / "mtok.toml"
    file.write_text(SETTINGS, encoding="utf-8")
    settings, clock = load_settings(file), SetClock(MONDAY + timedelta(minutes=30))
    assert settings.store_url == empty_sqlite(tmp_path / "mtok.db")
    database = open_database(settings.store_url)
    found = Days(tmp_path / "exports", database, clock, build_collector(database, settings, clock))
    for before in range(5, 1, -1):
        found.state(MONDAY - before * DAY, "48.00")
    return found


def test_the_gate_is_open_from_the_first_tick_and_bounded_by_what_the_bill_itself_says(days: Days) -> None:
    days.go_on(MONDAY + timedelta(hours=1))
    assert days.verdict.is_open
    bound = days.verdict.fleet.facts.bound_nusd
    assert isinstance(bound, int)
    assert bound >= 48 * USD  # nothing of today is stated yet: the whole day is held to be coming
    assert bound <= 48 * HOURLY_USD * USD


def test_each_day_is_billed_in_its_own_day_to_the_nano_dollar(days: Days) -> None:
    days.go_on(MONDAY + 6 * DAY + timedelta(hours=4))
    first = MONDAY + DAY
    week = days.spend(first, first + 4 * DAY)
    assert isinstance(week, Spend)
    assert week.nusd == 4 * 24 * HOURLY_USD * USD
    parts = [days.spend(first + n * DAY, first + (n + 3) * DAY) for n in range(2)]
    assert [one.nusd if isinstance(one, Spend) else one for one in parts] == [3 * 24 * HOURLY_USD * USD] * 2
    assert check(days.database) == []


def test_hours_that_come_once_a_day_are_all_counted(days: Days) -> None:
    for _ in range(5):
        now = days.clock.now()
        days.state_hours(now.replace(hour=0, minute=0) - DAY)
        for _ in range(12):
            asyncio.run(days.collector.tick(days.fence))
            days.clock.advance(EVERY_S)
    first = MONDAY + DAY
    spent = days.spend(first, first + 3 * DAY)
    assert isinstance(spent, Spend)
    assert spent.nusd == 3 * 24 * HOURLY_USD * USD
    assert check(days.database) == []


def test_a_window_that_is_too_short_says_how_often_it_is_billed(days: Days) -> None:
    days.go_on(MONDAY + 4 * DAY + timedelta(hours=12))
    now = days.clock.now()
    for length in (timedelta(hours=4), DAY, 2 * DAY):
        assert days.spend(now - length, now) == Unknown("bills every 24 h")


def test_it_is_never_frozen_and_stays_open_below_its_limit(days: Days) -> None:
    seen: set[Reason] = set()
    for hour in range(2, 72, 2):
        days.go_on(MONDAY + timedelta(hours=hour))
        seen.update(days.verdict.reasons)
    assert seen == set()
    facts = days.verdict.fleet.facts
    assert facts.debits_nusd == 0  # what is stated is yesterday's
    assert isinstance(facts.bound_nusd, int)
    assert 47 * USD <= facts.bound_nusd < 60 * USD


def test_a_limit_below_what_a_day_costs_closes_before_the_bill_says_so(days: Days) -> None:
    days.go_on(MONDAY + 2 * DAY)
    days.state(MONDAY + 2 * DAY - DAY, "480.00")
    days.go_on(MONDAY + 2 * DAY + timedelta(hours=2))
    assert days.verdict.reasons == (Reason.RESERVED,)


def test_a_folder_that_is_gone_is_dark_and_comes_back(days: Days) -> None:
    days.go_on(MONDAY + timedelta(hours=4))
    aside = days.folder.with_name("aside")
    days.folder.rename(aside)
    days.clock.advance(-1)
    for _ in range(4):
        asyncio.run(days.collector.tick(days.fence))
        days.clock.advance(EVERY_S)
    assert days.verdict.reasons == (Reason.DARK,)
    aside.rename(days.folder)
    for _ in range(3):
        asyncio.run(days.collector.tick(days.fence))
        days.clock.advance(EVERY_S)
    assert days.verdict.is_open


def test_a_corrected_day_keeps_its_sign_and_is_journaled(days: Days) -> None:
    days.go_on(MONDAY + 3 * DAY + timedelta(hours=6))
    days.state(MONDAY + 2 * DAY, "40.00", name="z-corrected")
    now = days.clock.now()
    days.go_on(now + 4 * timedelta(hours=1))
    with days.database.read() as session:
        assert "bill fell" in [entry.what for entry in entries(session, 50)]
    assert days.verdict.is_open
    whole = days.spend(MONDAY + DAY, days.clock.now() + 2 * DAY)
    assert isinstance(whole, Spend)
    assert whole.nusd == (48 + 40) * USD


async def test_a_closed_day_reconciles_with_its_file(tmp_path: Path) -> None:
    """In a loop of its own: ticks are taken, then the day is put beside the file."""
    found = await asyncio.to_thread(_three_days, tmp_path)
    try:
        provider = found.collector.account.providers["exports"]
        day = await reconcile_window(found.database, provider, MONDAY + DAY, MONDAY + 2 * DAY)
        assert day.holds
        assert (day.theirs_nusd, day.organisation_nusd) == (48 * USD, 48 * USD)
        assert [line.ours_nusd for line in day.lines] == [48 * USD]
    finally:
        found.database.close()


def test_no_bar_of_the_trend_is_a_whole_days_money(days: Days) -> None:
    days.go_on(MONDAY + 2 * DAY)
    with days.database.read() as session:
        steps = steps_until(days.clock.now(), timedelta(hours=4), 4)
        _, trend = figures_and_trends(session, ["on-prem"], (), steps)["on-prem"]
    assert set(trend) == {Unknown("bills every 24 h")}


def test_the_screen_shows_no_state_that_nobody_told(days: Days) -> None:
    days.go_on(MONDAY + timedelta(hours=3))
    collector = days.collector
    specs, policy = collector.settings.tier_specs, collector.policy
    fleet = FleetReader(days.database, specs, policy, timedelta(hours=1)).read(days.clock.now())
    tier = fleet.tier("on-prem")
    assert tier is not None
    assert tier.state == "unknown"
    assert set(tier.refusals) == {"hibernate", "wake"}
