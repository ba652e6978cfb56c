"""The RunPod adapter over real HTTP: hours are counters, a limit is obeyed, and an action is sent once."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.providers.protocol import (
    Accepted,
    Action,
    Ambiguous,
    Batch,
    BillReading,
    NoCapacity,
    Ref,
    Refused,
    Unsent,
)
from console.providers.runpod import RunPod
from console.providers.runpod_simulator import RunPodSimulator, running_runpod
from console.providers.runpod_simulator_world import SimulatedResource, SimulatedRunPod
from store.clock import SetClock
from store.words import ResourceKind, State

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
POD, VOLUME = Ref(ResourceKind.INSTANCE, "7h9k2m4n6p"), Ref(ResourceKind.VOLUME, "2q9m7x4c")
WORLD = {
    "instances": [
        {
            "id": POD.id,
            "name": "h100-a",
            "price_usd_per_hour": "2.39",
            "asleep_usd_per_hour": "0.0055556",
            "address": "127.0.0.1",
        },
        {"id": "3w8r5t1y2u", "name": "l40s-a", "gpu": "NVIDIA L40S", "price_usd_per_hour": "0.86"},
    ],
    "volumes": [{"id": VOLUME.id, "name": "weights", "price_usd_per_hour": "0.0097223", "age_s": 90_000}],
    "quota_per_minute": 600,
    "restore_s": 30,
}


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


@pytest.fixture
def simulator(clock: SetClock) -> Iterator[RunPodSimulator]:
    """Two pods and a volume behind HTTP, by a clock that the test moves."""
    with running_runpod(SimulatedRunPod.from_json(WORLD, clock)) as running:
        yield running


@pytest.fixture
async def cloud(simulator: RunPodSimulator, clock: SetClock) -> AsyncIterator[RunPod]:
    """The adapter over real HTTP to the simulated account."""
    adapter = RunPod("cloud", "key", simulator.base_url, clock=clock)
    yield adapter
    await adapter.close()


def pod_of(simulator: RunPodSimulator) -> SimulatedResource:
    found = simulator.world.find("pod", POD.id)
    assert found is not None
    return found


def scripted(answer: Callable[[httpx.Request], httpx.Response]) -> RunPod:
    """The adapter over answers written by hand."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://cloud")
    return RunPod("cloud", "key", clock=SetClock(START), client=client)


def of(batch: Batch[BillReading], ref: Ref) -> list[BillReading]:
    return [one for one in batch.items if one.ref == ref]


async def test_each_hour_is_a_counter_that_starts_from_zero(cloud: RunPod, clock: SetClock) -> None:
    clock.advance(3600 + 310)
    closed, current = of(await cloud.bills(()), POD)
    assert closed.counter == f"runpod:pod:{POD.id}:hour:2026-11-24T08:00:00Z"
    assert (closed.total_nusd, closed.ends_at) == (2_390_000_000, START + timedelta(hours=1))
    assert (current.started_at, current.total_nusd) == (START + timedelta(hours=1), 199_166_666)
    assert (closed.rate_nusd_per_hour, current.rate_nusd_per_hour) == (None, 2_390_000_000)
    assert (closed.final, current.final, current.step) == (False, False, timedelta(minutes=5))
    clock.advance(601)
    closed, current = of(await cloud.bills([closed.counter, current.counter]), POD)
    assert (closed.final, current.final) == (True, False)  # closed for three steps


async def test_an_hour_that_is_done_is_told_while_it_is_watched_and_when_it_moves(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock
) -> None:
    clock.advance(5400)
    first = await cloud.bills(())
    closed = of(first, POD)[0]
    clock.advance(1000)
    assert closed.counter not in {one.counter for one in (await cloud.bills(())).items}
    assert closed.counter in {one.counter for one in (await cloud.bills([closed.counter])).items}
    simulator.world.correct(pod_of(simulator), -90_000_000, of_s=int(START.timestamp()) + 60)
    revised = [one for one in (await cloud.bills(())).items if one.counter == closed.counter]
    assert [one.total_nusd for one in revised] == [2_300_000_000]


async def test_a_watched_hour_is_asked_for_however_long_ago_it_was(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock
) -> None:
    clock.advance(600)
    known = [one.counter for one in (await cloud.bills(())).items]
    clock.advance(30 * 3600)
    after = await cloud.bills(known)
    assert after.complete
    assert after.vanished == ()
    assert len(of(after, POD)) == 31  # every hour of the outage is there, and each begins at zero


async def test_once_an_hour_late_revisions_are_looked_for_two_days_back(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock
) -> None:
    clock.advance(20 * 3600)
    await cloud.bills(())
    for _ in range(2):
        clock.advance(3601)
        await cloud.bills(())
    simulator.world.correct(pod_of(simulator), -1_000_000, of_s=int(START.timestamp()) + 60)
    clock.advance(60)
    assert not [one for one in (await cloud.bills(())).items if one.started_at == START]
    clock.advance(3601)
    (revised,) = [one for one in (await cloud.bills(())).items if one.started_at == START]
    assert revised.total_nusd == 2_389_000_000


async def test_a_terminated_pods_last_hour_is_still_read(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock
) -> None:
    clock.advance(610)
    known = [one.counter for one in (await cloud.bills(())).items]
    simulator.world.vanish(pod_of(simulator))
    clock.advance(300)
    batch = await cloud.bills(known)
    (last,) = of(batch, POD)
    assert (last.total_nusd, last.active, batch.vanished) == (2_390_000_000 * 610 // 3600, False, ())
    assert POD not in {one.ref for one in (await cloud.inventory()).items}


async def test_an_empty_bill_is_no_zero(cloud: RunPod, simulator: RunPodSimulator, clock: SetClock) -> None:
    clock.advance(610)
    known = [one.counter for one in (await cloud.bills(())).items]
    simulator.faults.set("empty", "/v2/billing")
    batch = await cloud.bills(known)
    assert (batch.items, batch.vanished) == ((), tuple(sorted(known)))


async def test_a_stopped_pods_disk_is_billed_twice_over_and_quoted_so(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock
) -> None:
    clock.advance(600)
    assert await cloud.act(POD, Action.SLEEP, seen="RUNNING") == Accepted()
    clock.advance(3000)
    closed = of(await cloud.bills(()), POD)[0]
    assert closed.total_nusd == (2_390_000_000 * 600 + 5_555_600 * 3000) // 3600
    asleep = next(one for one in (await cloud.inventory()).items if one.ref == POD)
    assert (asleep.state, asleep.raw_state, asleep.can) == (State.ASLEEP, "EXITED", frozenset({Action.WAKE}))
    assert asleep.sleep is not None
    assert "the whole pod if the balance reaches $0" in asleep.sleep.loses
    clock.advance(600)
    assert of(await cloud.bills(()), POD)[-1].rate_nusd_per_hour == 5_555_555  # the API itself says 0.0
    assert await cloud.act(POD, Action.WAKE, seen="EXITED") == Accepted()
    waking = next(one for one in (await cloud.inventory()).items if one.ref == POD)
    assert (waking.state, waking.can) == (State.STARTING, frozenset({Action.SLEEP}))
    clock.advance(30)
    assert next(one for one in (await cloud.inventory()).items if one.ref == POD).state is State.RUNNING


@pytest.mark.parametrize("fault", ["500", "truncated"])
async def test_a_fault_is_a_problem_and_no_bill(cloud: RunPod, simulator: RunPodSimulator, fault: str) -> None:
    simulator.faults.set(fault)
    batch = await cloud.bills(())
    assert batch.items == ()
    assert batch.problems
    assert not (await cloud.inventory()).complete
    assert isinstance(await cloud.billed_total(START, START + timedelta(hours=1)), str)
    simulator.faults.set(None)
    assert (await cloud.bills(())).complete


@pytest.mark.parametrize("fault", ["nan", "string", "digits", "negative", "twice"])
async def test_an_unsound_record_is_a_problem_and_the_others_stand(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock, fault: str
) -> None:
    clock.advance(610)
    sound = {one.counter for one in (await cloud.bills(())).items}
    simulator.faults.set(fault)
    batch = await cloud.bills(sound)
    assert len(batch.problems) >= 1
    assert batch.vanished == ()
    assert {one.counter for one in batch.items} < sound or fault == "twice"


async def test_a_clock_apart_is_told(cloud: RunPod, simulator: RunPodSimulator) -> None:
    simulator.faults.set("clock")
    assert (await cloud.bills(())).clock_apart == timedelta(days=1)


async def test_after_a_429_nothing_is_asked_until_its_time_is_over(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock
) -> None:
    simulator.faults.set("429", times=1)
    assert "HTTP 429" in (await cloud.inventory()).problems[0]
    asked = len(simulator.requests)
    batch = await cloud.bills(())
    assert "rate limit of the minute: asks again in 12 s" in batch.problems[0]
    assert isinstance(await cloud.act(POD, Action.SLEEP, seen="RUNNING"), Unsent)
    assert len(simulator.requests) == asked
    clock.advance(12)
    assert (await cloud.bills(())).complete


async def test_a_quota_that_is_used_up_is_waited_for_without_a_429(clock: SetClock) -> None:
    world = SimulatedRunPod.from_json({**WORLD, "quota_per_minute": 5}, clock)
    with running_runpod(world) as simulator:
        cloud = RunPod("cloud", "key", simulator.base_url, clock=clock)
        assert (await cloud.bills(())).complete  # five questions
        assert (await cloud.inventory()).complete is False
        clock.advance(60)
        assert (await cloud.inventory()).complete
        await cloud.close()


async def test_a_limit_that_is_announced_is_obeyed_before_it_bites() -> None:
    headers = {"Date": format_datetime(START, usegmt=True), "RateLimit": '"minute";r=0;t=7'}
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, text='{"pods": [], "networkVolumes": []}', headers=headers)

    cloud = scripted(answer)
    await cloud.inventory()
    count = len(asked)
    assert "asks again in 7 s" in (await cloud.inventory()).problems[0]
    assert len(asked) == count


@pytest.mark.parametrize("path", ["network-volumes", "networkvolumes"])
async def test_volumes_are_billed_at_either_of_the_two_documented_paths(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock, path: str
) -> None:
    simulator.world.volume_path = path
    batch = await cloud.bills(())
    assert batch.complete
    assert of(batch, VOLUME)
    asked = len(simulator.requests)
    assert of(await cloud.bills(()), VOLUME)
    assert len(simulator.requests) - asked == 5  # the path that answers is remembered


async def test_where_neither_path_answers_the_batch_is_incomplete(
    cloud: RunPod, simulator: RunPodSimulator
) -> None:
    simulator.world.volume_path = "elsewhere"
    assert "HTTP 404" in (await cloud.bills(())).problems[0]


async def test_a_dropped_action_is_ambiguous_and_sent_once(cloud: RunPod, simulator: RunPodSimulator) -> None:
    simulator.faults.set("drop", f"/v2/pods/{POD.id}/action")
    assert isinstance(await cloud.act(POD, Action.SLEEP, seen="RUNNING"), Ambiguous)
    assert sum(request.startswith("POST") for request in simulator.requests) == 1


async def test_what_a_pod_does_not_offer_is_not_asked(cloud: RunPod, simulator: RunPodSimulator) -> None:
    pod_of(simulator).is_locked = True
    assert await cloud.act(POD, Action.SLEEP, seen="RUNNING") == Refused("RUNNING does not allow to sleep")
    assert await cloud.act(POD, Action.SLEEP, seen="EXITED") == Refused("it is RUNNING now, no longer EXITED")
    assert isinstance(await cloud.act(Ref(ResourceKind.INSTANCE, "1"), Action.SLEEP, seen="RUNNING"), Refused)
    assert not [request for request in simulator.requests if request.startswith("POST")]


async def test_a_host_without_a_free_gpu_is_no_capacity(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock
) -> None:
    simulator.world.do(pod_of(simulator), "stop")
    simulator.faults.set("no_stock")
    assert isinstance(await cloud.act(POD, Action.WAKE, seen="EXITED"), NoCapacity)
    simulator.faults.set("no_capacity")
    assert await cloud.act(POD, Action.WAKE, seen="EXITED") == Accepted()
    clock.advance(30)
    fallen = next(one for one in (await cloud.inventory()).items if one.ref == POD)
    assert fallen.state is State.ASLEEP


@pytest.mark.parametrize(("status", "detail"), [(402, "insufficient balance"), (409, "not valid"), (422, "no")])
async def test_a_refusal_says_what_runpod_says(status: int, detail: str) -> None:
    pod = '{"id": "a", "name": "a", "status": "EXITED", "actions": ["start"]}'
    headers = {"Date": format_datetime(START, usegmt=True)}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, text=pod, headers=headers)
        return httpx.Response(status, json={"title": "x", "status": status, "detail": detail}, headers=headers)

    outcome = await scripted(answer).act(Ref(ResourceKind.INSTANCE, "a"), Action.WAKE, seen="EXITED")
    assert outcome == Refused(f"HTTP {status}: {detail}")


async def test_a_pod_that_was_given_back_with_zero_gpus_does_not_run() -> None:
    pod = '{"id": "a", "name": "a", "status": "RUNNING", "actions": ["stop"], "gpu": {"id": "H100", "count": 0}}'
    text = f'{{"pods": [{pod}], "networkVolumes": []}}'
    headers = {"Date": format_datetime(START, usegmt=True)}
    cloud = scripted(lambda _: httpx.Response(200, text=text, headers=headers))
    (found,) = (await cloud.inventory()).items
    assert (found.state, found.raw_state) == (State.ERROR, "RUNNING (zero GPUs)")


async def test_the_windowed_bill_is_of_whole_hours_and_adds_up_to_the_accounts(
    cloud: RunPod, simulator: RunPodSimulator, clock: SetClock
) -> None:
    clock.advance(2 * 3600 + 1500)
    window = (START, clock.now())
    batch = await cloud.billed(*window)
    assert batch.complete
    world = simulator.world
    truth = {
        one.id: one.billed_nusd(int(START.timestamp()), world.now_s(), world.now_s()) for one in world.resources
    }
    assert {one.ref.id: one.nusd for one in batch.items} == truth
    assert await cloud.billed_total(*window) == sum(truth.values())
    for part in (
        (START + timedelta(minutes=1), clock.now()),
        (START, START + timedelta(minutes=90)),
    ):
        assert "bills by the hour" in (await cloud.billed(*part)).problems[0]
        assert "bills by the hour" in str(await cloud.billed_total(*part))
    assert (await cloud.billed(START - timedelta(hours=9), START - timedelta(hours=8))).items[0].ref == VOLUME


ACTS = st.lists(
    st.tuples(st.integers(1, 4 * 3600), st.sampled_from(["stop", "start", "correct", "terminate", "nothing"])),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25)
@given(ACTS, st.sampled_from(["day", "hour", "year"]))
def test_whatever_happens_the_parts_of_a_bill_add_up_to_the_whole(acts: list[tuple[int, str]], size: str) -> None:
    """Over any partition of time into hours, days or years, corrections included; and over time as it is told."""
    from console.providers.runpod_simulator_world import bucket_at

    clock = SetClock(START)
    world = SimulatedRunPod.from_json(WORLD, clock)
    pod, told = world.resources[0], [0]
    for seconds, act in acts:
        clock.advance(seconds)
        if act == "correct":
            world.correct(pod, -1_234_567, of_s=world.began_s + 1)
        elif act in world.actions(pod) and pod.deleted_s is None:
            world.do(pod, act)
        told.append(pod.total_nusd(world.now_s()))
    now, (start, end) = world.now_s(), bucket_at(size, world.began_s)
    parts = []
    while start <= now:
        parts.append(pod.billed_nusd(start, end, now))
        start, end = bucket_at(size, end)
    assert sum(parts) == pod.total_nusd(now) == told[0] + sum(after - before for before, after in pairwise(told))
