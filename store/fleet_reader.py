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

from sqlalchemy import Integer, Row, ScalarSelect, Select, cast, func, select
from sqlmodel import Session, col

from store.database import Database
from store.fleet import FIGURES_HOLD, Fleet, TierSpec, fleet_in
from store.gate import GatePolicy
from store.leader import leader
from store.tables import (
    AgentRow,
    BillCounter,
    GateMemory,
    JournalEntry,
    OperationRow,
    ResourceRow,
    Tick,
    VerdictRow,
)
from store.verdicts import GateInputs, gate_inputs, verdict_of
from store.window import day_start


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was read last, under which stamp, and when all of it was read."""

    stamp: Row[Any]
    read_at: datetime
    inputs: GateInputs
    fleet: Fleet


class FleetReader:
    """Reads one store's fleet over and over."""

    def __init__(
        self, database: Database, specs: Sequence[TierSpec], policy: GatePolicy, trend_step: timedelta
    ) -> None:
        self._database, self._specs, self._policy, self._step = database, tuple(specs), policy, trend_step
        self._kept: _Kept | None = None
        self._reading = threading.Lock()

    def read(self, now: datetime) -> Fleet:
        """The fleet at `now`, in one consistent view of the store; see `store.fleet.read_fleet`.

        One reading at a time: whoever comes meanwhile waits for it, and then finds nothing changed.

        Raises:
            StoreUnreachable: the store does not answer.
        """
        with self._reading, self._database.read() as session:
            stamp = session.connection().execute(_stamp()).one()
            led = leader(self._database, session)
            led_by = led[0] if led else None
            kept = self._kept
            if kept is not None and self._still(kept, stamp, now):
                verdict = verdict_of(kept.inputs, self._policy, now)
                return replace(kept.fleet, at=now, verdict=verdict, led_by=led_by)
            return self._again(session, stamp, led_by, now)

    def _still(self, kept: _Kept, stamp: Row[Any], now: datetime) -> bool:
        is_young = timedelta(0) <= now - kept.read_at < FIGURES_HOLD
        return is_young and kept.stamp == stamp and kept.inputs.day_start == day_start(now, self._policy.zone)

    def _again(self, session: Session, stamp: Row[Any], led_by: str | None, now: datetime) -> Fleet:
        inputs = gate_inputs(session, self._policy, now)
        verdict = verdict_of(inputs, self._policy, now)
        before = self._kept.fleet if self._kept is not None else None
        fleet = fleet_in(session, self._specs, self._policy, verdict, led_by, self._step, before)
        self._kept = _Kept(stamp, now, inputs, fleet)
        return fleet


@cache
def _stamp() -> Select[Any]:
    """Resources, agents and phases are changed in place, everything else leaves a new row or a journal entry."""
    of_agents = (
        func.count(),
        func.max(AgentRow.seen_at),
        func.sum(cast(AgentRow.lease_open, Integer)),
        func.sum(AgentRow.in_flight),
        func.aggregate_strings(col(AgentRow.problem), "|"),
    )
    going = col(OperationRow.finished_at).is_(None)
    return select(
        _one(func.max(Tick.at)),
        _one(func.max(VerdictRow.id)),
        _one(func.max(JournalEntry.id)),
        _one(func.max(BillCounter.id)),
        _one(func.max(GateMemory.below_since_at)),
        _one(func.count(col(GateMemory.scope))),
        _one(func.max(ResourceRow.seen_at)),
        _one(func.count(col(ResourceRow.resource_id))),
        select(func.count()).select_from(OperationRow).where(going).scalar_subquery(),
        select(func.max(OperationRow.phase_at)).where(going).scalar_subquery(),
        *(select(one).select_from(AgentRow).scalar_subquery() for one in of_agents),
    )


def _one(value: Any) -> ScalarSelect[Any]:
    return select(value).scalar_subquery()
