"""Whatever breaks inside an engine fails its requests with what they used, and the thread goes on."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from agent.engine.null import NullEngine
from agent.engine.protocol import Event, Failed, Finished, GenRequest, Outcome, Usage
from agent.scheduler import Scheduler


class BrokenEngine(NullEngine):
    """The null engine, with faults to order."""

    def __init__(self) -> None:
        super().__init__(max_batch=4, step_ms=1)
        self.faults: set[str] = set()
        self.goes_on = threading.Event()

    def submit(self, request: GenRequest) -> None:
        self._fault("submit")
        super().submit(request)

    def step(self) -> list[Event]:
        self._fault("step")
        if "hang" in self.faults:
            self.goes_on.wait(20)
        return super().step()

    def cap(self, request_id: str, max_tokens: int) -> None:
        self._fault("cap")
        super().cap(request_id, max_tokens)

    def reset(self) -> dict[str, Usage]:
        self._fault("reset")
        return super().reset()

    def _fault(self, name: str) -> None:
        if name in self.faults:
            raise RuntimeError(name)


@pytest.fixture
async def engine() -> BrokenEngine:
    return BrokenEngine()


@pytest.fixture
async def scheduler(engine: BrokenEngine) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(lambda: engine)
    await scheduler.start()
    yield scheduler
    engine.faults.clear()
    engine.goes_on.set()
    scheduler.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


class Heard:
    """One request, and what is heard of it."""

    def __init__(self, scheduler: Scheduler, name: str, max_tokens: int = 5000) -> None:
        self.events: list[Event] = []
        self.ended = asyncio.Event()
        scheduler.submit(GenRequest(name, [1, 2], max_tokens), self.hear)

    def hear(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Finished | Failed):
            self.ended.set()

    async def end(self) -> Finished | Failed:
        await asyncio.wait_for(self.ended.wait(), 60)
        last = self.events[-1]
        assert isinstance(last, Finished | Failed)
        return last


async def test_a_step_that_breaks_fails_all_with_their_usage_and_the_next_request_is_served(
    scheduler: Scheduler, engine: BrokenEngine
) -> None:
    heard = [Heard(scheduler, name) for name in "abcdef"]
    await until(lambda: all(one.events for one in heard[:4]))
    engine.faults.add("step")
    ends = [await one.end() for one in heard]
    assert {type(end) for end in ends} == {Failed}
    assert [end.usage.prompt_tokens for end in ends] == [2, 2, 2, 2, 0, 0]  # four were active
    assert all(end.usage.completion_tokens > 0 for end in ends[:4])
    engine.faults.clear()
    assert isinstance(await Heard(scheduler, "next", 3).end(), Finished)
    assert scheduler.in_flight == 0


@pytest.mark.parametrize("faults", [{"submit"}, {"submit", "reset"}, {"step", "reset"}])
async def test_nobody_is_left_waiting(scheduler: Scheduler, engine: BrokenEngine, faults: set[str]) -> None:
    running = Heard(scheduler, "running")
    await until(lambda: bool(running.events))
    engine.faults |= faults
    late = Heard(scheduler, "late")
    assert isinstance(await running.end(), Failed)
    assert isinstance(await late.end(), Failed)
    engine.faults.clear()
    assert isinstance(await Heard(scheduler, "next", 3).end(), Finished)


async def test_a_command_that_breaks_takes_no_other_with_it(scheduler: Scheduler, engine: BrokenEngine) -> None:
    engine.faults.add("cap")
    scheduler.cap("unknown", 1)
    assert (await Heard(scheduler, "next", 3).end()).usage == Usage(2, 0, 3)


async def test_a_hanging_step_stops_the_heart_and_a_stop_does_not_wait_for_it(
    engine: BrokenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.scheduler._ENDS_WITHIN_S", 0.2)
    scheduler = Scheduler(lambda: engine)
    await scheduler.start()
    engine.faults.add("hang")
    heard = Heard(scheduler, "hanging")
    await until(lambda: scheduler.heartbeat_age_s > 0.7)  # longer than from one idle beat to the next
    stopping_s = time.monotonic()
    scheduler.stop()
    assert time.monotonic() - stopping_s < 15
    assert not heard.events
    engine.goes_on.set()


async def test_the_idle_heart_beats(scheduler: Scheduler) -> None:
    first_s = scheduler._beat_s
    await until(lambda: scheduler._beat_s != first_s)
    assert scheduler.busy_ms == 0


async def test_a_cancel_before_the_engine_knows_the_request_still_ends_it(scheduler: Scheduler) -> None:
    def at_once(cancel: Callable[[str], None]) -> Heard:
        heard = Heard(scheduler, "brief")
        cancel("brief")
        return heard

    end = await at_once(scheduler.cancel).end()
    assert isinstance(end, Finished)
    assert end.outcome is Outcome.CANCELLED
