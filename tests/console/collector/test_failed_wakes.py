"""What rules ask for after a wake that failed and after a pre-emption, by hand: no rule undoes what people did."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from sqlmodel import select

from console.collector.build import build_collector
from console.collector.rules import Rules
from console.collector.tick import Collector
from console.settings import load_settings
from store.database import Database
from store.inventory import keep_resources
from store.operations import current, end_call, finish, record_call, request, seen_state
from store.phases import OperationKind, OperationOutcome
from store.states import keep_states
from store.tables import OperationRow, ResourceRow, Tick, TierTick
from store.words import ResourceKind, State
from tests.conftest import History
from tests.databases import empty_sqlite

SETTINGS = """
[budget]
daily_usd = "200"
[providers.cloud]
kind = "simulator"
base_url = "http://127.0.0.1:1"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429", "8430"]
fallback = "l40"
[[tiers]]
name = "l40"
provider = "cloud"
market = "on-demand"
instances = ["8433"]
"""
TIER = {"8429": "h100", "8430": "h100", "8433": "l40"}
SLEEP, WAKE = OperationKind.HIBERNATE, OperationKind.WAKE
DONE, FAILED, REFUSED = OperationOutcome.DONE, OperationOutcome.FAILED, OperationOutcome.REFUSED
STUCK = "wake_timeout: reached running; 8429 is RUNNING"
HALF = "wake_failed: 8430: HTTP 429: slow down"
BACK_TO_SLEEP = ("h100", "hibernate", "wake_timeout")


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """One database is enough: what the rules read is read on each by the alarms' tests."""
    return empty_sqlite(tmp_path / "mtok.db")


class Story:
    """Two tiers, minute by minute: what is seen of their instances, and what the rules ask for."""

    def __init__(self, collector: Collector, history: History) -> None:
        self.database, self.clock, self.fence = collector.database, history.clock, history.fence
        self.rules = Rules(collector)
        self.states = dict.fromkeys(TIER, State.ASLEEP)

    def see(self, states: Mapping[str, State], minutes: int = 1) -> None:
        """A tick, so many minutes later, in which these instances have new states."""
        self.clock.advance(60 * minutes)
        self.states |= states
        now = self.clock.now()
        rows = [
            ResourceRow(
                provider="cloud",
                kind=ResourceKind.INSTANCE,
                resource_id=id_,
                tier=TIER[id_],
                name=id_,
                state=state,
                raw_state=state.upper(),
                can_sleep=state is State.RUNNING,
                can_wake=state is State.ASLEEP,
                seen_at=now,
            )
            for id_, state in self.states.items()
        ]
        with self.database.write() as session:
            session.add(Tick(at=now, fence=1, complete=True, duration_ms=1))
            session.flush()
            session.add_all(TierTick(tier=tier, at=now, complete=True, running_ms=0) for tier in ("h100", "l40"))
            keep_resources(session, "cloud", rows, now, complete=True)
            session.flush()
            keep_states(session, now)

    def operate(
        self, kind: OperationKind, tier: str, outcome: OperationOutcome, detail: str = "", *, asked: str = ""
    ) -> None:
        """An engineer's operation, with a call for each of `asked`, that has ended."""
        now = self.clock.now()
        with self.database.write() as session:
            request(session, now, kind, tier, actor="ada", reason="", seen=seen_state(session, tier))
            row = current(session, tier)
            assert row is not None
            for id_ in asked.split():
                call = record_call(session, row, id_, "wake", "ASLEEP", now)
                end_call(session, row, call, "applied", now)
            finish(session, row, outcome, now, detail)

    async def demanded(self) -> list[tuple[str, str, str]]:
        """What the rules ask for now."""
        await self.rules.apply(self.fence)
        with self.database.read() as session:
            rows = session.exec(select(OperationRow).where(OperationRow.actor != "ada")).all()
            return [(row.tier, row.kind, row.actor) for row in rows]

    def end(self, tier: str, outcome: OperationOutcome, detail: str = "") -> None:
        with self.database.write() as session:
            row = current(session, tier)
            assert row is not None
            finish(session, row, outcome, self.clock.now(), detail)


@pytest.fixture
async def story(database: Database, history: History, tmp_path: Path) -> AsyncIterator[Story]:
    (tmp_path / "key").write_text("key", encoding="utf-8")
    (tmp_path / "mtok.toml").write_text(SETTINGS, encoding="utf-8")
    collector = build_collector(database, load_settings(tmp_path / "mtok.toml"), history.clock)
    told = Story(collector, history)
    told.see({})
    yield told
    await collector.account.close()


@pytest.mark.parametrize(
    ("detail", "asked", "states", "wanted"),
    [
        (STUCK, "8429 8430", (State.RUNNING, State.RUNNING), [BACK_TO_SLEEP]),
        (HALF, "8429 8430", (State.RUNNING, State.ASLEEP), [BACK_TO_SLEEP]),
        (HALF, "8429", (State.RUNNING, State.ASLEEP), [BACK_TO_SLEEP]),  # the gate closed before the other's call
        (HALF, "8429", (State.RUNNING, State.ERROR), [BACK_TO_SLEEP]),
        (HALF, "8429", (State.RUNNING, State.RUNNING), []),  # the other ran already
        (HALF, "", (State.RUNNING, State.ASLEEP), []),  # somebody else's doing
        ("8429: HTTP 429: slow down", "8429", (State.RUNNING, State.ASLEEP), []),  # nothing was up: by hand since
        ("no_capacity: 7 attempts", "8429 8430", (State.RUNNING, State.RUNNING), []),
    ],
)
async def test_a_wake_that_failed_and_bills_is_put_to_sleep_again(
    story: Story, detail: str, asked: str, states: tuple[State, State], wanted: list[tuple[str, str, str]]
) -> None:
    story.operate(WAKE, "h100", FAILED, detail, asked=asked)
    story.see(dict(zip(("8429", "8430"), states, strict=True)))
    assert await story.demanded() == wanted


async def test_what_somebody_starts_long_after_a_wake_came_to_nothing_is_theirs(story: Story) -> None:
    story.operate(WAKE, "h100", FAILED, "wake_timeout: reached accepted; 8429 is HIBERNATED", asked="8429 8430")
    story.see({}, minutes=11)
    story.see({"8429": State.RUNNING}, minutes=49)
    assert await story.demanded() == []


@pytest.mark.parametrize("minutes", [5, 25])
async def test_a_wake_that_comes_through_late_is_put_to_sleep_however_late(story: Story, minutes: int) -> None:
    story.operate(WAKE, "h100", FAILED, "wake_timeout: reached accepted; 8429 is WAKING", asked="8429 8430")
    for _ in range(minutes):
        story.see({"8429": State.WAKING})
    story.see({"8429": State.RUNNING})
    assert await story.demanded() == [BACK_TO_SLEEP]


async def test_one_that_nobody_saw_asleep_is_put_to_sleep(story: Story) -> None:
    """The provider was silent all the while: what the inventory said was old."""
    story.operate(WAKE, "h100", FAILED, "wake_timeout: reached accepted; 8429 is HIBERNATED", asked="8429 8430")
    story.see({"8429": State.RUNNING}, minutes=30)
    assert await story.demanded() == [BACK_TO_SLEEP]


async def test_the_way_back_to_sleep_is_tried_again_until_it_slept(story: Story) -> None:
    story.operate(WAKE, "h100", FAILED, STUCK, asked="8429 8430")
    story.see({"8429": State.RUNNING, "8430": State.RUNNING})
    assert await story.demanded() == [BACK_TO_SLEEP]
    story.end("h100", FAILED, "timeout: 8429 is SLEEPING")
    story.see({}, minutes=2)
    assert await story.demanded() == [BACK_TO_SLEEP, BACK_TO_SLEEP]
    story.end("h100", FAILED, "timeout: 8429 is SLEEPING")
    story.see({"8429": State.ASLEEP, "8430": State.ASLEEP}, minutes=15)
    story.see({"8429": State.RUNNING}, minutes=60)
    assert await story.demanded() == [BACK_TO_SLEEP, BACK_TO_SLEEP]


def preempted(story: Story, fallback: State) -> None:
    """`h100` is taken away while its fallback does this."""
    story.see({"8429": State.RUNNING, "8430": State.RUNNING, "8433": fallback})
    story.see({"8429": State.GONE})


WOKEN = ("l40", "wake", "fallback")


async def test_a_fallback_that_ran_already_stays_as_people_leave_it(story: Story) -> None:
    preempted(story, State.RUNNING)
    assert await story.demanded() == []
    story.see({"8433": State.ASLEEP}, minutes=30)  # by whatever way
    assert WOKEN not in await story.demanded()


async def test_a_fallback_that_people_put_to_sleep_since_is_not_woken(story: Story) -> None:
    story.operate(WAKE, "l40", DONE)
    story.see({"8433": State.WAKING})
    preempted(story, State.WAKING)
    story.see({"8433": State.RUNNING})
    assert await story.demanded() == []
    story.operate(SLEEP, "l40", DONE)
    story.see({"8433": State.ASLEEP})
    assert await story.demanded() == []


@pytest.mark.parametrize(("outcome", "detail"), [(REFUSED, "the gate is closed"), (FAILED, "no_capacity: none")])
async def test_a_fallback_that_people_could_not_wake_is_woken_for_them(
    story: Story, outcome: OperationOutcome, detail: str
) -> None:
    preempted(story, State.ASLEEP)
    story.operate(WAKE, "l40", outcome, detail)
    assert await story.demanded() == [WOKEN]


async def test_a_fallback_that_slept_before_is_woken_though_people_had_asked_for_that(story: Story) -> None:
    story.see({"8433": State.RUNNING})
    story.operate(SLEEP, "l40", DONE)
    story.clock.advance(60)
    preempted(story, State.ASLEEP)
    assert await story.demanded() == [WOKEN]
