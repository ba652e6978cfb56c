"""Operations against the simulated provider: one effect each, whatever gets lost."""

import asyncio
from dataclasses import replace

import pytest
from sqlmodel import select

from console.collector.operations import Operations
from console.collector.tick import Collector
from console.providers.simulator import Simulator
from store.anatomy import past
from store.clock import SystemClock
from store.database import Database
from store.errors import FenceLost
from store.gate import Reason
from store.leader import acquire
from store.operations import calls_of
from store.phases import OperationKind, Phase
from store.tables import JournalEntry, OperationRow
from store.verdicts import close_by_hand
from tests.console.collector.conftest import ask, carry_out


def told(database: Database) -> list[str]:
    with database.read() as session:
        return [entry.what for entry in session.exec(select(JournalEntry)) if entry.actor == "ada"]


def state(simulator: Simulator) -> str:
    machine = simulator.world.find("vm", 8429)
    assert machine is not None
    return machine.state_at(simulator.world.now_s())


def sent(simulator: Simulator, action: str) -> int:
    return sum(request.endswith(action) or f"{action}?" in request for request in simulator.requests)


async def test_hibernate_and_wake_go_through_their_phases(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    operations = Operations(collector)
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    assert (await carry_out(operations, database, fence)).phase == Phase.ASLEEP
    assert state(simulator) == "HIBERNATED"
    ask(database, OperationKind.WAKE)
    assert (await carry_out(operations, database, fence)).outcome == "done"
    assert state(simulator) == "ACTIVE"
    assert told(database) == [
        "hibernate asked",
        "sleep sent",
        "sleep accepted",
        "sleep applied",
        "hibernate done",
        "wake asked",
        "wake sent",
        "wake accepted",
        "wake applied",
        "wake done",
    ]
    with database.read() as session:
        (wake,) = past(session, "h100", OperationKind.WAKE, 5)
    assert [step.phase for step in wake.reached] == ["requested", "provider", "accepted", "running"]
    assert wake.calls == 1


async def test_asleep_is_believed_when_the_bill_rests(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    operations = Operations(collector)
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    row = await carry_out(operations, database, fence)
    for _ in range(40):
        await collector.tick(fence)
        await operations.advance(fence)
        with database.read() as session:
            row = session.get_one(OperationRow, row.id)
        if row.finished_at is not None:
            break
        await asyncio.sleep(0.3)
    assert row.outcome == "done"
    with database.read() as session:
        (one,) = past(session, "h100", OperationKind.HIBERNATE, 1)
    assert [step.phase for step in one.reached][-2:] == [Phase.ASLEEP, Phase.SETTLED]


@pytest.mark.parametrize("fault", ["drop", "500"])
async def test_a_lost_answer_is_resolved_by_reading_and_never_by_sending_again(
    collector: Collector, database: Database, fence: int, simulator: Simulator, fault: str
) -> None:
    await collector.tick(fence)
    simulator.faults.set(fault, "/core/virtual-machines/8429/hibernate", 1)
    ask(database, OperationKind.HIBERNATE)
    row = await carry_out(Operations(collector), database, fence)
    assert row.phase == Phase.ASLEEP
    assert "sleep ambiguous" in told(database)
    with database.read() as session:
        assert row.id is not None
        ended = [call.ended for call in calls_of(session, row.id)]
    # done, and the answer lost: one attempt; not done: it ended as such, and a second one followed
    assert ended == (["applied"] if fault == "drop" else ["not_applied", "applied"])
    assert sent(simulator, "/hibernate") == len(ended)


async def test_an_action_without_effect_ends_as_not_applied_after_three_attempts(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    await collector.tick(fence)
    simulator.faults.set("ignored", "/core/virtual-machines/8429/hibernate")
    ask(database, OperationKind.HIBERNATE)
    row = await carry_out(Operations(collector), database, fence)
    assert row.outcome == "failed"
    assert row.detail.startswith("not_applied: 8429 is ACTIVE after 3 attempts")
    assert sent(simulator, "/hibernate") == 3


async def test_a_state_that_cannot_be_read_sends_nothing(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    operations = Operations(collector)
    simulator.faults.set("429", "/core/virtual-machines/8429", 1)
    assert (await carry_out(operations, database, fence)).phase == Phase.ASLEEP
    assert "sleep unsent" in told(database)
    assert sent(simulator, "/hibernate") == 1


@pytest.mark.parametrize("times", [{"wake_within": "3s"}], ids=["brief"])
@pytest.mark.parametrize(
    ("fault", "details"),
    [
        ("no_capacity", ("no_capacity: ", "wake_timeout: ")),  # its time may be over amid one more restore
        ("no_stock", ("no_capacity: ",)),
    ],
)
async def test_a_restore_without_capacity_is_tried_again_with_pauses_and_then_given_up(
    collector: Collector,
    database: Database,
    fence: int,
    simulator: Simulator,
    fault: str,
    details: tuple[str, ...],
) -> None:
    operations = Operations(collector)
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    await carry_out(operations, database, fence)
    simulator.faults.set(fault)
    simulator.world.restore_s = 1
    ask(database, OperationKind.WAKE)
    row = await carry_out(operations, database, fence)
    assert row.outcome == "failed"
    assert row.detail.startswith(details)
    assert sent(simulator, "/hibernate-restore") == row.calls >= 2


async def test_a_restore_that_finds_capacity_at_last_is_done(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    operations = await waiting_for_capacity(collector, database, fence, simulator)
    simulator.faults.set(None)
    assert (await carry_out(operations, database, fence)).outcome == "done"
    assert state(simulator) == "ACTIVE"


@pytest.mark.parametrize("times", [{"dark_after": "1s"}], ids=["brief"])
async def test_a_wake_is_refused_while_the_gate_is_closed(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    operations = Operations(collector)
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    await carry_out(operations, database, fence)
    await asyncio.sleep(1.1)  # longer than dark_after
    ask(database, OperationKind.WAKE)
    ended = await carry_out(operations, database, fence)
    assert ended.outcome == "refused"
    assert "the gate is closed" in ended.detail
    assert not any("restore" in request for request in simulator.requests)


async def waiting_for_capacity(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> Operations:
    """A wake of which a restore was sent, and refused for want of capacity."""
    operations = Operations(collector)
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    await carry_out(operations, database, fence)
    simulator.faults.set("no_stock")
    await collector.tick(fence)
    ask(database, OperationKind.WAKE)
    await operations.advance(fence)
    assert sent(simulator, "/hibernate-restore") >= 1
    return operations


@pytest.mark.parametrize(
    ("reason", "times"), [(Reason.MANUAL, {}), (Reason.DARK, {"dark_after": "3s"})], ids=["manual", "dark"]
)
async def test_a_wake_that_waits_for_capacity_sends_nothing_once_the_gate_has_closed(
    collector: Collector, database: Database, fence: int, simulator: Simulator, reason: Reason
) -> None:
    operations = await waiting_for_capacity(collector, database, fence, simulator)
    before = sent(simulator, "/hibernate-restore")
    if reason is Reason.MANUAL:
        with database.write() as session:
            close_by_hand(session, SystemClock().now(), "ada", "no more money")
    else:
        await asyncio.sleep(3.1)  # longer than dark_after
    simulator.faults.set(None)
    assert reason in (await collector.decide(fence)).reasons
    ended = await carry_out(operations, database, fence)
    assert (ended.outcome, ended.detail.partition(":")[0]) == ("failed", "the gate has closed")
    assert sent(simulator, "/hibernate-restore") == before
    assert state(simulator) == "HIBERNATED"


async def test_a_new_leader_lets_the_gate_decide_before_it_sends_a_wake_on(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    await waiting_for_capacity(collector, database, fence, simulator)
    before = sent(simulator, "/hibernate-restore")
    with database.write() as session:
        close_by_hand(session, SystemClock().now(), "ada", "no more money")
    simulator.faults.set(None)
    collector.verdict = None  # as one has it that begins to lead
    ended = await carry_out(Operations(collector), database, fence)
    assert (ended.outcome, sent(simulator, "/hibernate-restore")) == ("failed", before)


async def test_a_limit_reserved_holds_a_wake_until_it_is_below_again(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    operations = await waiting_for_capacity(collector, database, fence, simulator)
    before = sent(simulator, "/hibernate-restore")
    is_open = collector.verdict
    assert is_open is not None
    collector.verdict = replace(is_open, reasons=(Reason.RESERVED,))
    simulator.faults.set(None)
    for _ in range(10):
        await operations.advance(fence)
        await asyncio.sleep(0.1)
    assert sent(simulator, "/hibernate-restore") == before
    collector.verdict = is_open
    assert (await carry_out(operations, database, fence)).outcome == "done"


async def test_an_instance_that_is_no_longer_as_seen_is_left_alone(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    operations = Operations(collector)
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    machine = simulator.world.find("vm", 8429)
    assert machine is not None
    machine.history.append((simulator.world.now_s(), "SHUTOFF"))
    ended = await carry_out(operations, database, fence)
    assert ended.outcome == "failed"
    assert "no longer ACTIVE" in ended.detail
    assert not any("/hibernate" in request for request in simulator.requests)


async def test_one_who_has_lost_the_lead_sends_nothing(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    with pytest.raises(FenceLost):
        await Operations(collector).advance(fence + 1)
    assert not any("/hibernate" in request for request in simulator.requests)


async def test_who_loses_the_lead_while_the_state_is_read_does_not_send(
    collector: Collector, database: Database, fence: int, simulator: Simulator
) -> None:
    """The fence is asked once more right before the call: a paused leader must not act for the next one."""
    await collector.tick(fence)
    ask(database, OperationKind.HIBERNATE)
    simulator.faults.set("hang", "/core/virtual-machines/8429")
    task = asyncio.create_task(Operations(collector).advance(fence))
    await asyncio.sleep(1.0)  # it waits for the state
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE leadership SET fence = fence + 1")
    simulator.faults.end()
    with pytest.raises(FenceLost):
        await task
    assert not any("/hibernate?" in request for request in simulator.requests)
    assert acquire(database, "test", 600) == fence + 1
