"""Conformance: bills are counters whose differences are the provider's own account, whatever it quotes."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from console.providers.conformance_bench import Bench, Check, answered, expect
from console.providers.protocol import BillReading, Ref
from console.providers.trial import Fault
from store.money import parse_nusd
from store.words import ResourceKind, State

_HOUR_S = 3600
_WINDOW_H = 6
_MINUTE = timedelta(minutes=1)


async def _inventory(bench: Bench) -> None:
    first = await answered(bench.provider.inventory(), "inventory")
    refs = [one.ref for one in first.items]
    expect(first.complete, f"not complete: {'; '.join(first.problems)}")
    expect(len(refs) == len(set(refs)), "a resource is listed twice")
    second = await bench.inventory()
    expect(set(second) == set(refs), "two readings at one instant list different resources")
    running = [one for one in first.items if one.ref.kind is ResourceKind.INSTANCE and one.state is State.RUNNING]
    expect(bool(running), "no instance is running")
    expect(all(one.raw_state for one in first.items), "a resource has no raw state")
    if bench.kind.facts.bills_volumes:
        expect(any(ref.kind is ResourceKind.VOLUME for ref in refs), "it is said to bill volumes and lists none")


async def _counters(bench: Bench) -> None:
    bench.clock.advance(_HOUR_S)
    batch = await bench.bills()
    expect(batch.complete, f"not complete: {'; '.join(batch.problems)}")
    expect(bool(batch.items), "no bill at all after an hour")
    names = [one.counter for one in batch.items]
    expect(len(names) == len(set(names)), "a counter is stated twice")
    expect(not batch.has_clock or batch.provider_now is not None, "the provider's clock is not told")
    billed = {one.ref for one in batch.items}
    missing = [ref for ref in await bench.inventory() if ref not in billed and _is_billed(bench, ref)]
    expect(not missing, f"nothing is billed for {', '.join(ref.id for ref in missing)}")
    for one in batch.items:
        _sound(one)


def _is_billed(bench: Bench, ref: Ref) -> bool:
    return ref.kind is not ResourceKind.VOLUME or bench.kind.facts.bills_volumes


def _sound(one: BillReading) -> None:
    """One reading in itself."""
    where = one.counter
    expect(type(one.total_nusd) is int, f"{where}: the total is a {type(one.total_nusd).__name__}, not an integer")
    expect(parse_nusd(one.raw) == one.total_nusd, f"{where}: {one.raw!r} is not {one.total_nusd} nano-units")
    expect(re.fullmatch("[A-Z]{3}", one.currency) is not None, f"{where}: {one.currency!r} is no currency")
    for at in (one.as_of, one.started_at, one.ends_at):
        expect(at is None or at.tzinfo is not None, f"{where}: an instant has no zone")
    expect(one.ends_at is None or one.started_at is not None, f"{where}: a bucket without a start")


async def _rising(bench: Bench) -> None:
    before = await bench.sound_bills()
    for _ in range(8):
        bench.clock.advance(30 * 60)
        now = await bench.sound_bills(before)
        lost = sorted(set(before) - set(now))
        expect(not lost, f"known counters are not stated any more: {', '.join(lost[:3])}")
        for name, one in before.items():
            expect(now[name].total_nusd >= one.total_nusd, f"{name} fell from {one.raw} to {now[name].raw}")
        before = now
    for ref in await bench.inventory():
        total = sum(one.total_nusd for one in before.values() if one.ref == ref)
        expect(total > 0 or not _is_billed(bench, ref), f"{ref.kind} {ref.id} was billed nothing in four hours")


async def _agreement(bench: Bench) -> None:
    bench.clock.advance(_HOUR_S)
    start, first = bench.clock.now(), await bench.sound_bills()
    known = first
    for _ in range(_WINDOW_H):
        bench.clock.advance(_HOUR_S)
        known = {**known, **await bench.sound_bills(known)}
    end, last = bench.clock.now(), await bench.sound_bills(known)
    ours = sum(_rise(first.get(name), one, start) for name, one in last.items())
    truth, slack = bench.trial.account_nusd(start, end), _trailing(bench, start, end, len(last))
    expect(abs(ours - truth) <= slack, f"counters rose by {ours}, the account by {truth}; {slack} may trail")
    bench.clock.advance(_HOUR_S)
    await _windowed(bench, start, end, truth, len(last))


def _rise(before: BillReading | None, now: BillReading, start: datetime) -> int:
    if before is not None:
        return now.total_nusd - before.total_nusd
    began_inside = now.ends_at is not None or (now.started_at is not None and now.started_at >= start)
    expect(began_inside, f"{now.counter} appeared, and neither began in the window nor is a bucket")
    return now.total_nusd


def _trailing(bench: Bench, start: datetime, end: datetime, counters: int) -> int:
    """What may not be on the bill yet at each end, by the kind's own facts."""
    facts, account = bench.kind.facts, bench.trial.account_nusd
    behind = (facts.step or _MINUTE) + (facts.lag or timedelta(0))
    return account(start - behind, start) + account(end - behind, end) + counters * facts.quantum_nusd


async def _windowed(bench: Bench, start: datetime, end: datetime, truth: int, counters: int) -> None:
    if not bench.kind.facts.can_backfill:
        return
    batch = await answered(bench.provider.billed(start, end), "billed")
    expect(batch.complete, f"billed: {'; '.join(batch.problems)}")
    found, slack = sum(one.nusd for one in batch.items), counters * bench.kind.facts.quantum_nusd
    expect(abs(found - truth) <= slack, f"billed adds up to {found}, the account to {truth}")
    total = await answered(bench.provider.billed_total(start, end), "billed_total")
    expect(isinstance(total, int), f"billed_total is not known: {total}")
    assert isinstance(total, int)
    expect(abs(total - truth) <= slack, f"billed_total says {total}, the account {truth}")


async def _rates(bench: Bench) -> None:
    bench.clock.advance(_HOUR_S)
    sound = await bench.sound_bills()
    bench.trial.fault(Fault.RATES)
    spoiled = await bench.sound_bills(sound)
    expect(_totals(sound) == _totals(spoiled), "a nonsense rate changes a total")
    quoted = [one for one in sound.values() if one.rate_nusd_per_hour is not None]
    changed = [one for one in quoted if spoiled[one.counter].rate_nusd_per_hour != one.rate_nusd_per_hour]
    expect(bool(changed) or not quoted, "the simulator's fault changed no rate: nothing was tried")


def _totals(bills: Mapping[str, BillReading]) -> dict[str, int]:
    return {name: one.total_nusd for name, one in bills.items()}


async def _vanished(bench: Bench) -> None:
    bench.clock.advance(_HOUR_S)
    before, victim = await bench.sound_bills(), (await bench.instance()).ref
    bench.trial.vanish(victim)
    known, mine = before, {name for name, one in before.items() if one.ref == victim}
    for _ in range(6 * _WINDOW_H):
        bench.clock.advance(10 * 60)
        now = await bench.sound_bills(known)
        lost = sorted(mine - set(now))
        expect(not lost, f"{', '.join(lost)} is not found among what has ended: its last cents are lost")
        for name in mine:
            expect(now[name].total_nusd >= known[name].total_nusd, f"{name} fell when its resource ended")
        mine |= {name for name, one in now.items() if one.ref == victim}
        known = {**known, **now}
        if all(now[name].final for name in mine):
            break
    expect(all(known[name].final for name in mine), "its counters are never said to be final")
    gone = (await bench.inventory()).get(victim)
    expect(gone is None or gone.state is State.GONE, "the inventory still lists it")


MONEY: tuple[Check, ...] = (
    Check(
        "inventory", "every resource once, the same twice, with the provider's own word for its state", _inventory
    ),
    Check(
        "counters", "every bill has an identity, a currency, integer nano-units and the provider's text", _counters
    ),
    Check("rising", "totals only rise while resources run, and no known counter is left out", _rising),
    Check("agreement", "counters' differences, billed and billed_total are the provider's own account", _agreement),
    Check("rates", "a nonsense rate changes no total", _rates),
    Check("vanished", "a resource that has ended is found among the ended until its bill is final", _vanished),
)
