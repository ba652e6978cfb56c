"""Sleep and wake with a real agent: the phases to the first token, and the rules that ask by themselves."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from sqlmodel import select

from agent.engine.make import ensure_model
from console.collector.build import build_collector
from console.collector.clock_jumps import ClockTrust
from console.collector.operations import Operations
from console.collector.rules import Rules
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import load_settings
from store.alarms import conditions
from store.anatomy import past
from store.capacity import per_kilosecond
from store.clock import SystemClock
from store.database import Database
from store.figures_read import figures
from store.keys import summed_keys
from store.leader import acquire
from store.operations import request, seen_state
from store.phases import OperationKind, Phase
from store.preflight import preflight
from store.stops import why_no_wake
from store.tables import AgentRow, OperationRow, UsageSample
from store.verdicts import close_by_hand, verdict_now
from store.window import Window
from tests.agent.conftest import SECRET, RunningAgent, running_agent, write_settings
from tests.databases import empty_sqlite, opened

SETTINGS = """
[budget]
daily_usd = "200"
[collector]
every = "300ms"
drain_within = "2s"
sleep_within = "2s"
wake_within = "{wake_within}"
not_applied_after = "600ms"
on_wake_timeout = "{on_wake_timeout}"
[providers.cloud]
kind = "simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
volumes = ["5341"]
idle_after = "{idle_after}"
{more}
agents = [{{ name = "a", instance = "8429", control_url = "{control}", control_secret_file = "secret" }}]
[[tiers]]
name = "l40"
provider = "cloud"
market = "on-demand"
instances = ["8433"]
"""
WORLD = {
    "instances": [
        {"id": 8429, "name": "h100-a", "price_usd_per_hour": "2.00", "address": "127.0.0.1"},
        {"id": 8433, "name": "l40-a", "price_usd_per_hour": "0.80"},
    ],
    "volumes": [{"id": 5341, "name": "weights", "price_usd_per_hour": "0.02", "attached_to": 8429}],
    "hibernate_s": 0,
    "restore_s": 1,
}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    home = tmp_path_factory.mktemp("agent")
    ensure_model(home / "model")
    with running_agent(write_settings(home, home / "model")) as running:
        yield running


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with running_simulator(SimulatedWorld.from_json(WORLD, SystemClock())) as running:
        yield running


class Fleet:
    """A collector with rules and operations, driven by hand."""

    def __init__(self, folder: Path, database: Database, url: str, control: str, **settings: str) -> None:
        values = {
            "idle_after": "never",
            "wake_within": "20s",
            "on_wake_timeout": "hibernate",
            "more": "",
            **settings,
        }
        (folder / "key").write_text("key", encoding="utf-8")
        (folder / "secret").write_text(SECRET, encoding="utf-8")
        text = SETTINGS.format(url=url, control=control, **values)
        (folder / "mtok.toml").write_text(text, encoding="utf-8")
        self.collector = build_collector(database, load_settings(folder / "mtok.toml"), SystemClock())
        self.database, self.rules = database, Rules(self.collector)
        self.operations = Operations(self.collector)
        fence = acquire(database, "test", 600)
        assert fence is not None
        self.fence = fence

    def ask(self, kind: OperationKind, tier: str = "h100") -> None:
        with self.database.write() as session:
            seen = seen_state(session, tier)
            request(session, SystemClock().now(), kind, tier, actor="ada", reason="", seen=seen)

    async def go_on(self, until: Callable[[list[OperationRow]], bool], rounds: int = 60) -> list[OperationRow]:
        """Tick, decide, apply and advance until the operations are as wished."""
        for count in range(rounds):
            if count % 2 == 0:
                await self.collector.tick(self.fence)
            await self.collector.decide(self.fence)
            await self.rules.apply(self.fence)
            await self.operations.advance(self.fence)
            with self.database.read() as session:
                rows = list(session.exec(select(OperationRow)).all())
            if until(rows):
                return rows
            await asyncio.sleep(0.1)
        pytest.fail(f"did not come to it: {rows}")


Make = Callable[..., Fleet]


@pytest.fixture
async def make(tmp_path: Path, agent: RunningAgent, simulator: Simulator) -> AsyncIterator[Make]:
    fleets: list[Fleet] = []
    with opened(empty_sqlite(tmp_path / "mtok.db")) as database:

        def build(control: str = agent.control, **settings: str) -> Fleet:
            fleets.append(Fleet(tmp_path, database, simulator.base_url, control, **settings))
            return fleets[-1]

        yield build
        for fleet in fleets:
            await fleet.operations.stop()
            await fleet.collector.account.close()


def is_asleep(rows: list[OperationRow]) -> bool:
    return bool(rows) and rows[-1].kind == "hibernate" and rows[-1].phase in (Phase.ASLEEP, Phase.DONE)


async def test_a_tier_goes_to_sleep_with_its_last_token_stored_and_wakes_to_a_metered_first_token(
    make: Make, agent: RunningAgent
) -> None:
    fleet = make()
    await fleet.collector.tick(fleet.fence)
    body = {"model": agent.model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 40}
    status, answer = await asyncio.to_thread(agent.post, "/v1/chat/completions", body)
    assert status == 200
    fleet.ask(OperationKind.HIBERNATE)
    await fleet.go_on(is_asleep)
    with fleet.database.read() as session:
        last = session.exec(select(UsageSample)).all()[-1]
        keys = summed_keys([session.get_one(AgentRow, "a").keys])
    usage = await asyncio.to_thread(agent.usage)
    assert (last.completion_tokens, usage["in_flight"]) == (usage["completion_tokens"], 0)
    assert keys["tests"].completion_tokens == usage["labels"]["tests"]["completion_tokens"] > 0
    status, refused = await asyncio.to_thread(agent.post, "/v1/chat/completions", body)
    assert (status, refused["error"]["code"]) == (503, "draining")
    with fleet.database.read() as session:
        assert fleet.collector.verdict is not None
        checks = preflight(session, fleet.collector.policy, fleet.collector.verdict, "h100", ["5341"])
    assert [(check.what, check.is_ok) for check in checks] == [
        ("gate", True),
        ("flavour", True),
        ("volume", True),
        ("model", True),
        ("sleep", None),
    ]
    fleet.ask(OperationKind.WAKE)
    await fleet.go_on(lambda rows: rows[-1].kind == "wake" and rows[-1].finished_at is not None)
    with fleet.database.read() as session:
        (wake,) = past(session, "h100", OperationKind.WAKE, 1)
    assert (wake.outcome, wake.detail) == ("done", "")
    assert [step.phase for step in wake.reached] == [
        "requested",
        "provider",
        "accepted",
        "running",
        "answering",
        "loaded",
        "leased",
        "first_token",
    ]
    woken = await asyncio.to_thread(agent.usage)
    assert woken["labels"]["mtok.probe"]["completion_tokens"] == 1
    assert answer["usage"]["completion_tokens"] <= woken["completion_tokens"]


async def test_an_idle_tier_hibernates_by_itself_and_a_busy_one_does_not(make: Make, agent: RunningAgent) -> None:
    fleet = make(idle_after="2s")
    body = {"model": agent.model, "prompt": "hello", "max_tokens": 4}
    for _ in range(8):
        await fleet.collector.tick(fleet.fence)
        await fleet.rules.apply(fleet.fence)
        await asyncio.to_thread(agent.post, "/v1/completions", body)
        await asyncio.sleep(0.4)
    with fleet.database.read() as session:
        assert session.exec(select(OperationRow)).all() == []
    rows = await fleet.go_on(is_asleep)
    assert [(row.tier, row.actor) for row in rows] == [("h100", "idle")]


async def test_waking_hours_keep_an_idle_tier_awake(make: Make) -> None:
    fleet = make(idle_after="300ms", more='keep_awake = "daily 00:00-24:00 UTC"')
    for _ in range(6):
        await fleet.collector.tick(fleet.fence)
        await fleet.rules.apply(fleet.fence)
        await asyncio.sleep(0.2)
    with fleet.database.read() as session:
        assert session.exec(select(OperationRow)).all() == []


async def test_a_wake_that_does_not_come_to_serve_is_put_to_sleep_again(make: Make) -> None:
    fleet = make("http://127.0.0.1:1", wake_within="3s")
    await fleet.collector.tick(fleet.fence)
    fleet.ask(OperationKind.HIBERNATE)
    await fleet.go_on(is_asleep)
    fleet.ask(OperationKind.WAKE)
    rows = await fleet.go_on(lambda rows: len(rows) == 3 and is_asleep(rows), rounds=120)
    assert [(row.kind, row.actor) for row in rows[1:]] == [("wake", "ada"), ("hibernate", "wake_timeout")]
    assert rows[1].detail.startswith("wake_timeout: reached running")
    with fleet.database.read() as session:
        assert fleet.collector.verdict is not None
        kinds = {one.kind for one in conditions(session, fleet.collector.policy, fleet.collector.verdict)}
    assert "wake_timeout" in kinds


async def test_a_wake_timeout_may_be_left_to_people(make: Make) -> None:
    fleet = make("http://127.0.0.1:1", wake_within="2s", on_wake_timeout="leave")
    await fleet.collector.tick(fleet.fence)
    fleet.ask(OperationKind.HIBERNATE)
    await fleet.go_on(is_asleep)
    fleet.ask(OperationKind.WAKE)
    await fleet.go_on(lambda rows: rows[-1].outcome == "failed", rounds=80)
    rows = await fleet.go_on(lambda _: True, rounds=1)
    assert len(rows) == 2


async def test_a_preempted_tier_is_alarmed_woken_again_and_its_fallback_too(
    make: Make, simulator: Simulator
) -> None:
    fleet = make(more='rewake = true\nfallback = "l40"')
    await fleet.collector.tick(fleet.fence)
    fleet.ask(OperationKind.HIBERNATE, "l40")
    await fleet.go_on(lambda rows: rows[-1].outcome == "done", rounds=120)
    taken = simulator.world.find("vm", 8429)
    assert taken is not None
    simulator.world.preempt(taken)
    await fleet.collector.tick(fleet.fence)
    with fleet.database.read() as session:
        assert fleet.collector.verdict is not None
        found = conditions(session, fleet.collector.policy, fleet.collector.verdict)
    assert [one.subject for one in found if one.kind == "preempted"] == ["h100/8429"]
    rows = await fleet.go_on(
        lambda rows: (
            {(row.tier, row.actor) for row in rows if row.outcome == "done"}
            >= {("h100", "rewake"), ("l40", "fallback")}
        )
    )
    assert sum(row.kind == "wake" for row in rows) == 2
    with fleet.database.read() as session:
        found = conditions(session, fleet.collector.policy, fleet.collector.verdict)
    assert not [one for one in found if one.kind == "preempted"]


async def test_a_rewake_without_capacity_is_asked_for_with_growing_pauses(make: Make, simulator: Simulator) -> None:
    fleet = make(more="rewake = true", wake_within="1s")
    await fleet.collector.tick(fleet.fence)
    taken = simulator.world.find("vm", 8429)
    assert taken is not None
    simulator.world.preempt(taken)
    simulator.faults.set("no_stock")
    rows = await fleet.go_on(lambda rows: sum(row.outcome == "failed" for row in rows) >= 2, rounds=120)
    assert {row.actor for row in rows} == {"rewake"}
    assert all(row.detail.startswith("no_capacity") for row in rows if row.outcome == "failed")
    simulator.faults.set(None)
    await fleet.go_on(lambda rows: rows[-1].outcome == "done", rounds=120)


async def test_a_fallback_is_woken_once_and_stays_as_people_leave_it(make: Make, simulator: Simulator) -> None:
    fleet = make(more='fallback = "l40"')
    await fleet.collector.tick(fleet.fence)
    fleet.ask(OperationKind.HIBERNATE, "l40")
    await fleet.go_on(lambda rows: rows[-1].outcome == "done", rounds=120)
    taken = simulator.world.find("vm", 8429)
    assert taken is not None
    simulator.world.preempt(taken)
    await fleet.go_on(lambda rows: rows[-1].actor == "fallback" and rows[-1].outcome == "done", rounds=120)
    fleet.ask(OperationKind.HIBERNATE, "l40")
    await fleet.go_on(lambda rows: rows[-1].actor == "ada" and rows[-1].outcome == "done", rounds=120)
    rows = await fleet.go_on(lambda _: True, rounds=1)
    assert [row.actor for row in rows] == ["ada", "fallback", "ada"]


async def test_a_gate_that_people_have_closed_makes_nobody_idle(make: Make) -> None:
    fleet = make(idle_after="600ms")
    await fleet.collector.tick(fleet.fence)
    with fleet.database.write() as session:
        close_by_hand(session, SystemClock().now(), "ada", "maintenance")
    for _ in range(8):
        await fleet.collector.tick(fleet.fence)
        await fleet.rules.apply(fleet.fence)
        await asyncio.sleep(0.2)
    with fleet.database.read() as session:
        assert session.exec(select(OperationRow)).all() == []


async def test_a_drain_goes_on_though_no_tick_can_be_stored(make: Make, simulator: Simulator) -> None:
    fleet = make("http://127.0.0.1:1")
    await fleet.collector.tick(fleet.fence)
    fleet.collector.trust = ClockTrust(fleet.collector.clock)  # as after a jump: nobody has vouched for it
    simulator.faults.set("500", "/billing")
    fleet.ask(OperationKind.HIBERNATE)
    for _ in range(60):
        await fleet.operations.advance(fleet.fence)
        with fleet.database.read() as session:
            row = session.exec(select(OperationRow)).one()
        if row.phase == Phase.ASLEEP:
            break
        await asyncio.sleep(0.1)
    assert (row.phase, row.readings) == (Phase.ASLEEP, 3)


async def test_of_several_wakes_at_once_those_that_would_cross_the_limit_are_refused(
    make: Make, simulator: Simulator
) -> None:
    """$2.00 and $0.80 an hour for eleven minutes or so: each fits alone, both do not."""
    fleet = make(wake_within="10m")
    await fleet.collector.tick(fleet.fence)
    for tier in ("h100", "l40"):
        fleet.ask(OperationKind.HIBERNATE, tier)
    await fleet.go_on(lambda rows: len(rows) == 2 and all(row.outcome == "done" for row in rows), rounds=150)
    verdict = await fleet.collector.decide(fleet.fence)
    assert verdict.is_open
    bound = verdict.fleet.facts.bound_nusd
    assert isinstance(bound, int)
    tight = replace(fleet.collector.policy, limit_nusd=bound + 450_000_000)
    with fleet.database.read() as session:
        narrow = verdict_now(session, tight, SystemClock().now())
        assert why_no_wake(session, tight, narrow, "h100") is None
        assert why_no_wake(session, tight, narrow, "l40") is None
    fleet.ask(OperationKind.WAKE, "h100")
    with fleet.database.read() as session:
        narrow = verdict_now(session, tight, SystemClock().now())
        assert "are spoken for" in (why_no_wake(session, tight, narrow, "l40") or "")


async def test_what_a_benchmark_has_found_makes_the_load_known_from_the_next_tick_on(
    make: Make, agent: RunningAgent
) -> None:
    fleet = make()
    begun_at = SystemClock().now()
    await fleet.go_on(lambda _rows: agent.post("/v1/completions", {})[0] != 503)
    await asyncio.to_thread(quick_benchmark, agent)
    await fleet.collector.tick(fleet.fence)
    usage = await asyncio.to_thread(agent.usage)
    with fleet.database.read() as session:
        row = session.get_one(AgentRow, "a")
        found = figures(session, "h100", Window(begun_at, SystemClock().now()))
    assert row.capacity_per_ks == per_kilosecond(usage["capacity_tokens_per_s"])
    assert row.capacity_about == usage["capacity"]["conditions"]
    assert json.loads(row.gpu) == (usage["gpu"]["unknown"] if isinstance(usage["gpu"], dict) else usage["gpu"])
    assert isinstance(found.load, Fraction)
    assert found.load > 0


def quick_benchmark(agent: RunningAgent) -> None:
    plan = b'{"runs": 1, "seconds": 0.05, "prompt_tokens": 8, "completion_tokens": 16, "prefill_tokens": 16}'
    headers = {"Authorization": f"Bearer {SECRET}"}
    asked = urllib.request.Request(f"{agent.control}/control/bench", plan, headers, method="POST")
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert b'"result"' in answer.read().splitlines()[-1]
