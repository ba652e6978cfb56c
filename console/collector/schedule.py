"""When things happen: leading, ticking, deciding, carrying out. The only file that imports apscheduler."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from console.collector.alarms import Alarms, Channels
from console.collector.backfill import Backfill
from console.collector.clock_jumps import ClockJumps
from console.collector.operations import Operations
from console.collector.rules import Rules
from console.collector.tick import Collector, in_store
from console.errors import ClockApart
from store.errors import ClockBehind, FenceLost, MtokError
from store.leader import acquire, release, yield_lead
from store.process import this_process

log = structlog.get_logger()
logging.getLogger("apscheduler").addHandler(logging.NullHandler())  # `_heard` says it; its tracebacks go to stderr

# A late run is better than none (the default grace of 1 s drops it), one late run stands for all missed,
# and a run never overlaps itself.
_OPTIONS = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
_THIN_EVERY_S = 6 * 3600.0  # daily would never come in a collector that is restarted daily
_YIELDS_AFTER = 2  # incomplete ticks in a row: our own network may be at fault
_LOOK_EVERY_S = 1.0  # how soon an operation that someone asked for, or a gate gone dark, is noticed


class Schedule:
    """Runs a collector until told to stop: a candidate at first, then the leader while it can be."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._operations = Operations(collector)
        self._backfill = Backfill(collector)
        self._rules = Rules(collector)
        self._alarms = Alarms(collector, Channels(collector.settings))
        self._limits = collector.settings.collector
        self._owner = f"{this_process()}:{uuid.uuid4().hex[:8]}"
        self._fence: int | None = None
        self._asking: asyncio.Future[int | None] | None = None
        self._incomplete = 0
        self._asked_at_s = collector.clock.monotonic_s()
        self._scheduler = AsyncIOScheduler(job_defaults=_OPTIONS, timezone="UTC")

    @property
    def leads(self) -> bool:
        """Whether this collector leads, as far as it knows."""
        return self._fence is not None

    @property
    def silent_for_s(self) -> float:
        """For how long it has not asked for the lead; seconds, by the monotonic clock."""
        return self._collector.clock.monotonic_s() - self._asked_at_s

    async def run(self, stop: asyncio.Event) -> None:
        """Lead when nobody else does, and tick while leading, until `stop` is set."""
        every_s = self._limits.every.total_seconds()
        lead_s = self._limits.leader_expires_after.total_seconds() / 8  # a dead leader's time, and one look more
        look_s = min(_LOOK_EVERY_S, every_s / 4)
        self._scheduler.add_listener(self._heard, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self._add("lead", self._lead, lead_s)
        self._add("tick", self._tick, every_s)
        self._add("gate", self._gate, look_s)
        self._add("operations", self._carry_out, look_s)
        self._add("alarms", self._tell, look_s)
        self._add("thin", self._thin, _THIN_EVERY_S)
        await self._lead()
        self._scheduler.start()
        self._now("tick")
        watch = asyncio.create_task(self._watch_clock(look_s))
        try:
            await stop.wait()
        finally:
            watch.cancel()
            self._scheduler.shutdown(wait=False)
            await self._operations.stop()
            await self._step_down()

    def _add(self, name: str, job: Callable[[], Awaitable[None]], every_s: float) -> None:
        self._scheduler.add_job(self._until_stopped, "interval", (name, job), seconds=every_s, id=name, name=name)

    async def _until_stopped(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except asyncio.CancelledError:  # by the scheduler as it ends, which would take it for a fault of ours
            log.info("stopped", during=name)

    def _now(self, name: str) -> None:
        now = datetime.now(UTC)  # the clock that the scheduler itself goes by
        self._scheduler.modify_job(name, next_run_time=now)

    async def _watch_clock(self, every_s: float) -> None:
        """Everything is due when the wall clock has jumped: set back, nothing would be until it has caught up."""
        jumps = ClockJumps(self._collector.clock)
        while True:
            if jumps.look():
                for job in self._scheduler.get_jobs():
                    self._now(job.id)
            await asyncio.sleep(every_s)

    async def _lead(self) -> None:
        self._asked_at_s = self._collector.clock.monotonic_s()
        try:
            expires_after_s = self._limits.leader_expires_after.total_seconds()
            asking = in_store(acquire, self._collector.database, self._owner, expires_after_s)
            self._asking = asyncio.ensure_future(asking)
            fence = await asyncio.shield(self._asking)  # its thread goes on, even if this is cancelled
        except MtokError as error:
            log.warning("cannot lead", problem=str(error))
            return
        if fence != self._fence:
            log.info("leading" if fence is not None else "standing by", fence=fence, owner=self._owner)
            if fence is not None and self._scheduler.running:
                self._now("tick")  # a new leader ticks at once
        if fence != self._fence:
            self._collector.verdict = None  # an older time's: nothing may follow from it
        self._fence = fence

    async def _tick(self) -> None:
        await self._as_leader("tick", self._ticked)
        await self._as_leader("backfill", self._backfill.run)

    async def _ticked(self, fence: int) -> None:
        if await self._completes(fence):
            self._incomplete = 0
            await self._alarms.heartbeat()
            return
        self._incomplete += 1
        if self._incomplete < _YIELDS_AFTER:
            return
        heir = await in_store(yield_lead, self._collector.database, self._owner, fence)
        if heir is not None:
            log.warning("lead yielded", incomplete_ticks=self._incomplete, to=heir)
            self._fence, self._incomplete = None, 0

    async def _completes(self, fence: int) -> bool:
        """Run a tick; answers whether it was complete. One that our clock cannot date is not."""
        try:
            return await self._collector.tick(fence)
        except (ClockApart, ClockBehind) as error:
            log.error("not done", what="tick", problem=str(error))
            return False

    async def _thin(self) -> None:
        await self._as_leader("thin", self._collector.thin)

    async def _gate(self) -> None:
        await self._as_leader("gate", self._decided)

    async def _decided(self, fence: int) -> None:
        await self._collector.decide(fence)
        await self._rules.apply(fence)  # by this verdict, never by an older one

    async def _tell(self) -> None:
        await self._as_leader("alarms", self._alarms.run)

    async def _carry_out(self) -> None:
        await self._as_leader("operations", self._operations.advance)

    async def _as_leader(self, what: str, job: Callable[[int], Awaitable[object]]) -> None:
        """Do `job` while leading. Whatever it raises ends this run alone: the next one starts afresh."""
        if self._fence is None:
            return
        try:
            await job(self._fence)
        except FenceLost:
            log.warning("lost the lead", during=what)
            self._fence = None
        except MtokError as error:
            log.error("not done", what=what, problem=str(error))
        except Exception:
            log.exception("failed", what=what)

    async def _step_down(self) -> None:
        if self._asking is not None:  # else it could take the lead again that is given away here
            await asyncio.wait([self._asking])
        try:
            await in_store(release, self._collector.database, self._owner)
        except MtokError as error:
            log.warning("could not step down", problem=str(error))

    def _heard(self, event: JobEvent) -> None:
        problem = getattr(event, "exception", None)
        log.warning("schedule", job=event.job_id, code=event.code, problem=str(problem) if problem else None)
