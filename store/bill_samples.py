"""A provider's bills at one tick: counters opened, moved, found again or lost; a sample for each that was read."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, insert, update
from sqlalchemy import select as core_select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from store.buckets import covered_until, is_ours_from_zero, place, place_rise
from store.clock import rfc3339
from store.counters import bill_at
from store.debits import Advance, Fall, Mark, advance
from store.falls import end_fall, open_fall
from store.journal import note
from store.money import format_nusd
from store.readings import Bill, ProviderReading
from store.retired import left_behind
from store.steps import moved, stated, step_of
from store.tables import BillCounter, BillSample, ProviderTick
from store.words import IGNORED

_ASSUMED_STEP = timedelta(seconds=60)  # until a counter has shown its own
_LOST_AFTER_TICKS = 3  # one answer without a counter may be a slip of the provider's; three are a statement


@dataclass(slots=True)
class _Tick:
    """One provider of those that the settings name, at one tick, with its counters that are not final."""

    session: Session
    provider: str
    named: Collection[str]
    at: datetime
    complete_before: datetime | None
    counters: dict[str, BillCounter]
    marks: Mapping[int, Mark]
    moves: list[dict[str, Any]] = field(default_factory=list)


def record_bills(
    session: Session, provider: str, named: Collection[str], reading: ProviderReading, at: datetime
) -> list[str]:
    """Keep a sample of every sound bill; answers what keeps the tick from being complete.

    `named`: every provider that the settings name.
    """
    tick = _Tick(
        session,
        provider,
        named,
        at,
        _last_complete(session, provider),
        {one.counter: one for one in _open_counters(session, provider)},
        _marks(session, provider),
    )
    problems = [reading.problem] if reading.problem else []
    bills, twice = _one_each(reading.bills)
    problems += [f"{counter} is stated twice, differently" for counter in twice]
    known = list(tick.counters.values())
    rows = [_sample(tick, bill) for bill in bills]
    if rows:
        session.flush()
        session.connection().execute(insert(BillSample), rows)
    if tick.moves:
        session.connection().execute(_moves(), tick.moves)
    read = {bill.counter for bill in bills}
    missing = [counter for counter in known if counter.counter not in read and counter.final_at is None]
    lost = [counter for counter in missing if counter.counter in reading.vanished]
    problems += [problem for counter in lost if (problem := _lose(tick, counter)) is not None]
    unread = sorted(one.counter for one in missing if one not in lost and one.unsettled_at is None)
    if unread and not reading.problem:
        problems.append(f"no reading of {', '.join(unread)}")
    return problems


def _one_each(bills: Iterable[Bill]) -> tuple[list[Bill], list[str]]:
    """Each counter once. One that is stated twice, differently, is believed neither time."""
    found: dict[str, Bill] = {}
    twice: dict[str, None] = {}
    for bill in bills:
        known = found.setdefault(bill.counter, bill)
        if known.total_nusd != bill.total_nusd:
            twice[bill.counter] = None
    return [bill for bill in found.values() if bill.counter not in twice], list(twice)


def _sample(tick: _Tick, bill: Bill) -> dict[str, Any]:
    """A bill's row; its counter is opened, or handed to another tier or provider, where needed."""
    counter = tick.counters.get(bill.counter) or _reopened(tick, bill)
    if counter is not None:
        _recognised(tick, counter, bill)
    counter = counter or left_behind(tick.session, tick.named, bill, tick.complete_before)
    if counter is None or counter.currency != bill.currency:
        if counter is not None:
            _close(tick, counter, "provider", "currency changed", f"{counter.currency} → {bill.currency}")
        counter = _opened(tick, bill)
        before = Mark(tick.at, counter.opening_nusd, 0, None)
    elif (counter.provider, counter.tier) != (tick.provider, bill.tier):
        counter = _handed_over(tick, counter, bill)
        before = Mark(tick.at, counter.opening_nusd, 0, None)
    else:
        before = _mark_of(tick, counter)
    assert counter.id is not None
    id_ = counter.id
    step = step_of(counter.steps) or _ASSUMED_STEP
    after = advance(
        before, tick.at, bill.total_nusd, step, lambda: _fall(tick.session, id_, before), is_final=bill.final
    )
    place_rise(tick.session, counter, bill, before, after, tick.at)
    _tell(tick, counter, bill, before, after)
    _follow(tick, counter, bill, before, after)
    return {
        "counter_id": id_,
        "at": tick.at,
        "total_nusd": bill.total_nusd,
        "debits_nusd": after.debits_nusd,
        "raw": bill.raw,
        "as_of_at": bill.as_of,
        "rate_nusd_per_hour": bill.rate_nusd_per_hour,
        "fell_at": after.fell_at,
        "origin": None,
    }


def _reopened(tick: _Tick, bill: Bill) -> BillCounter | None:
    """A counter that was held to be final, and is stated again: late cents, or a wrong farewell."""
    query = select(BillCounter).where(BillCounter.provider == tick.provider, BillCounter.counter == bill.counter)
    counter = tick.session.exec(query).first()
    if counter is not None:
        tick.counters[bill.counter] = counter
    return counter


def _mark_of(tick: _Tick, counter: BillCounter) -> Mark:
    assert counter.id is not None
    if counter.id in tick.marks:
        return tick.marks[counter.id]
    query = select(BillSample).where(BillSample.counter_id == counter.id).order_by(col(BillSample.at).desc())
    last = tick.session.exec(query.limit(1)).first()
    if last is None:
        return Mark(tick.at, counter.opening_nusd, 0, None)
    return Mark(last.at, last.total_nusd, last.debits_nusd, last.fell_at)


def _opened(tick: _Tick, bill: Bill) -> BillCounter:
    """A counter at its first sight.

    Born after the provider's last complete tick, it starts from zero. Otherwise it ran before our time:
    what it held then is its opening balance, known to reconciliation and no part of any spend. A bucket starts from
    zero whenever it began in our time, however late it is first stated.
    """
    is_newborn = (
        tick.complete_before is not None
        and bill.started_at is not None
        and bill.started_at >= tick.complete_before.replace(microsecond=0)  # providers state whole seconds
    )
    is_bucket = not is_newborn and is_ours_from_zero(tick.session, tick.provider, bill)
    counter = _counter(tick, bill, 0 if is_newborn or is_bucket else bill.total_nusd)
    tick.session.add(counter)
    tick.session.flush()
    place(tick.session, counter, bill, tick.at)
    tick.counters[bill.counter] = counter
    if bill.tier == IGNORED:
        note(tick.session, tick.at, "settings", "ignored", bill.counter, f"{bill.kind} {bill.resource_id}")
    return counter


def _handed_over(tick: _Tick, old: BillCounter, bill: Bill) -> BillCounter:
    """The counter of a resource that another tier or provider names now; its history stays with the old one."""
    what, before, now = "tier changed", old.tier, bill.tier
    if old.provider != tick.provider:
        what, before, now = "provider changed", old.provider, tick.provider
    last = _close(tick, old, "settings", what, f"{before} → {now}")
    assert old.id is not None
    read = bill_at(tick.session, old.id, last.at)
    counter = _counter(tick, bill, last.total_nusd)
    counter.first_seen_at, counter.moved_at, counter.steps = last.at, old.moved_at, old.steps
    tick.session.add(counter)
    tick.session.flush()
    assert counter.id is not None
    tick.session.add(
        BillSample(
            counter_id=counter.id,
            at=last.at,
            total_nusd=last.total_nusd,
            debits_nusd=0,
            raw=format_nusd(last.total_nusd),
            as_of_at=last.at if read is None else read.as_of_at,
            origin="moved",
        )
    )
    tick.counters[bill.counter] = counter
    return counter


def _close(tick: _Tick, old: BillCounter, actor: str, what: str, change: str) -> Mark:
    """Close a counter at its last sample, and free its identity for the one that goes on from there."""
    assert old.id is not None
    last = _mark_of(tick, old)
    end_fall(tick.session, old.id)
    note(tick.session, tick.at, actor, what, old.counter, f"{change}, from {rfc3339(last.at)} on")
    old.counter, old.final_at = f"{old.counter}@{rfc3339(last.at)}", tick.at
    tick.session.flush()
    return last


def _counter(tick: _Tick, bill: Bill, opening_nusd: int) -> BillCounter:
    return BillCounter(
        provider=tick.provider,
        counter=bill.counter,
        kind=bill.kind,
        resource_id=bill.resource_id,
        name=bill.name,
        tier=bill.tier,
        currency=bill.currency,
        started_at=bill.started_at,
        first_seen_at=tick.at,
        opening_nusd=opening_nusd,
        excluded=bill.excluded,
        steps=stated(bill.step),
    )


def _fall(session: Session, counter_id: int, last: Mark) -> Fall:
    assert last.fell_at is not None
    return open_fall(session, counter_id, last.fell_at)


def _tell(tick: _Tick, counter: BillCounter, bill: Bill, before: Mark, after: Advance) -> None:
    if after.event is not None:
        change = format_nusd(bill.total_nusd - before.total_nusd)
        detail = f"{format_nusd(before.total_nusd)} → {bill.raw} ({change} {counter.currency})"
        note(tick.session, tick.at, "provider", f"bill {after.event}", counter.counter, detail)


def _recognised(tick: _Tick, counter: BillCounter, bill: Bill) -> None:
    """What a reading says of a counter that we know, whatever it holds: it is there, and whether it is billed."""
    if counter.vanished_at is not None:
        note(tick.session, tick.at, "provider", "bill found again", counter.counter)
        counter.vanished_at = counter.unsettled_at = None
    if counter.excluded != bill.excluded:
        counter.excluded = bill.excluded
        change = "excluded from billing" if bill.excluded else "included in billing"
        note(tick.session, tick.at, "provider", f"bill {change}", counter.counter)
        if not bill.excluded and _mark_of(tick, counter).total_nusd == bill.total_nusd:
            counter.moved_at = tick.at  # it stood still for being free: what may be due counts from here


def _follow(tick: _Tick, counter: BillCounter, bill: Bill, before: Mark, after: Advance) -> None:
    """What the movement of a counter, or its rest, says of it."""
    if before.at == tick.at:
        return
    if before.total_nusd != bill.total_nusd:  # a step is observed, not assumed
        moved_at = covered_until(bill, tick.at)
        is_late = moved_at < tick.at  # a correction of a period that is over is no step
        steps = counter.steps if is_late else moved(counter.steps, counter.moved_at, tick.at)
        tick.moves.append({"id_": counter.id, "moved_at": moved_at, "steps": steps})
        counter.final_at = None
    elif not bill.final:
        counter.final_at = None
    elif counter.final_at is None or after.debits_nusd != before.debits_nusd:
        counter.final_at = tick.at  # said to be gone, and at rest: it will not be asked for again


@cache
def _moves() -> Any:
    table = BillCounter.__table__  # type: ignore[attr-defined]
    its_row = table.c.id == bindparam("id_")
    return update(table).where(its_row).values(moved_at=bindparam("moved_at"), steps=bindparam("steps"))


def _lose(tick: _Tick, counter: BillCounter) -> str | None:
    """A counter that the provider denies: at first a problem, then a counter that somebody must settle."""
    if counter.vanished_at is None:
        counter.vanished_at = tick.at
    if counter.unsettled_at is not None:
        return None
    ticks = select(func.count()).where(ProviderTick.provider == tick.provider)
    before = tick.session.exec(ticks.where(col(ProviderTick.at) >= counter.vanished_at)).one()
    if before + 1 < _LOST_AFTER_TICKS:
        return f"{counter.counter} vanished: neither active nor deleted"
    counter.unsettled_at = tick.at
    detail = f"since {rfc3339(counter.vanished_at)} neither active nor deleted; mtok counter settle {counter.id}"
    note(tick.session, tick.at, "provider", "bill unsettled", counter.counter, detail)
    return None


def _open_counters(session: Session, provider: str) -> Sequence[BillCounter]:
    query = select(BillCounter).where(BillCounter.provider == provider, col(BillCounter.final_at).is_(None))
    return session.exec(query.order_by(col(BillCounter.id))).all()


def _marks(session: Session, provider: str) -> Mapping[int, Mark]:
    """By counter that is not final, its last sample."""
    found = session.connection().execute(_last_marks(), {"provider": provider})
    return {id_: Mark(at, total, debits, fell_at) for id_, at, total, debits, fell_at in found}


@cache
def _last_marks() -> Select[Any]:
    older = aliased(BillSample)
    newest = (
        core_select(func.max(older.at))
        .where(col(older.counter_id) == BillCounter.id)
        .correlate(BillCounter)
        .scalar_subquery()
    )
    columns = [getattr(BillSample, name) for name in ("at", "total_nusd", "debits_nusd", "fell_at")]
    return (
        core_select(col(BillCounter.id), *columns)
        .join(BillSample, (col(BillSample.counter_id) == BillCounter.id) & (col(BillSample.at) == newest))
        .where(col(BillCounter.provider) == bindparam("provider"), col(BillCounter.final_at).is_(None))
    )


def _last_complete(session: Session, provider: str) -> datetime | None:
    query = select(ProviderTick.at).where(ProviderTick.provider == provider, col(ProviderTick.complete))
    return session.exec(query.order_by(col(ProviderTick.at).desc()).limit(1)).first()
