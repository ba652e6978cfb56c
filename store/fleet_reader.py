"""The fleet read again and again: nearly free while nothing has changed but the time.

One query takes a stamp of everything that a tick, an operation or an engineer changes. While it stays the same, the
fleet that was read last is shown again, and the gate decides anew from what was read of its day.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlmodel import Session, col, func, select

from store.database import Database
from store.fleet import FIGURES_HOLD, fleet_in
from store.fleet_view import Fleet, TierSpec
from store.gate import GatePolicy, Reason, Verdict
from store.leader import leader
from store.tables import AgentRow
from store.verdicts import GateInputs, gate_inputs, verdict_of
from store.window import day_start


@dataclass(frozen=True, slots=True)
class _Memory:
    """What was read last, under which stamp, when all of it was read, and until when an agent's word is fresh."""

    stamp: tuple[Any, ...]
    read_at: datetime
    inputs: GateInputs
    fleet: Fleet
    fresh_until: datetime | None


class FleetReader:
    """Reads one store's fleet over and over."""

    def __init__(
        self, database: Database, specs: Sequence[TierSpec], policy: GatePolicy, trend_step: timedelta
    ) -> None:
        self._database, self._specs, self._policy, self._step = database, tuple(specs), policy, trend_step
        self._memory: _Memory | None = None
        self._reading = threading.Lock()

    def read(self, now: datetime) -> Fleet:
        """The fleet at `now`, in one consistent view of the store.

        One reading at a time: whoever comes meanwhile waits for it, and then finds nothing changed.

        Raises:
            StoreUnreachable: the store does not answer.
        """
        with self._reading, self._database.read() as session:
            stamp = tuple(session.connection().execute(_stamp(self._database.engine.dialect.name)).one())
            led = leader(self._database, session)
            led_by = led[0] if led else None
            memory = self._memory
            if memory is not None and self._still(memory, stamp, now):
                verdict = verdict_of(memory.inputs, self._policy, now)
                if _reasons(memory.fleet, verdict) == _reasons(memory.fleet, memory.fleet.verdict):
                    return replace(memory.fleet, at=now, verdict=verdict, led_by=led_by)
            return self._again(session, stamp, led_by, now)

    def _still(self, memory: _Memory, stamp: tuple[Any, ...], now: datetime) -> bool:
        is_young = timedelta(0) <= now - memory.read_at < FIGURES_HOLD
        is_young = is_young and (memory.fresh_until is None or now <= memory.fresh_until)
        return is_young and memory.stamp == stamp and memory.inputs.day_start == day_start(now, self._policy.zone)

    def _again(self, session: Session, stamp: tuple[Any, ...], led_by: str | None, now: datetime) -> Fleet:
        inputs = gate_inputs(session, self._policy, now)
        verdict = verdict_of(inputs, self._policy, now)
        before = self._memory.fleet if self._memory is not None else None
        fleet = fleet_in(session, self._specs, self._policy, verdict, led_by, self._step, before)
        self._memory = _Memory(stamp, now, inputs, fleet, self._fresh_until(session, now))
        return fleet

    def _fresh_until(self, session: Session, now: datetime) -> datetime | None:
        """Until when every agent that answers has been heard lately; then what is in flight is known no more."""
        answers = col(AgentRow.problem).is_(None) & (col(AgentRow.seen_at) >= now - self._policy.dark_after)
        oldest = session.exec(select(func.min(AgentRow.seen_at)).where(answers)).one()
        return None if oldest is None else oldest + self._policy.dark_after


def _reasons(fleet: Fleet, verdict: Verdict) -> list[tuple[Reason, ...]]:
    """By tier, why it may not serve: its state is told by that."""
    return [verdict.reasons_for(tier.spec.name) for tier in fleet.tiers]


_GROWING = ("max(at) FROM ticks", "max(id) FROM verdicts", "max(id) FROM journal")
_IN_PLACE = (
    "scope || below_since_at FROM gate_memory",
    "seen_at FROM resources",
    "phase_at || detail FROM operations WHERE finished_at IS NULL",
    "agent || lease_open || coalesce(CAST(seen_at AS TEXT), '') || coalesce(problem, '') FROM agents",
)


@cache
def _stamp(dialect: str) -> TextClause:
    """What is changed in place, row by row; all else that is shown comes with a tick, a verdict or a journal entry.

    As text, of which nothing has to be compiled: it is the first thing that a console asks, and only compared.
    """
    joined = "string_agg" if dialect == "postgresql" else "group_concat"
    rows = (one.partition(" FROM ") for one in _IN_PLACE)
    asked = (*_GROWING, *(f"{joined}(CAST({said} AS TEXT), '|') FROM {table}" for said, _, table in rows))
    return text(f"SELECT {', '.join(f'(SELECT {one})' for one in asked)}")
