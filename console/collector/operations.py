"""Carrying operations out: look, ask the procedure what is wanted, do it, look again.

Everything that must survive this process is in the store before the provider is asked. A provider is asked
once per instance and attempt; a lost answer is resolved by reading the state, never by asking again.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

import structlog
from sqlmodel import Session

from console.collector.look import DOUBTED, Looks
from console.collector.procedure import next_want
from console.collector.sight import ACCEPTED, AMBIGUOUS, NO_CAPACITY, REFUSED, UNSENT
from console.collector.tick import Collector, in_store
from console.collector.wants import Ask, Doubt, End, Enter, Judge, Lease, Moved, Probe, ReadLast, Want
from console.errors import AgentUnreachable
from console.providers.protocol import Accepted, Action, NoCapacity, Outcome, Ref, Refused, Unsent
from console.settings import TierSection
from store.errors import FenceLost, MtokError
from store.inventory import mark_lease
from store.leader import check_fence
from store.operations import answer_call, end_call, enter, finish, record_call, under_way
from store.phases import OperationKind, OperationOutcome, Phase
from store.tables import AgentRow, OperationCall, OperationRow
from store.words import ResourceKind

log = structlog.get_logger()
_MOST_STEPS = 40  # in one go: more phases than any operation has
_ROUND_S = 5.0  # one operation whose host hangs must not keep the others waiting
_NEEDS_STATES = (Phase.PROVIDER, Phase.ACCEPTED, Phase.RUNNING, Phase.REACHABLE)
_RESTS = 4  # an inventory of many pages takes long: a fifth of the time at most, well under a provider's rate limit
_PROBE_WITHIN_S = 60.0  # a first token compiles kernels on some engines


class _Over(Exception):
    """Somebody else has ended the operation since we looked: nothing may follow."""


class Operations:
    """Drives every operation under way, as the leader with a given fence."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._database = collector.database
        self._looks = Looks(collector)
        self._tiers = {tier.name: tier for tier in collector.settings.tiers}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._refresh_after_s = 0.0

    async def advance(self, fence: int) -> None:
        """Take each operation as far as it goes now, side by side.

        Raises:
            FenceLost: another collector leads; it goes on from where the store says.
        """
        rows = await in_store(self._under_way)
        waiting = [row for row in rows if row.id is not None and row.id not in self._running]
        await self._refresh(fence, waiting)
        for row in waiting:
            assert row.id is not None
            self._running[row.id] = asyncio.create_task(self._carry_out(fence, row))
        if self._running:
            await asyncio.wait(self._running.values(), timeout=_ROUND_S)
        done = {id_: task for id_, task in self._running.items() if task.done()}
        for id_ in done:
            del self._running[id_]
        await asyncio.gather(*done.values())

    async def stop(self) -> None:
        """Let go of what is under way; whoever leads next goes on."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()

    async def _refresh(self, fence: int, rows: list[OperationRow]) -> None:
        waiting = {row.tier for row in rows if row.phase in _NEEDS_STATES}
        providers = {tier.provider for name, tier in self._tiers.items() if name in waiting}
        start_s = self._collector.clock.monotonic_s()
        if providers and start_s >= self._refresh_after_s:
            await self._collector.refresh_inventory(fence, sorted(providers))
            end_s = self._collector.clock.monotonic_s()
            self._refresh_after_s = end_s + _RESTS * (end_s - start_s)

    async def _carry_out(self, fence: int, row: OperationRow) -> None:
        tier = self._tiers.get(row.tier)
        if tier is None:
            await self._end(fence, row, End(OperationOutcome.FAILED, "the settings no longer name this tier"))
            return
        with suppress(_Over):
            for _ in range(_MOST_STEPS):
                want = next_want(await self._looks.look(fence, row, tier))
                if not await self._do(fence, row, tier, want):
                    return

    async def _do(self, fence: int, row: OperationRow, tier: TierSection, want: Want) -> bool:
        """Do what is wanted; answers whether to look again at once."""
        match want:
            case Enter():
                await self._enter(fence, row, want)
                return True
            case ReadLast():
                return await self._read_last(fence, row, tier)
            case Lease():
                return await self._lease(fence, row, tier)
            case Probe():
                return await self._probe(row, want.agent)
            case Ask():
                return await self._ask(fence, row, tier, want)
            case End():
                await self._end(fence, row, want)
            case Judge() | Moved() | Doubt():
                await self._write(fence, row, partial(self._keep, want))
                return not isinstance(want, Doubt)
        return False

    def _keep(self, want: Judge | Moved | Doubt, session: Session, row: OperationRow) -> None:
        """What was seen, as the store has it."""
        match want:
            case Judge():
                end_call(session, row, _call(session, row, want.call.n), want.ended, self._now())
            case Moved():
                _call(session, row, want.call.n).moved_at = self._now()
            case Doubt():
                detail = f"{DOUBTED} although the provider says that it is asleep"
                enter(session, row, Phase.ASLEEP, row.phase_at, detail)

    async def _ask(self, fence: int, row: OperationRow, tier: TierSection, want: Ask) -> bool:
        """Journal, ask once, journal. Whatever dies in between leaves a call without an answer."""
        target, action = want.target, _ACTIONS[OperationKind(row.kind)]
        n = row.calls + 1
        await self._write(
            fence, row, lambda s, r: record_call(s, r, target.id, action, target.raw_state, self._now())
        )

        async def permit() -> None:
            await self._write(fence, row, lambda _s, _r: None)

        provider = self._collector.account.providers[tier.provider]
        outcome = await provider.act(
            Ref(ResourceKind.INSTANCE, target.id), action, seen=target.raw_state, permit=permit
        )
        answer, detail = _told(outcome)
        await self._write(fence, row, lambda s, r: answer_call(s, r, _call(s, r, n), answer, detail, self._now()))
        log.info("provider asked", tier=row.tier, action=action, instance=target.id, answer=answer, detail=detail)
        return answer == ACCEPTED

    async def _read_last(self, fence: int, row: OperationRow, tier: TierSection) -> bool:
        """A whole tick before the hosts go; whoever was not read is tried again, a few times."""
        present = (await self._looks.look(fence, row, tier)).agents
        try:
            await self._collector.read_since(fence, self._collector.clock.monotonic_s())
            silent, busy = await in_store(self._last_read, list(present))
        except FenceLost:
            raise
        except MtokError as error:
            silent, busy = [str(error)], False
        is_late = self._now() - row.phase_at > self._collector.settings.collector.drain_within
        if not silent and (is_late or not busy):
            await self._enter(fence, row, Enter(Phase.DRAINED))
            return True
        if not silent:
            return False  # something was begun before the lease was withdrawn: it is waited for

        def count(_: Session, one: OperationRow) -> None:
            one.readings += 1

        await self._write(fence, row, count)
        log.warning("no last usage reading", tier=row.tier, agents=silent, tried=row.readings)
        return False

    def _last_read(self, agents: Sequence[str]) -> tuple[list[str], bool]:
        """Of these agents: which the last tick did not read, and whether any has something in flight."""
        with self._database.read() as session:
            rows = {agent: session.get(AgentRow, agent) for agent in agents}
        silent = [agent for agent, row in rows.items() if row is None or row.problem is not None]
        return silent, any(row is not None and row.in_flight for row in rows.values())

    async def _lease(self, fence: int, row: OperationRow, tier: TierSection) -> bool:
        """Push leases; answers whether every agent has confirmed what this operation waits for."""
        names = [agent.name for agent in tier.agents]
        await self._collector.give_leases(fence, names)
        wanted = row.kind == OperationKind.WAKE

        def confirmed() -> bool:
            with self._database.read() as session:
                rows = [session.get(AgentRow, name) for name in names]
                return all(one is not None and one.lease_open is wanted for one in rows)

        return await in_store(confirmed)

    async def _probe(self, row: OperationRow, agent: str) -> bool:
        assert row.id is not None
        try:
            await self._collector.account.agents[agent].probe(_PROBE_WITHIN_S)
        except AgentUnreachable as error:
            log.warning("no first token yet", tier=row.tier, agent=agent, problem=error.problem)
            return False
        self._looks.probed.setdefault(row.id, set()).add(agent)
        return True

    async def _enter(self, fence: int, row: OperationRow, want: Enter) -> None:
        now = self._now()
        await self._write(fence, row, lambda s, r: enter(s, r, want.phase, now, want.detail))
        log.info("operation", tier=row.tier, kind=row.kind, phase=want.phase, detail=want.detail)
        if want.phase in (Phase.ASLEEP, Phase.ACCEPTED):
            await in_store(self._end_leases, fence, row.tier)  # whoever sleeps, or is only coming up, holds none
        if want.phase is Phase.DRAINING:
            await self._collector.decide(fence, push_to=self._agents(row.tier))

    async def _end(self, fence: int, row: OperationRow, want: End) -> None:
        await self._write(fence, row, lambda s, r: finish(s, r, want.outcome, self._now(), want.detail))
        if row.id is not None:
            self._looks.probed.pop(row.id, None)
        log.info("operation ended", tier=row.tier, kind=row.kind, outcome=want.outcome, detail=want.detail)
        await self._collector.decide(fence, push_to=self._agents(row.tier))

    def _agents(self, tier: str) -> list[str]:
        section = self._tiers.get(tier)
        return [agent.name for agent in section.agents] if section else []

    def _end_leases(self, fence: int, tier: str) -> None:
        with self._database.write() as session:
            check_fence(self._database, session, fence)
            mark_lease(session, self._agents(tier), is_open=False)

    async def _write(
        self, fence: int, row: OperationRow, change: Callable[[Session, OperationRow], object]
    ) -> None:
        """Change an operation in the store, if we still lead; `row` follows it."""

        def write() -> OperationRow:
            with self._database.write() as session:
                check_fence(self._database, session, fence)
                stored = session.get_one(OperationRow, row.id)
                if stored.finished_at is not None:
                    raise _Over
                change(session, stored)
                session.flush()
                session.expunge(stored)
                return stored

        stored = await in_store(write)
        for name in ("phase", "phase_at", "detail", "calls", "readings", "outcome", "finished_at"):
            setattr(row, name, getattr(stored, name))

    def _now(self) -> datetime:
        return self._collector.clock.now()

    def _under_way(self) -> list[OperationRow]:
        with self._database.read() as session:
            return list(under_way(session))


def _call(session: Session, row: OperationRow, n: int) -> OperationCall:
    return session.get_one(OperationCall, (row.id, n))


_ACTIONS = {OperationKind.HIBERNATE: Action.SLEEP, OperationKind.WAKE: Action.WAKE}


def _told(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Accepted():
            return ACCEPTED, ""
        case Refused(reason):
            return REFUSED, reason
        case NoCapacity(reason):
            return NO_CAPACITY, reason
        case Unsent(reason):
            return UNSENT, reason
        case _:
            return AMBIGUOUS, outcome.reason
