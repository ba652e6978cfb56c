"""A small fleet in a real store, told tick by tick, for tests of what is shown and done."""

import functools
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.service import Service
from console.settings import Settings, load_settings
from store.clock import SetClock
from store.database import Database, open_database
from store.inventory import keep_agent, keep_resources
from store.leader import acquire
from store.money import format_nusd
from store.readings import AgentReading, Bill, LedgerTotals, ProviderReading, TickReadings, TierResources
from store.samples import record_tick
from store.states import keep_states
from store.tables import AgentRow, ResourceRow
from store.verdicts import record_verdict, verdict_now
from store.words import ResourceKind, State
from tests.databases import empty_sqlite

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
_SETTINGS = """
[budget]
daily_usd = "{limit}"
{more}
[providers.cloud]
kind = "simulator"
api_key_env = "CLOUD_KEY"
"""
_TIER = """
[[tiers]]
name = "{name}"
provider = "cloud"
gpu = "{gpu}"
market = "{market}"
instances = ["{id}"]
agents = [{{ name = "{name}-a", instance = "{id}", control_url = "http://127.0.0.1:1", control_secret_env = "S" }}]
"""
TIERS = (
    ("h100", "H100 PCIe", "spot", "8429"),
    ("l40", "L40", "spot", "8433"),
    ("a100", "A100", "on-demand", "8437"),
)
RATES = {"8429": 2_000_000_000, "8433": 800_000_000, "8437": 1_350_000_000}


@dataclass
class FleetWorld:
    """Three tiers; `asleep` names those that hibernate, `in_euro` those that are billed in it."""

    database: Database
    settings: Settings
    clock: SetClock
    asleep: frozenset[str] = frozenset()
    in_euro: frozenset[str] = frozenset()
    ticks: int = 0

    @property
    def service(self) -> Service:
        return Service(self.database, self.settings, self.clock, actor="ada@192.0.2.7")

    def tick(self, problem: str | None = None) -> None:
        """A minute of the fleet: bills rise, tokens are served, the gate decides."""
        fence = acquire(self.database, "vm:1:test", 3600)
        assert fence is not None
        at = self.clock.now()
        self.ticks += 1
        record_tick(self.database, self.readings(problem), fence)
        self._keep_inventory()
        with self.database.write() as session:
            record_verdict(session, verdict_now(session, self.settings.gate_policy, at))
        self.clock.advance(60)

    def readings(self, problem: str | None) -> TickReadings:
        """What the provider and the agents say at this minute."""
        return TickReadings(
            at=self.clock.now(),
            duration_ms=12,
            providers={"cloud": ProviderReading(() if problem else self._bills(), problem, 12)},
            agents={f"{name}-a": self._agent(name) for name, *_ in TIERS},
            tiers={
                name: TierResources("cloud", frozenset({id_}), int(name not in self.asleep))
                for name, _, _, id_ in TIERS
            },
        )

    def _bills(self) -> tuple[Bill, ...]:
        return tuple(self._bill(name, id_) for name, _, _, id_ in TIERS)

    def _bill(self, name: str, id_: str) -> Bill:
        total = 10**10 + RATES[id_] * self.ticks // 60
        return Bill(
            counter=f"usage:vm:{id_}",
            kind="instance",
            resource_id=id_,
            name=f"{name}-a",
            tier=name,
            currency="EUR" if name in self.in_euro else "USD",
            raw=format_nusd(total),
            total_nusd=total,
            as_of=self.clock.now(),
            started_at=START - timedelta(days=3),
            rate_nusd_per_hour=RATES[id_],
        )

    def _agent(self, name: str) -> AgentReading:
        if name in self.asleep:
            return AgentReading(name, None, "no answer (its instance is asleep)", asleep=True)
        served = self.ticks * 60 * (900 + 10 * len(name))
        totals = LedgerTotals(
            uuid=f"ledger-{name}",
            created_at=START - timedelta(days=3),
            prompt_tokens=served // 3,
            cached_tokens=0,
            completion_tokens=served,
            delivered_tokens=served,
            requests=served // 100,
            busy_ms=self.ticks * 42_000,
        )
        return AgentReading(name, totals, None)

    def _keep_inventory(self) -> None:
        with self.database.write() as session:
            rows = [self._resource(name, id_) for name, _, _, id_ in TIERS]
            keep_resources(session, "cloud", rows, self.clock.now(), complete=True)
            for name, *_ in TIERS:
                is_asleep = name in self.asleep
                row = AgentRow(
                    agent=f"{name}-a",
                    tier=name,
                    seen_at=self.clock.now(),
                    problem="no answer" if is_asleep else None,
                    in_flight=3,
                    engine="reference engine",
                    lease_open=not is_asleep,
                )
                keep_agent(session, row)
            keep_states(session, self.clock.now())

    def _resource(self, name: str, id_: str) -> ResourceRow:
        is_asleep = name in self.asleep
        return ResourceRow(
            provider="cloud",
            kind=ResourceKind.INSTANCE,
            resource_id=id_,
            tier=name,
            name=f"{name}-a",
            state=State.ASLEEP if is_asleep else State.RUNNING,
            raw_state="HIBERNATED" if is_asleep else "ACTIVE",
            rate_nusd_per_hour=RATES[id_],
            can_sleep=not is_asleep,
            can_wake=is_asleep,
            sleep_bills="storage",
            sleep_loses="ephemeral disk, GPU reservation",
            seen_at=self.clock.now(),
        )


def settings_text(tiers: Iterable[tuple[str, str, str, str]], limit: str, more: str = "") -> str:
    """Settings of `tiers` (name, GPU, market, instance), a daily `limit` in dollars; `more` of the budget."""
    sections = (_TIER.format(name=name, gpu=gpu, market=market, id=id_) for name, gpu, market, id_ in tiers)
    return _SETTINGS.format(limit=limit, more=more) + "".join(sections)


def fleet_world(
    folder: Path, limit: str = "200", more: str = "", *, minutes: int = 0, in_euro: frozenset[str] = frozenset()
) -> FleetWorld:
    """A world whose store and settings lie in `folder`, after so many ticks; `more` settings of the budget."""
    path = folder / "mtok.toml"
    path.write_text(settings_text(TIERS, limit, more), encoding="utf-8")
    (folder / "mtok.db").write_bytes(_told(limit, more, minutes, in_euro))
    settings = load_settings(path)
    world = FleetWorld(open_database(settings.store_url), settings, SetClock(START), in_euro=in_euro, ticks=minutes)
    world.clock.advance(60 * minutes)
    return world


@functools.cache  # most worlds begin with the same minutes: they are told once, then copied
def _told(limit: str, more: str, minutes: int, in_euro: frozenset[str]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="mtok-world-") as name:
        folder = Path(name)
        if not minutes:
            empty_sqlite(folder / "mtok.db")
        else:
            world = fleet_world(folder, limit, more, in_euro=in_euro)
            for _ in range(minutes):
                world.tick()
            world.database.close()
        return (folder / "mtok.db").read_bytes()
