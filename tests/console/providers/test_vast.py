"""The adapter: what is sound is kept, the rest is a problem, and an action is sent once."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.providers.protocol import Accepted, Action, Ambiguous, NoCapacity, Ref, Refused, Unsent
from console.providers.vast import Vast
from console.providers.vast_simulator import VastSimulator, running_vast_simulator
from console.providers.vast_simulator_faults import TOO_FREQUENT
from console.providers.vast_simulator_world import VastWorld
from store.clock import SetClock
from store.words import ResourceKind, State
from tests.console.providers.vast_account import BID, NOW, WORLD, account, charge, charges, said, scripted

RUNNING = (
    '"actual_status": "running", "cur_state": "running", "next_state": "running", "intended_status": "running"'
)

KNOWN = ["vast:charges:instance-1:gte=1514764800"]


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
def simulator(clock: SetClock) -> Iterator[VastSimulator]:
    with running_vast_simulator(VastWorld.from_json(WORLD, clock)) as running:
        yield running


@pytest.fixture
async def cloud(simulator: VastSimulator, clock: SetClock) -> AsyncIterator[Vast]:
    """The adapter over real HTTP to the simulated provider."""
    adapter = Vast("cloud", "key", simulator.base_url, clock=clock, pause_s=0.01)
    yield adapter
    await adapter.close()


async def test_bills_are_running_totals_of_contracts_with_the_providers_own_digits(
    cloud: Vast, clock: SetClock
) -> None:
    clock.advance(3600)
    batch = await cloud.bills(())
    assert batch.complete
    assert {reading.counter for reading in batch.items} == {
        f"vast:charges:{source}:gte=1514764800"
        for source in ("instance-8429", "instance-8430", "volume-5341", "volume-8429")
    }
    bid = next(reading for reading in batch.items if reading.ref == BID)
    assert (bid.raw, bid.total_nusd) == ("2.037", 2_037_000_000)  # bandwidth is in it
    assert bid.rate_nusd_per_hour == 2_000_000_000  # and not in what is quoted
    assert (bid.started_at, bid.as_of, bid.final) == (NOW, clock.now(), False)


async def test_bills_and_inventory_asked_together_ask_each_endpoint_once(
    cloud: Vast, simulator: VastSimulator
) -> None:
    await asyncio.gather(cloud.bills(()), cloud.inventory())
    assert sorted(request.partition("?")[0] for request in simulator.requests) == [
        "GET /api/v0/charges/",
        "GET /api/v0/volumes",
        "GET /api/v1/instances/",
    ]
    assert not any("jupyter_token" in request for request in simulator.requests)


async def test_inventory_says_what_may_be_asked_and_what_sleeping_loses(cloud: Vast) -> None:
    batch = await cloud.inventory()
    assert batch.complete
    machine = next(resource for resource in batch.items if resource.ref == BID)
    assert (machine.state, machine.raw_state, machine.spot_hint) == (State.RUNNING, "running", True)
    assert (machine.can, machine.address) == (frozenset({Action.SLEEP}), "127.0.0.1")
    assert machine.sleep is not None
    assert machine.sleep.billed == "storage"
    disk = next(resource for resource in batch.items if resource.ref == Ref(ResourceKind.VOLUME, "5341"))
    assert (disk.attached_to, disk.can) == ("8429", frozenset())


async def test_stop_and_start(cloud: Vast, simulator: VastSimulator) -> None:
    assert await cloud.act(BID, Action.SLEEP, seen="running") == Accepted()
    asleep = next(one for one in (await cloud.inventory()).items if one.ref == BID)
    assert (asleep.state, asleep.can) == (State.ASLEEP, frozenset({Action.WAKE}))
    refused = await cloud.act(BID, Action.SLEEP, seen="running")
    assert refused == Refused("it is stopped now, no longer running")
    assert await cloud.act(BID, Action.WAKE, seen="stopped") == Accepted()
    assert sum(request.startswith("PUT") for request in simulator.requests) == 2


async def test_the_permit_is_asked_right_before_the_action_is_sent(cloud: Vast, simulator: VastSimulator) -> None:
    async def refuse() -> None:
        assert simulator.requests[-1].startswith("GET /api/v0/instances/8429/")
        raise PermissionError

    with pytest.raises(PermissionError):
        await cloud.act(BID, Action.SLEEP, seen="running", permit=refuse)
    assert not any(request.startswith("PUT") for request in simulator.requests)


async def test_a_dropped_action_is_ambiguous_and_sent_once(cloud: Vast, simulator: VastSimulator) -> None:
    simulator.faults.set("drop_actions")
    assert isinstance(await cloud.act(BID, Action.SLEEP, seen="running"), Ambiguous)
    assert sum(request.startswith("PUT") for request in simulator.requests) == 1
    assert simulator.world.neutral(simulator.world.instances()[0]) is State.ASLEEP  # it was done


async def test_an_action_that_says_no_success_is_refused(cloud: Vast, simulator: VastSimulator) -> None:
    simulator.faults.set("unsuccessful", times=1)
    assert isinstance(await cloud.act(BID, Action.SLEEP, seen="running"), Unsent)
    assert await cloud.act(BID, Action.SLEEP, seen="running") == Accepted()
    simulator.faults.set("no_stock")
    waking = await cloud.act(BID, Action.WAKE, seen="stopped")
    assert isinstance(waking, NoCapacity)
    assert "not available" in waking.reason


@pytest.mark.parametrize("ref", [Ref(ResourceKind.INSTANCE, "1"), Ref(ResourceKind.VOLUME, "5341")])
async def test_an_action_on_what_is_no_instance_is_refused(cloud: Vast, simulator: VastSimulator, ref: Ref) -> None:
    assert isinstance(await cloud.act(ref, Action.SLEEP, seen="running"), Refused)
    assert not any(request.startswith("PUT") for request in simulator.requests)


async def test_a_contract_that_is_no_longer_shown_is_refused() -> None:
    cloud = scripted(lambda _: said('{"instances": null}'))
    assert await cloud.act(BID, Action.WAKE, seen="stopped") == Refused("it does not exist any more")


@pytest.mark.parametrize("answer", ["", "<html>", '{"success"', "null"])
async def test_an_action_answered_by_garbage_is_ambiguous(answer: str) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        return said(answer) if request.method == "PUT" else said(f'{{"instances": {{"id": 8429, {RUNNING}}}}}')

    assert isinstance(await scripted(reply).act(BID, Action.SLEEP, seen="running"), Ambiguous)


async def test_an_instance_that_was_outbid_is_asleep_and_waking_it_waits(
    cloud: Vast, simulator: VastSimulator
) -> None:
    simulator.faults.set("outbid")
    bid, owned = [one for one in (await cloud.inventory()).items if one.ref.kind is ResourceKind.INSTANCE]
    assert (bid.state, bid.raw_state, bid.spot_hint) == (State.ASLEEP, "stopped (intended running)", True)
    assert (owned.state, owned.spot_hint) == (State.RUNNING, False)
    assert isinstance(await cloud.act(BID, Action.WAKE, seen=bid.raw_state), NoCapacity)
    assert not any(request.startswith("PUT") for request in simulator.requests)
    simulator.faults.set(None)
    assert (await cloud.inventory()).items[0].state is State.RUNNING  # it resumes by itself


async def test_a_wake_that_waits_for_its_gpu_is_seen_waking_and_can_be_ended(
    cloud: Vast, simulator: VastSimulator, clock: SetClock
) -> None:
    await cloud.act(BID, Action.SLEEP, seen="running")
    simulator.faults.set("no_capacity")
    assert await cloud.act(BID, Action.WAKE, seen="stopped") == Accepted()
    clock.advance(3600)
    waiting = (await cloud.inventory()).items[0]
    assert (waiting.state, waiting.raw_state) == (State.WAKING, "stopped (next running)")
    assert await cloud.act(BID, Action.SLEEP, seen=waiting.raw_state) == Accepted()
    assert (await cloud.inventory()).items[0].raw_state == "stopped"


@pytest.mark.parametrize(
    ("words", "state", "can"),
    [
        ((None, "running", "running", "running"), State.STARTING, {Action.SLEEP}),
        (("loading", "running", "running", "running"), State.STARTING, {Action.SLEEP}),
        (("frozen", "running", "running", "frozen"), State.RUNNING, {Action.SLEEP}),
        (("running", "running", "stopped", "stopped"), State.SLEEPING, set()),
        (("exited", "stopped", "stopped", "stopped"), State.ASLEEP, {Action.WAKE}),
        (("exited", "running", "running", "running"), State.ERROR, {Action.SLEEP}),
        (("stopped", "stopped", "scheduling", "running"), State.WAKING, {Action.SLEEP}),
        (("scheduling", "stopped", "stopped", "running"), State.WAKING, {Action.SLEEP}),
        (("stopped", "running", "running", "running"), State.WAKING, {Action.SLEEP}),
        (("offline", "running", "running", "running"), State.UNKNOWN, {Action.SLEEP}),
        (("unknown", "stopped", "stopped", "stopped"), State.UNKNOWN, set()),
        (("new\x1b[2J, words=1", "running", "running", "running"), State.UNKNOWN, {Action.SLEEP}),
    ],
)
async def test_states_are_mapped_and_new_ones_are_unknown(
    words: tuple[str | None, ...], state: State, can: set[Action]
) -> None:
    names = ("actual_status", "cur_state", "next_state", "intended_status")
    row = json.dumps({"id": 1, **dict(zip(names, words, strict=True))})
    (machine,) = (await scripted(account(charges(), row)).inventory()).items
    assert (machine.state, set(machine.can)) == (state, can)
    assert not {",", "=", "\x1b"} & set(machine.raw_state)  # operations keep it in a list of id=state


@pytest.mark.parametrize("fault", ["500", "429", "truncated", "clock", "unsuccessful", "loop"])
async def test_a_fault_is_a_problem_and_no_bill(cloud: Vast, simulator: VastSimulator, fault: str) -> None:
    simulator.faults.set(fault)
    batch = await cloud.bills(())
    assert batch.problems
    assert batch.items == () or fault == "loop"
    assert batch.vanished == ()
    assert not (await cloud.inventory()).complete
    simulator.faults.set(None)
    assert (await cloud.bills(())).complete


async def test_a_429_in_plain_text_is_told_as_it_is(cloud: Vast, simulator: VastSimulator) -> None:
    simulator.faults.set("429", "/api/v0/charges/")
    (problem,) = (await cloud.bills(())).problems
    assert problem.endswith(f"HTTP 429: {TOO_FREQUENT}")
    assert sum("charges" in request for request in simulator.requests) == 1  # asking again at once would not help


async def test_a_cursor_that_leads_back_ends(cloud: Vast, simulator: VastSimulator) -> None:
    simulator.faults.set("loop", "/api/v0/charges/")
    batch = await cloud.bills(())
    assert any("next_token leads back" in problem for problem in batch.problems)
    assert sum("charges" in request for request in simulator.requests) <= 3


async def test_a_clock_that_is_off_is_said(cloud: Vast, simulator: VastSimulator) -> None:
    simulator.faults.set("clock")
    assert (await cloud.bills(())).clock_apart == timedelta(days=1)


async def test_a_further_page_waits_for_the_limit_of_requests() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if "charges" not in request.url.path:
            return account("")(request)
        seen.append(request.url.params.get("after_token", "first"))
        if len(seen) == 2:
            return said(TOO_FREQUENT, 429)
        page = charges(charge(), token='"second"') if len(seen) == 1 else charges(charge(source="instance-2"))
        return said(page)

    batch = await scripted(answer).bills(KNOWN)
    assert batch.complete
    assert len(batch.items) == 2
    assert seen == ["first", "second", "second"]


async def test_an_account_of_many_pages_is_read_whole_though_one_is_destroyed_between_them(
    simulator: VastSimulator, cloud: Vast, clock: SetClock
) -> None:
    for id_ in range(9000, 9060):
        simulator.world.create_instance({"id": id_, "name": f"i{id_}", "price_usd_per_hour": "0.5"})

    class Destroying(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if "after_token" in request.url.params and (last := simulator.world.find("vm", 9022)) is not None:
                simulator.world.vanish(last, is_listed=True)  # the very row that the cursor names
            return await super().handle_async_request(request)

    async with httpx.AsyncClient(
        base_url=simulator.base_url, headers={"Authorization": "Bearer key"}, transport=Destroying()
    ) as client:
        batch = await Vast("cloud", "key", clock=clock, client=client).inventory()
    assert batch.complete
    assert len([one for one in batch.items if one.ref.kind is ResourceKind.INSTANCE]) == 62
    assert len([request for request in simulator.requests if "instances" in request]) == 3


async def test_a_destroyed_contract_keeps_its_last_money(
    cloud: Vast, simulator: VastSimulator, clock: SetClock
) -> None:
    clock.advance(600)
    known = [reading.counter for reading in (await cloud.bills(())).items]
    machine = simulator.world.find("vm", 8430)
    assert machine is not None
    simulator.world.vanish(machine, is_listed=True)
    clock.advance(600)
    batch = await cloud.bills(known)
    assert batch.complete
    assert batch.vanished == ()
    gone = next(reading for reading in batch.items if reading.ref.id == "8430")
    assert (gone.raw, gone.active, gone.ends_at) == ("0.225", False, NOW + timedelta(seconds=600))
    assert not gone.final  # late charges are looked for, under this counter and no other
    assert gone.counter in {reading.counter for reading in (await cloud.bills(known[:1])).items}  # final, and read
    clock.advance(3 * 86_400)
    late = {reading.counter: reading for reading in (await cloud.bills(known)).items}
    assert (late[gone.counter].raw, late[gone.counter].final) == ("0.225", True)
    assert gone.counter not in {reading.counter for reading in (await cloud.bills(known[:1])).items}  # history


async def test_an_empty_list_is_no_zero(cloud: Vast, simulator: VastSimulator) -> None:
    known = [reading.counter for reading in (await cloud.bills(())).items]
    simulator.faults.set("empty", "/api/v0/charges/")
    batch = await cloud.bills(known)
    assert batch.items == ()
    assert batch.vanished == tuple(sorted(known))


async def test_a_known_counter_keeps_its_own_start_whatever_the_settings_say(
    simulator: VastSimulator, clock: SetClock
) -> None:
    early = Vast("cloud", "key", simulator.base_url, clock=clock)
    clock.advance(7200)
    known = [reading.counter for reading in (await early.bills(())).items]
    await early.close()
    simulator.world.create_instance({"id": 9000, "name": "new", "price_usd_per_hour": "1"})
    later = Vast("cloud", "key", simulator.base_url, clock=clock, since=NOW + timedelta(hours=1))
    counters = [reading.counter for reading in (await later.bills(known)).items]
    await later.close()
    assert [one for one in counters if one not in known] == ["vast:charges:instance-9000:gte=1795510800"]
    assert set(known) < set(counters)


async def test_what_ended_before_our_time_or_may_be_known_by_another_start_is_not_counted_anew(
    simulator: VastSimulator, clock: SetClock
) -> None:
    machine = simulator.world.find("vm", 8430)
    assert machine is not None
    simulator.world.vanish(machine, is_listed=True)
    clock.advance(600)
    for start, known in ((NOW.replace(hour=0), "vast:charges:instance-8429:gte=1514764800"), (None, None)):
        options = {} if start is None else {"since": start}
        cloud = Vast("cloud", "key", simulator.base_url, clock=clock, **options)  # type: ignore[arg-type]
        batch = await cloud.bills([known] if known else ())
        await cloud.close()
        assert batch.complete
        assert "8430" not in {reading.ref.id for reading in batch.items}


async def test_without_an_inventory_bills_are_read_all_the_same(cloud: Vast, simulator: VastSimulator) -> None:
    simulator.faults.set("429", "/api/v1/instances/")
    batch = await cloud.bills(())
    assert batch.complete
    assert len(batch.items) == 4
    assert not any(reading.final or reading.active for reading in batch.items if reading.ref == BID)


async def test_sound_rows_are_kept_beside_unsound_ones() -> None:
    rows = (charge("1.5"), charge("NaN", "instance-2"), charge("2.5", "volume-3"))
    batch = await scripted(account(charges(*rows))).bills(KNOWN)
    assert [reading.raw for reading in batch.items] == ["1.5", "2.5"]
    (problem,) = batch.problems
    assert problem == "/api/v0/charges/: instance-2: amount 'NaN': is not finite; this reading is not used"


async def test_a_contract_listed_twice_is_a_problem() -> None:
    batch = await scripted(account(charges(charge("1.5"), charge("1.7")))).bills(KNOWN)
    assert len(batch.items) == 1
    assert "listed twice" in batch.problems[0]


@pytest.mark.parametrize("rate", ["null", '"x"', "1e300", "-5", "NaN"])
async def test_a_corrupted_rate_changes_no_bill(rate: str) -> None:
    row = f'{{"id": 1, {RUNNING}, "dph_total": {rate}}}'
    batch = await scripted(account(charges(charge("1.5")), row)).bills(())
    assert batch.complete
    assert batch.items[0].total_nusd == 1_500_000_000


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
_LISTS = ("success", "results", "instances", "volumes", "next_token")
_STATES = ("actual_status", "cur_state", "next_state", "intended_status")
_FIELDS = ("source", "amount", "id", "start", "end", "metadata", "label", "dph_total", "storage_total_cost")
_NAMES = st.sampled_from((*_LISTS, *_STATES, *_FIELDS))
_BODIES = st.recursive(
    _SCALARS | st.sampled_from(["instance-1", "running", "stopped"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=6),
    max_leaves=12,
).map(json.dumps) | st.text(max_size=40)


@given(_BODIES, _BODIES, st.sampled_from([200, 302, 400, 404, 429]))
def test_whatever_is_answered_nothing_raises_and_no_bill_is_invented(text: str, other: str, status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return said(text if "charges" in request.url.path else other, status)

    async def ask() -> None:
        cloud = scripted(answer, windows="second")
        batch = await cloud.bills(["vast:charges:instance-1:gte=1514764800", "of another provider"])
        assert all(f'"amount": {reading.raw}' in text for reading in batch.items)
        found = {reading.counter for reading in batch.items}
        assert batch.problems or {*batch.vanished, *found} >= {"of another provider"}
        listed = await cloud.inventory()
        billed = await cloud.billed(NOW - timedelta(hours=1), NOW)
        assert all(one.isprintable() and len(one) < 1000 for one in (*batch.problems, *listed.problems))
        assert all(one.isprintable() and len(one) < 1000 for one in billed.problems)
        outcome = await cloud.act(BID, Action.SLEEP, seen="running")
        assert not isinstance(outcome, Accepted) or status == 200
        await cloud.close()

    asyncio.run(ask())
