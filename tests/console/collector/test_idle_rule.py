"""The idle rule goes by the tier's own times: what closes another provider's tiers begins nothing anew."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from console.collector.build import build_collector
from console.collector.rules import IDLE, Rules
from console.settings import load_settings
from store.database import Database
from store.inventory import keep_agent
from store.readings import AgentReading, LedgerTotals
from store.tables import AgentRow, OperationRow
from tests.conftest import START
from tests.databases import empty_sqlite, opened
from tests.store.test_mixed import TIERS, UNIT, Mixed

SETTINGS = """
[budget]
daily_usd = "200"
daily = { EUR = "100" }
scope = "provider"
"""
PROVIDER = """
[providers.{name}]
kind = "simulator"
base_url = "http://127.0.0.1:1"
api_key_file = "key"
currency = "{currency}"
"""
TIER = """
[[tiers]]
name = "{name}-tier"
provider = "{name}"
market = "spot"
instances = ["{name}"]
idle_after = "{idle_after}"
[[tiers.agents]]
name = "{name}-a"
instance = "{name}"
control_url = "http://127.0.0.1:1"
control_secret_file = "key"
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(empty_sqlite(tmp_path / "mtok.db")) as database:
        yield database


def settings_in(folder: Path) -> Path:
    currencies = {"cloud": "USD", "euro": "EUR", "files": "USD"}
    text = [SETTINGS, *(PROVIDER.format(name=name, currency=currency) for name, currency in currencies.items())]
    text += [TIER.format(name=name, idle_after="15m" if name == "cloud" else "never") for name in currencies]
    (folder / "key").write_text("key", encoding="utf-8")
    (folder / "mtok.toml").write_text("".join(text), encoding="utf-8")
    return folder / "mtok.toml"


def agents_rest(mixed: Mixed) -> None:
    """The agent of `cloud` answers, and serves nobody."""
    totals = LedgerTotals("ledger", START - timedelta(days=1), 9, 0, 9, 9, 1, 9)
    mixed.agents = {"cloud-a": AgentReading("cloud-tier", totals, None)}
    with mixed.database.write() as session:
        keep_agent(session, AgentRow(agent="cloud-a", tier="cloud-tier", seen_at=mixed.clock.now()))


@pytest.mark.parametrize(
    ("silent", "minutes", "idle"),
    [("euro", (), 15), ("euro", range(5, 9), 15), ("cloud", range(5, 9), 25), ("files", range(8, 40), 15)],
)
def test_only_what_closes_the_tier_itself_keeps_it_from_being_idle(
    database: Database, tmp_path: Path, silent: str, minutes: range, idle: int
) -> None:
    mixed = Mixed(database)
    collector = build_collector(database, load_settings(settings_in(tmp_path)), mixed.clock)
    rules, found = Rules(collector), None
    for minute in range(40):
        agents_rest(mixed)
        mixed.tick(*([silent] if minute in minutes else []), rise=UNIT // 600)
        collector.verdict, collector.ticked_s = mixed.verdict(collector.policy), float(minute)
        rules._apply(mixed.fence, collector.verdict)
        with database.read() as session:
            row = session.exec(select(OperationRow)).first()
        if row is not None:
            found = (minute, row.tier, row.actor)
            break
    assert set(collector.policy.provider_of) == set(TIERS)
    assert found == (idle, "cloud-tier", IDLE)
