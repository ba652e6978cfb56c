"""What figures cost as a history grows, beside two other ways to compute them: `make bench`.

50 resources in 10 tiers, a sample a minute: 36 days are 2.6 M samples; `MTOK_BENCH_DAYS=365` makes 26 M. All is
printed beside its target, as ratios within one run; nothing here can fail for being slow.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from store.database import Database, open_database
from store.figures import Spend
from store.figures_read import figures, figures_of
from store.leader import acquire
from store.readings import AgentReading, Bill, LedgerTotals, ProviderReading, TickReadings, TierResources
from store.samples import record_tick
from store.unknown import Unknown
from store.window import WINDOWS, named_window

DAYS = int(os.environ.get("MTOK_BENCH_DAYS", "36"))
SHORT_DAYS = 2
RESOURCES, TIERS = 50, 10
END = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
NAMES = [f"t{index}" for index in range(TIERS)]
ZONE = ZoneInfo("UTC")

_FILL = """
INSERT INTO ticks (at, fence, complete, duration_ms)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :minutes)
SELECT strftime('%Y-%m-%d %H:%M:%S', :start, '+' || i || ' minutes') || '.000000', 1, 1, 5 FROM n;
INSERT INTO provider_ticks (provider, at, complete, latency_ms) SELECT 'cloud', at, 1, 5 FROM ticks;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :tiers - 1)
INSERT INTO tier_ticks (tier, at, complete, running_ms)
SELECT 't' || i, at, 1, 60000 * row_number() OVER (PARTITION BY i ORDER BY at) FROM n, ticks ORDER BY i, at;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :resources - 1)
INSERT INTO bill_counters (id, provider, counter, kind, resource_id, name, tier, currency, first_seen_at,
                           opening_nusd, excluded)
SELECT i + 1, 'cloud', 'c' || i, 'instance', 'r' || i, 'r' || i, 't' || (i % :tiers), 'USD',
       (SELECT min(at) FROM ticks), 0, 0 FROM n;
INSERT INTO bill_samples (counter_id, at, total_nusd, debits_nusd, raw, as_of_at)
SELECT c.id, t.at, c.id * 7 + n * 33333333, n * 33333333, '12.345678901', t.at
FROM bill_counters c, (SELECT at, row_number() OVER (ORDER BY at) AS n FROM ticks) t ORDER BY c.id, t.at;
INSERT INTO ledgers (id, uuid, created_at, tier, agent, first_seen_at, is_newborn)
SELECT id, 'l' || id, (SELECT min(at) FROM ticks), tier, 'a' || id, (SELECT min(at) FROM ticks), 1
FROM bill_counters WHERE id <= :tiers;
INSERT INTO usage_samples (ledger_id, at, prompt_tokens, cached_tokens, completion_tokens, delivered_tokens,
                           requests, busy_ms, reserved_prompt_tokens, reserved_completion_tokens)
SELECT l.id, t.at, n * 100, 0, n * 900, n * 900, n, n * 1000, 0, 0
FROM ledgers l, (SELECT at, row_number() OVER (ORDER BY at) AS n FROM ticks) t ORDER BY l.id, t.at;
ANALYZE;
"""
_LAG = """
SELECT tier, sum(CASE WHEN rise < 0 THEN total ELSE rise END) FROM (
  SELECT c.tier, s.total_nusd AS total,
         s.total_nusd - lag(s.total_nusd) OVER (PARTITION BY s.counter_id ORDER BY s.at) AS rise
  FROM bill_samples s JOIN bill_counters c ON c.id = s.counter_id WHERE s.at >= :start AND s.at <= :end
) GROUP BY tier
"""
_EDGES = """
SELECT tier, sum(last - first) FROM (
  SELECT tier, counter_id, arg_max(total_nusd, moment) AS last, arg_min(total_nusd, moment) AS first
  FROM samples WHERE moment BETWEEN ? AND ? GROUP BY tier, counter_id
) GROUP BY tier
"""


@dataclass(frozen=True)
class Row:
    """A line of the table that is printed at the end."""

    what: str
    figure: str
    target: str


ROWS: list[Row] = []


def tell(what: str, figure: str, target: str = "") -> None:
    """A line for the table at the end."""
    ROWS.append(Row(what, figure, target))


def median_ms(call: Callable[[], object], rounds: int = 30) -> float:
    """Milliseconds of one call."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def filled(
    path: Path, days: float, tiers: int = TIERS, resources: int = RESOURCES, end: datetime = END
) -> Database:
    """A store with `days` of minutes up to `end`."""
    database = open_database(f"sqlite:///{path}")
    values = {
        "minutes": round(days * 1440),
        "start": f"{end - timedelta(days=days):%Y-%m-%d %H:%M:%S}",
        "tiers": tiers,
        "resources": resources,
    }
    with database.write() as session:
        for statement in _FILL.split(";\n"):
            if statement.strip():
                session.connection().execute(text(statement), values)
    return database


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Database]]:
    """A short and a long history."""
    folder = tmp_path_factory.mktemp("bench")
    short, long = filled(folder / "short.db", SHORT_DAYS), filled(folder / "long.db", DAYS)
    yield short, long
    short.close()
    long.close()
    print("\n\n" + "\n".join(f"{row.what:<66} {row.figure:>22}   {row.target}" for row in ROWS))


def page_ms(database: Database) -> float:
    """The figures of a status page: every tier in every window, without a trend."""
    windows = [named_window(name, END, ZONE) for name in WINDOWS]
    with database.read() as session:
        return median_ms(lambda: figures_of(session, NAMES, windows))


def test_figures(stores: tuple[Database, Database]) -> None:
    short, long = stores
    with long.read() as session:
        day = median_ms(lambda: figures(session, "t3", named_window("24h", END, ZONE)))
        month = median_ms(lambda: figures(session, "t3", named_window("30d", END, ZONE)))
    samples = RESOURCES * DAYS * 1440 / 1e6
    page, page_short = page_ms(long), page_ms(short)
    tell(f"one tier's figure, 24 h, over {samples:.1f} M samples", f"{day:.2f} ms", "< 1 ms")
    tell("the same, 30 d ÷ 24 h", f"{month / day:.2f}", "< 1.2")
    tell(f"status page: {RESOURCES} resources, {TIERS} tiers, {len(WINDOWS)} windows", f"{page:.1f} ms", "< 15 ms")
    tell(f"the same, {DAYS} d ÷ {SHORT_DAYS} d of history", f"{page / page_short:.2f}", "< 1.5 at 25 M")


@pytest.mark.parametrize("name", ["24h", "30d"])
def test_the_same_by_lag_over_the_samples(stores: tuple[Database, Database], name: str) -> None:
    long = stores[1]
    window = named_window(name, END, ZONE)
    values = {"start": f"{window.start:%Y-%m-%d %H:%M:%S.%f}", "end": f"{window.end:%Y-%m-%d %H:%M:%S.%f}"}
    with long.read() as session:
        ours = median_ms(lambda: figures_of(session, NAMES, [window]))
        lag = median_ms(lambda: session.connection().execute(text(_LAG), values).all(), rounds=3)
    ROWS.append(
        Row(
            f"spend of 10 tiers, {name}: SQLite lag() over the samples ÷ ours",
            f"{lag / ours:,.0f} ({lag:.0f} ms)",
            "",
        )
    )


@pytest.mark.parametrize("name", ["24h", "30d"])
def test_the_same_by_duckdb(stores: tuple[Database, Database], name: str) -> None:
    duckdb = pytest.importorskip("duckdb", reason="not run: DuckDB is not installed (pip install 'mtok[bench]')")
    long = stores[1]
    window = named_window(name, END, ZONE)
    with long.read() as session, duckdb.connect() as duck:
        duck.execute("CREATE TABLE samples (tier VARCHAR, counter_id INTEGER, moment TIMESTAMP, total_nusd BIGINT)")
        minutes = DAYS * 1440
        duck.execute(
            "INSERT INTO samples SELECT 't' || (c % ?), c + 1, "
            "CAST(? AS TIMESTAMP) + to_minutes(CAST(n AS INTEGER)), "
            f"(c + 1) * 7 + (n + 1) * 33333333 FROM range({RESOURCES}) r(c), range({minutes + 1}) s(n)",
            [TIERS, (END - timedelta(days=DAYS)).replace(tzinfo=None)],
        )
        ours = median_ms(lambda: figures_of(session, NAMES, [window]))
        edges = [window.start.replace(tzinfo=None), window.end.replace(tzinfo=None)]
        theirs = median_ms(lambda: duck.execute(_EDGES, edges).fetchall(), rounds=5)
        found = dict(duck.execute(_EDGES, edges).fetchall())
        assert {tier: int(nusd) for tier, nusd in found.items()} == {
            tier: _nusd(one[0].spend) for tier, one in figures_of(session, NAMES, [window]).items()
        }
    tell(f"spend of 10 tiers, {name}: DuckDB ÷ ours", f"{theirs / ours:,.1f} ({theirs:.1f} ms)")


def test_a_tick_of_a_thousand(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'tick.db'}")
    fence = acquire(database, "bench", 10**6)
    assert fence is not None
    took = []
    for minute in range(8):
        readings = _tick(END + timedelta(minutes=minute), minute)
        start = time.perf_counter()
        record_tick(database, readings, fence)
        took.append((time.perf_counter() - start) * 1000)
    database.close()
    ROWS.append(
        Row(
            "a tick of 1,000 resources and 1,000 agents, stored",
            f"{statistics.median(took[1:]):.0f} ms",
            "< 250 ms",
        )
    )


def _tick(at: datetime, minute: int) -> TickReadings:
    names, long_ago = [f"x{index}" for index in range(1000)], END - timedelta(days=9)
    total = 10**9 + minute * 10**6
    bills = tuple(Bill(one, "instance", one, one, "t0", "USD", "1.5", total, at, long_ago, 10**9) for one in names)
    agents = {
        one: AgentReading("t0", LedgerTotals(one, long_ago, minute, 0, minute, minute, minute, minute), None)
        for one in names
    }
    tiers = {"t0": TierResources("cloud", frozenset(), 1)}
    return TickReadings(at, 5, {"cloud": ProviderReading(bills, None, 5)}, agents, tiers)


def _nusd(spend: Spend | Unknown) -> int:
    assert isinstance(spend, Spend)
    return spend.nusd
