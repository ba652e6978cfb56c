"""The adapter: what is sound is kept, the rest is a problem, and an action is sent once."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from console.providers.hyperstack import Hyperstack
from console.providers.protocol import Accepted, Action, Ambiguous, Ref, Refused
from console.providers.simulator import Simulator
from store.clock import SetClock, SystemClock
from store.words import ResourceKind, State

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
MACHINE = Ref(ResourceKind.INSTANCE, "8429")


@pytest.fixture
async def cloud(simulator: Simulator) -> AsyncIterator[Hyperstack]:
    """The adapter over real HTTP to the simulated provider."""
    adapter = Hyperstack("cloud", "key", simulator.base_url, clock=SystemClock())
    yield adapter
    await adapter.close()


def scripted(answer: Callable[[httpx.Request], httpx.Response]) -> Hyperstack:
    """The adapter over answers written by hand."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://cloud/v1")
    return Hyperstack("cloud", "key", clock=SetClock(NOW), client=client)


def usage(*rows: str, date: str = format_datetime(NOW, usegmt=True)) -> httpx.Response:
    text = f'{{"status": true, "message": "", "data": [{", ".join(rows)}]}}'
    return httpx.Response(200, text=text, headers={"Date": date})


def row(total: str = "1.5", id_: int = 1, **changes: str) -> str:
    fields = {
        "resource_id": str(id_),
        "resource_type": '"vm"',
        "name": '"a"',
        "create_time": '"2026-11-01T00:00:00Z"',
        "total_bill": total,
        "bill_per_minute": "0.03",
        **changes,
    }
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


async def test_bills_are_counters_with_the_providers_own_digits(cloud: Hyperstack, simulator: Simulator) -> None:
    batch = await cloud.bills(())
    assert batch.complete
    assert len({reading.counter for reading in batch.items}) == 4  # machine and volume 8429 are two
    machine = next(reading for reading in batch.items if reading.ref == MACHINE)
    assert machine.rate_nusd_per_hour in range(1_999_999_000, 2_000_001_000)
    assert machine.currency == "USD"
    assert not machine.final


async def test_inventory_says_what_may_be_asked_and_what_sleeping_loses(cloud: Hyperstack) -> None:
    batch = await cloud.inventory()
    assert batch.complete
    machine = next(resource for resource in batch.items if resource.ref == MACHINE)
    assert (machine.state, machine.raw_state, machine.spot_hint) == (State.RUNNING, "ACTIVE", True)
    assert machine.can == {Action.SLEEP}
    assert machine.sleep is not None
    assert machine.sleep.billed == "storage"
    assert machine.address == "127.0.0.1"


async def test_hibernate_and_restore(cloud: Hyperstack, simulator: Simulator) -> None:
    assert await cloud.act(MACHINE, Action.SLEEP, seen="ACTIVE") == Accepted()
    asleep = next(one for one in (await cloud.inventory()).items if one.ref == MACHINE)
    assert (asleep.state, asleep.can) == (State.ASLEEP, frozenset({Action.WAKE}))
    refused = await cloud.act(MACHINE, Action.SLEEP, seen="ACTIVE")
    assert refused == Refused("it is HIBERNATED now, no longer ACTIVE")
    assert await cloud.act(MACHINE, Action.WAKE, seen="HIBERNATED") == Accepted()


async def test_a_dropped_action_is_ambiguous_and_sent_once(cloud: Hyperstack, simulator: Simulator) -> None:
    simulator.faults.set("drop", "/core/virtual-machines/8429/hibernate")
    assert isinstance(await cloud.act(MACHINE, Action.SLEEP, seen="ACTIVE"), Ambiguous)
    assert sum("/hibernate" in request for request in simulator.requests) == 1


async def test_an_action_on_what_does_not_exist_is_refused(cloud: Hyperstack) -> None:
    nobody = Ref(ResourceKind.INSTANCE, "1")
    assert isinstance(await cloud.act(nobody, Action.SLEEP, seen="ACTIVE"), Refused)


@pytest.mark.parametrize("fault", ["500", "429", "drop"])
async def test_a_fault_is_a_problem_and_no_bill(cloud: Hyperstack, simulator: Simulator, fault: str) -> None:
    simulator.faults.set(fault)
    batch = await cloud.bills(())
    assert batch.items == ()
    assert len(batch.problems) == 1
    assert not (await cloud.inventory()).complete
    simulator.faults.set(None)
    assert (await cloud.bills(())).complete


async def test_a_read_is_asked_again_once_after_a_500(cloud: Hyperstack, simulator: Simulator) -> None:
    simulator.faults.set("500", times=1)
    assert (await cloud.bills(())).complete


async def test_an_empty_list_is_no_zero(cloud: Hyperstack, simulator: Simulator) -> None:
    known = [reading.counter for reading in (await cloud.bills(())).items]
    simulator.faults.set("empty", "/billing")
    batch = await cloud.bills(known)
    assert batch.vanished == tuple(sorted(known))


@pytest.mark.parametrize("is_listed", [True, False])
async def test_a_vanished_resource_is_looked_for_among_the_deleted(
    cloud: Hyperstack, simulator: Simulator, is_listed: bool
) -> None:
    known = [reading.counter for reading in (await cloud.bills(())).items]
    machine = simulator.world.find("vm", 8430)
    assert machine is not None
    simulator.world.vanish(machine, is_listed=is_listed)
    batch = await cloud.bills(known)
    assert (batch.vanished == ()) is is_listed
    assert [reading.active for reading in batch.items].count(False) == int(is_listed)


def ended_at(minute: int, total: str = "1.5", id_: int = 9, **changes: str) -> str:
    """A row of the deleted, created at 07:00 and terminated at a minute of seven o'clock."""
    times = {"create_time": '"2026-11-24T07:00:00Z"', "terminate_time": f'"2026-11-24T07:{minute:02}:00Z"'}
    return row(total, id_, **{**times, "bill_per_minute": "null", **changes})


def account(live: Sequence[str], deleted: Sequence[str]) -> Hyperstack:
    """An account with these rows; the lists may be changed later."""
    return scripted(lambda asked: usage(*(deleted if asked.url.params.get("deleted") else live)))


@pytest.mark.parametrize(("minute", "is_final"), [(59, False), (46, False), (45, True)])
async def test_a_deleted_resource_is_final_when_its_fields_have_caught_up(minute: int, is_final: bool) -> None:
    (bill,) = (
        await account((), (ended_at(minute),)).bills(("hyperstack:usage:vm:9:2026-11-24T07:00:00+00:00",))
    ).items
    assert bill.final is is_final
    assert bill.ends_at is None  # it is a lifetime's bill: we have seen it live


async def test_what_lived_between_two_ticks_is_billed_as_a_closed_period() -> None:
    cloud = account((row(),), (ended_at(50),))
    batch = await cloud.bills(())
    assert batch.complete
    bill = next(one for one in batch.items if one.ref.id == "9")
    assert (bill.raw, bill.active, bill.final) == ("1.5", False, False)
    assert (bill.started_at, bill.ends_at) == (NOW - timedelta(hours=1), NOW - timedelta(minutes=10))
    assert len((await cloud.bills(())).items) == 2  # the store has not heard of it
    assert len((await cloud.bills((bill.counter,))).items) == 2
    assert len((await cloud.bills(())).items) == 1  # it has


async def test_what_ended_and_was_billed_is_told_for_an_hour_after_a_restart() -> None:
    clock = SetClock(NOW)
    rows = {"": (row(),), "true": (ended_at(0), ended_at(1, id_=10))}

    def answer(asked: httpx.Request) -> httpx.Response:
        return usage(*rows[asked.url.params.get("deleted", "")], date=format_datetime(clock.now(), usegmt=True))

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://cloud/v1")
    cloud, told = Hyperstack("cloud", "key", clock=clock, client=client), []
    for _ in range(4):
        told.append(len((await cloud.bills(())).items))
        clock.advance(1800)
    rows["true"] = (ended_at(0), ended_at(1, "1.6", id_=10))
    told.append(len((await cloud.bills(())).items))
    assert told == [3, 3, 1, 1, 2]  # a last cent is told, however late
    await cloud.close()


async def test_what_was_deleted_long_ago_spoils_nothing() -> None:
    old = {"create_time": '"2026-10-01T00:00:00Z"', "terminate_time": '"2026-11-20T00:00:00Z"'}
    deleted = [row("-1", 7, **old), row("1.5", 8, **old)]
    batch = await account((row(),), deleted).bills(())
    assert batch.complete
    assert [one.ref.id for one in batch.items] == ["1"]
    deleted.append(ended_at(50, "-1"))
    assert "resource 9" in (await account((row(),), deleted).bills(())).problems[0]


async def test_sound_rows_are_kept_beside_unsound_ones() -> None:
    cloud = scripted(lambda _: usage(row("1.5", 1), row("NaN", 2), row("2.5", 3)))
    batch = await cloud.bills(())
    assert [reading.raw for reading in batch.items] == ["1.5", "2.5"]
    assert len(batch.problems) == 1
    assert "resource 2" in batch.problems[0]


async def test_a_resource_listed_twice_is_a_problem() -> None:
    batch = await scripted(lambda _: usage(row("1.5"), row("1.7"))).bills(())
    assert len(batch.items) == 1
    assert "listed twice" in batch.problems[0]


@pytest.mark.parametrize("rate", ["null", '"x"', "1e300", "-5", "0"])
async def test_a_corrupted_rate_changes_no_bill(rate: str) -> None:
    batch = await scripted(lambda _: usage(row("1.5", bill_per_minute=rate))).bills(())
    assert batch.complete
    assert batch.items[0].total_nusd == 1_500_000_000


@pytest.mark.parametrize(
    ("date", "problem"),
    [
        ("Tue, 24 Nov 2026 07:59:00 GMT", "60 s away"),
        ("Mon, 23 Nov 2026 08:00:00 GMT", "86400 s away"),
        ("yesterday", "no readable Date"),
    ],
)
async def test_a_clock_that_is_off_makes_the_answer_incomplete(date: str, problem: str) -> None:
    batch = await scripted(lambda _: usage(row(), date=date)).bills(())
    assert not batch.complete
    assert problem in batch.problems[0]


async def test_pages_are_read_until_one_is_short() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        first = (page - 1) * 99  # the list moved between pages: one machine is in both
        count = 100 if page < 3 else 5
        rows = ", ".join(f'{{"id": {first + n}, "status": "ACTIVE"}}' for n in range(count))
        field = "instances" if "virtual-machines" in request.url.path else "volumes"
        body = f'{{"status": true, "{field}": [{rows}]}}'
        return httpx.Response(200, text=body, headers={"Date": format_datetime(NOW, usegmt=True)})

    batch = await scripted(answer).inventory()
    assert batch.complete
    assert len([one for one in batch.items if one.ref.kind is ResourceKind.INSTANCE]) == 203


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ("SHUTOFF", State.HALTED_BILLED),
        ("RESTORING", State.WAKING),
        ("HIBERNATING", State.SLEEPING),
        ("NEW", State.UNKNOWN),
    ],
)
async def test_states_are_mapped_and_new_ones_are_unknown(raw: str, state: State) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        field = "instances" if "virtual-machines" in request.url.path else "volumes"
        rows = f'{{"id": 1, "status": "{raw}"}}' if field == "instances" else ""
        body = f'{{"status": true, "{field}": [{rows}]}}'
        return httpx.Response(200, text=body, headers={"Date": format_datetime(NOW, usegmt=True)})

    (machine,) = (await scripted(answer).inventory()).items
    assert (machine.state, machine.raw_state, machine.can) == (state, raw, frozenset())
