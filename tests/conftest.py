"""What every test may use: a store of its own, a clock that stands, and a fleet's history by hand."""

import gc
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlmodel import Session

from store.clock import SetClock
from store.counters import bill_rows
from store.database import Database, open_database
from store.figures import Spend
from store.figures_read import figures
from store.leader import acquire
from store.money import format_nusd
from store.readings import AgentReading, Bill, LedgerTotals, ProviderReading, TickReadings, TierResources
from store.samples import record_tick
from store.spend import debits_by_tier, debits_of, spend_of
from store.tables import BillCounter, BillSample, ResourceRow
from store.unknown import Unknown
from store.window import Window
from store.words import ResourceKind, State
from tests.databases import empty_sqlite, opened, postgres_database, postgres_server, share_statements

# with it every process that a test starts would compile our modules anew, which pip compiles where it installs them
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
_TESTS = Path(__file__).parent
settings.register_profile("short", max_examples=10, deadline=None)
settings.register_profile(
    "prove", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
settings.load_profile(os.environ.get("MTOK_HYPOTHESIS", "short"))
share_statements()


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in its own hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole fleets of processes run two at a time at most, the console's and the others', however many workers."""
    for item in items:
        if item.get_closest_marker("processes") is not None:
            lane = "console" if "console" in item.path.relative_to(_TESTS).parts else "others"
            item.add_marker(pytest.mark.xdist_group(f"processes-{lane}"))


def pytest_collection_finish() -> None:
    """What is loaded stays: no test's garbage is looked for in it."""
    gc.collect()
    gc.freeze()


START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server."""
    with postgres_server() as url:
        if url is None:
            pytest.skip("not run: no PostgreSQL here (initdb is missing, MTOK_TEST_POSTGRES_URL is not set)")
        yield url


@pytest.fixture(scope="session")
def migrated(postgres: str) -> Iterator[str]:
    """The name of an empty store at the newest version in that server, to be copied."""
    with postgres_database(postgres, name := f"mtok_{uuid.uuid4().hex}") as url:
        open_database(url).close()
        yield name


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty store, on each database in turn."""
    if request.param == "sqlite":
        yield empty_sqlite(tmp_path / "mtok.db")
        return
    server, template = request.getfixturevalue("postgres"), request.getfixturevalue("migrated")
    with postgres_database(server, f"mtok_{uuid.uuid4().hex}", template) as url:
        yield url


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    """An empty store at the newest version, on each database in turn."""
    with opened(store_url) as database:
        yield database


@dataclass
class History:
    """A fleet of one tier, `h100`, told tick by tick; `at` is the instant of the next tick."""

    database: Database
    clock: SetClock = field(default_factory=lambda: SetClock(START))
    tier: str = "h100"
    resources: frozenset[str] = frozenset({"8429"})

    def __post_init__(self) -> None:
        fence = acquire(self.database, "test", 3600)
        assert fence is not None
        self.fence = fence

    def bill(self, nusd: int, **changes: object) -> Bill:
        """A reading of the instance's counter."""
        fields: dict[str, object] = {
            "counter": "usage:vm:8429",
            "kind": "instance",
            "resource_id": "8429",
            "name": "h100-a",
            "tier": self.tier,
            "currency": "USD",
            "raw": format_nusd(nusd),
            "total_nusd": nusd,
            "as_of": self.clock.now(),
            "started_at": START - timedelta(days=1),
            "rate_nusd_per_hour": 2_000_000_000,
        }
        return Bill(**{**fields, **changes})  # type: ignore[arg-type]

    def totals(self, prompt: int, completion: int, **changes: object) -> LedgerTotals:
        """A reading of the agent's ledger."""
        fields: dict[str, object] = {
            "uuid": "ledger-a",
            "created_at": START - timedelta(days=1),
            "prompt_tokens": prompt,
            "cached_tokens": 0,
            "completion_tokens": completion,
            "delivered_tokens": completion,
            "requests": completion // 10,
            "busy_ms": completion,
        }
        return LedgerTotals(**{**fields, **changes})  # type: ignore[arg-type]

    def tick(
        self,
        *bills: Bill,
        totals: LedgerTotals | None = None,
        problem: str | None = None,
        agents: Mapping[str, AgentReading] | None = None,
        after_s: float = 60,
        running: int | None = 1,
    ) -> bool:
        """One tick, then time moves on; answers whether it was complete."""
        if agents is None:
            silence = None if totals else "no answer"
            agents = {"h100-a": AgentReading(self.tier, totals, silence)}
        readings = TickReadings(
            at=self.clock.now(),
            duration_ms=5,
            providers={"cloud": ProviderReading(bills, problem, 5)},
            agents=agents,
            tiers={self.tier: TierResources("cloud", self.resources, running)},
        )
        complete = record_tick(self.database, readings, self.fence)
        self.clock.advance(after_s)
        return complete


def billed_in(session: Session, tier: str, window: Window) -> Spend | Unknown:
    """What a tier was billed between the two ticks of `window`, however short that is for its bill's step."""
    edges = figures(session, tier, window).edges
    if isinstance(edges, Unknown):
        return edges
    return spend_of(bill_rows(session, [tier], [edges.start_at, edges.end_at]), "edge0", "edge1", edges)


def debits_between(session: Session, start: datetime, end: datetime) -> int | Unknown:
    """Debits of the whole account in `[start, end)`."""
    return debits_of(debits_by_tier(session, start, end), None)


def an_instance(state: State, seen_at: datetime, *, can_sleep: bool = True, can_wake: bool = False) -> ResourceRow:
    """The one of `h100`, as the provider lists it."""
    return ResourceRow(
        provider="cloud",
        kind=ResourceKind.INSTANCE,
        resource_id="8429",
        tier="h100",
        name="h100-a",
        state=state,
        raw_state=state.upper(),
        can_sleep=can_sleep,
        can_wake=can_wake,
        seen_at=seen_at,
    )


def add_ended_buckets(database: Database, count: int) -> None:
    """Hours of a bill that ended before `START`, one a counter, as a provider of buckets leaves them."""
    fields: dict[str, Any] = {
        "provider": "cloud",
        "kind": "instance",
        "resource_id": "77",
        "name": "h100-b",
        "tier": "h100",
    }
    with database.write() as session:
        for hour in range(count):
            began_at, ended_at = (START - timedelta(hours=count - hour - more) for more in (0, 1))
            counter = BillCounter(
                **fields,
                counter=f"bucket:{began_at:%m%dT%H}",
                currency="USD",
                started_at=began_at,
                first_seen_at=began_at,
                opening_nusd=0,
                final_at=ended_at,
                moved_at=ended_at,
            )
            session.add(counter)
            session.flush()
            assert counter.id is not None
            session.add(
                BillSample(
                    counter_id=counter.id,
                    at=ended_at,
                    as_of_at=ended_at,
                    total_nusd=5,
                    debits_nusd=5,
                    raw="0.000000005",
                )
            )


@pytest.fixture
def history(database: Database) -> History:
    """The history of a fleet, empty so far."""
    return History(database)
