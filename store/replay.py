"""A past minute of the fleet, as the store knew it then: what a post-mortem looks at.

Figures, bills, ticks, operations and verdicts are kept with their instants and are read as of then. What the store
keeps of the present alone (raw states, addresses, what an agent runs) is not recorded: never today's value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, func, or_, select

from store.anatomy import phases_in
from store.counters import not_ended, samples_of
from store.database import Database
from store.errors import NothingRecorded
from store.figures import Figures
from store.fleet import extra_tiers, figured, health
from store.fleet_view import Fleet, OperationView, TierSpec, TierView
from store.gate import GatePolicy, Verdict
from store.phases import OperationKind, Phase
from store.states import state_by_gate
from store.tables import BillCounter, OperationPhase, OperationRow, Tick, TierTick
from store.unknown import NOT_RECORDED, Unknown
from store.verdict_then import verdict_at
from store.words import State

_WHY_NOT = "a past minute is shown; nothing can be asked of it"
_REFUSALS = {kind.value: _WHY_NOT for kind in OperationKind}


def read_fleet_at(
    database: Database, specs: Sequence[TierSpec], policy: GatePolicy, at: datetime, trend_step: timedelta
) -> Fleet:
    """The fleet as it was known at the past instant `at`; `specs` and `policy` are of the settings.

    Raises:
        NothingRecorded: no tick had come by then.
        StoreUnreachable: the store does not answer.
    """
    with database.read() as session:
        tick = _tick_at(session, at)
        tiers = [*specs, *extra_tiers(session, at)]
        names = [spec.name for spec in tiers]
        figures = figured(session, names, policy, at, trend_step, is_past=True)
        rates, going = _rates(session, names, at), _operations(session, at)
        seen = {name: _seen(session, name, at) for name in names}
        past = verdict_at(session, policy, at, tick)
        return Fleet(
            at=at,
            tick_at=tick.at,
            figures_at=at,
            tiers=tuple(
                _tier(spec, seen[spec.name], past.verdict, rates, going.get(spec.name), *figures[spec.name])
                for spec in tiers
            ),
            verdict=past.verdict,
            closed_since=past.closed_since,
            health=tuple(health(session, name, at) for name in sorted({spec.provider for spec in specs})),
            led_by=f"fence {tick.fence}" if at - tick.at <= policy.dark_after else None,
            is_replay=True,
        )


def step_before(session: Session, at: datetime, policy: GatePolicy) -> datetime | None:
    """The last instant before `at` of a tick, or at which it had become dark; None where nothing is older."""
    tick_at = session.exec(select(func.max(Tick.at)).where(Tick.at < at)).one()
    dark_at = _dark_at(session, Tick.at < at, policy)
    return max((one for one in (tick_at, dark_at) if one is not None and one < at), default=None)


def step_after(session: Session, at: datetime, policy: GatePolicy, now: datetime) -> datetime | None:
    """The first instant after `at`, and up to `now`, of a tick, or at which it became dark."""
    tick_at, dark_at = tick_after(session, at), _dark_at(session, Tick.at <= at, policy)
    return min((one for one in (tick_at, dark_at) if one is not None and at < one <= now), default=None)


def _dark_at(session: Session, before: bool, policy: GatePolicy) -> datetime | None:
    """The second at which it is dark if no tick follows the last complete one of those `before`.

    No tick is there to step to, since nobody was there to make one; but every agent had closed.
    """
    last = session.exec(select(func.max(Tick.at)).where(before, col(Tick.complete))).one()
    return None if last is None else last + policy.dark_after + timedelta(seconds=1)


def tick_after(session: Session, at: datetime) -> datetime | None:
    """The instant of the first tick after `at`, if there is one."""
    return session.exec(select(func.min(Tick.at)).where(Tick.at > at)).one()


def _tick_at(session: Session, at: datetime) -> Tick:
    query = select(Tick).where(Tick.at <= at).order_by(col(Tick.at).desc()).limit(1)
    tick = session.exec(query).first()
    if tick is None:
        raise NothingRecorded(at, tick_after(session, at))
    return tick


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a tier's newest tick says of it."""

    state: str
    problem: str | None


def _seen(session: Session, tier: str, at: datetime) -> _Seen:
    query = select(TierTick).where(TierTick.tier == tier, TierTick.at <= at)
    newest = session.exec(query.order_by(col(TierTick.at).desc()).limit(2)).all()
    if not newest:
        return _Seen(State.UNKNOWN, None)
    state = newest[0].state
    return _Seen(state if state is not None else _derived(newest), newest[0].problem)


def _derived(newest: Sequence[TierTick]) -> str:
    """What the running time of a tier's instances says of a tick that kept no state."""
    if len(newest) < 2:
        return State.UNKNOWN
    ran_ms = newest[0].running_ms - newest[1].running_ms
    if not ran_ms:
        return "asleep or not running"
    elapsed_ms = round((newest[0].at - newest[1].at).total_seconds() * 1000)
    return State.RUNNING if ran_ms >= elapsed_ms else State.UNKNOWN


def _rates(session: Session, tiers: Sequence[str], at: datetime) -> Mapping[str, int | Unknown]:
    """By tier, what its bills quoted an hour: of each resource the newest counter that had not ended."""
    quoted: dict[str, dict[tuple[str, str, str], int | None]] = {}
    for counter, sample in samples_of(session, not_ended(at, col(BillCounter.tier).in_(tiers)), at):
        if sample is not None:
            resource = (counter.provider, counter.kind, counter.resource_id)
            quoted.setdefault(counter.tier, {})[resource] = sample.rate_nusd_per_hour
    found: dict[str, int | Unknown] = {}
    for tier, rates in quoted.items():
        known = [rate for rate in rates.values() if rate is not None]
        found[tier] = sum(known) if len(known) == len(rates) else Unknown("the provider quoted no rate")
    return found


def _operations(session: Session, at: datetime) -> Mapping[str, OperationView]:
    """By tier, the operation that was under way, as far as it had come."""
    query = select(OperationRow).where(OperationRow.requested_at <= at)
    query = query.where(or_(col(OperationRow.finished_at).is_(None), col(OperationRow.finished_at) > at))
    found = {}
    for row in session.exec(query.order_by(col(OperationRow.id))).all():
        of_row = select(OperationPhase).where(OperationPhase.operation_id == row.id, OperationPhase.at <= at)
        order = list(Phase)
        phases = sorted(session.exec(of_row).all(), key=lambda one: (one.at, order.index(Phase(one.phase))))
        if phases:
            last, reached = phases[-1], phases_in(phases, OperationKind(row.kind))
            found[row.tier] = OperationView(row.kind, last.phase, last.detail, row.requested_at, reached)
    return found


def _tier(
    spec: TierSpec,
    seen: _Seen,
    verdict: Verdict,
    rates: Mapping[str, int | Unknown],
    operation: OperationView | None,
    windows: Mapping[str, Figures],
    points: tuple[int | Unknown, ...],
) -> TierView:
    return TierView(
        spec=spec,
        state=state_by_gate(seen.state, verdict.reasons_for(spec.name)),
        seen=NOT_RECORDED.reason,
        rate_nusd_per_hour=rates.get(spec.name, NOT_RECORDED),
        figures=windows,
        trend=points,
        in_flight=NOT_RECORDED,
        engine="",
        problem=seen.problem,
        operation=operation,
        sleep=None,
        refusals=_REFUSALS,
    )
