"""Vast.ai: charges per contract since a fixed instant, machines that are bid for, and stops that keep the disk.

Source: https://docs.vast.ai and the official OpenAPI document (2026-08-07). A destroyed contract can no longer be
looked at; its charges remain.
"""

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

import httpx

from console.providers.exchange import ReadFailed
from console.providers.protocol import (
    Accepted,
    Action,
    Ambiguous,
    Batch,
    BillReading,
    NoCapacity,
    Outcome,
    Permit,
    Ref,
    Refused,
    Resource,
    Unsent,
    WindowBilled,
    permitted,
)
from console.providers.vast_charges import CURRENCY, Charges, Table, Windows, counter_of
from console.providers.vast_http import VastHttp, refusal
from console.providers.vast_listing import Listing, instance, is_outbid, listing
from console.providers.vast_wire import Charge, InstanceRow, body_of, instance_row
from console.providers.wire import Unreadable
from store.clock import Clock
from store.words import ResourceKind, State

BASE_URL = "https://console.vast.ai"
SINCE = datetime(2018, 1, 1, tzinfo=UTC)  # before the provider's first contract: totals are whole lives
_FINAL_AFTER = timedelta(hours=3)  # nobody states by how much the charges of what has ended trail
_ENDED_LATELY = timedelta(days=2)  # what began and ended while we were away, if that was no longer
_GOES_ON = timedelta(days=1)  # a contract that exists has no end yet
_STATES = {Action.SLEEP: "stopped", Action.WAKE: "running"}
# no document says how a start without a free GPU is refused: by such words, or by waiting for it for ever
_NO_CAPACITY = ("capacity", "unavailable", "not available", "no available")


class Vast:
    """One account. `base_url` is another server's in tests and in the demo.

    `since`: the instant from which new counters count, a UTC midnight. `windows`: which bounds of a window of
    charges are known to be honoured, those of UTC days alone or any second.
    """

    def __init__(
        self,
        name: str,
        api_key: str,
        base_url: str = BASE_URL,
        *,
        clock: Clock,
        since: datetime = SINCE,
        windows: Windows = "day",
        client: httpx.AsyncClient | None = None,
        pause_s: float = 2.0,
    ) -> None:
        self.name = name
        self._http = VastHttp(api_key, base_url, clock, client, pause_s)
        self._charges = Charges(self._http, clock, since, windows)
        self._underway: asyncio.Task[Listing] | None = None

    async def inventory(self) -> Batch[Resource]:
        """Every instance and volume of the account."""
        found = await self._listing()
        return Batch(found.resources, found.problems, found.provider_now)

    async def bills(self, known: Collection[str]) -> Batch[BillReading]:
        """Every contract's charge since its fixed start, save what ended long ago and nobody knows."""
        starts = self._charges.starts_of(known)
        existing, tables = await asyncio.gather(self._listing(), self._tables({*starts.values()}))
        readings: dict[str, BillReading] = {}
        problems: list[str] = []
        now, apart = None, None
        for since, table in tables.items():
            problems += table.problems
            now, apart = table.provider_now or now, table.apart or apart
            for charge, as_of in table.charges.values():
                is_its_start = starts.get(charge.source, self._charges.since) == since
                if is_its_start and (charge.source in starts or self._is_news(charge, as_of, existing, starts)):
                    reading = _reading(charge, since, as_of, existing)
                    readings[reading.counter] = reading
        lost = sorted(set(known) - readings.keys()) if not problems else ()
        return Batch(tuple(readings.values()), tuple(problems), now, tuple(lost), apart)

    async def billed(self, start: datetime, end: datetime) -> Batch[WindowBilled]:
        """What every contract was billed in `[start, end)`, where the provider's bounds allow to know it."""
        return await self._charges.billed(start, end)

    async def billed_total(self, start: datetime, end: datetime) -> int | str:
        """What the account was billed in `[start, end)`, nano-dollars: its contracts added up; no sum is told."""
        batch = await self._charges.billed(start, end)
        return "; ".join(batch.problems) or sum(one.nusd for one in batch.items)

    async def act(self, ref: Ref, action: Action, *, seen: str, permit: Permit = permitted) -> Outcome:
        """Stop or start an instance, once, if it is still in the raw state `seen`."""
        if ref.kind is not ResourceKind.INSTANCE or not ref.id.isdecimal():
            return Refused(f"{ref.kind} {ref.id} is no instance")
        path = f"/api/v0/instances/{ref.id}/"
        try:
            row = await self._look(path)
        except (ReadFailed, Unreadable) as error:
            return Unsent(f"its state could not be read: {error}")
        if row is None:
            return Refused("it does not exist any more")
        machine = instance(row)
        if machine.raw_state != seen:
            return Refused(f"it is {machine.raw_state} now, no longer {seen}")
        if action not in machine.can:
            return Refused(f"{machine.raw_state} does not allow to {action}")
        if is_outbid(row):
            return NoCapacity("it is meant to run already, and waits for its GPU: a higher bid, or patience")
        await permit()
        return await self._send(path, action)

    async def close(self) -> None:
        """Give the connections back."""
        if self._underway is not None:
            self._underway.cancel()
        await self._http.close()

    async def _look(self, path: str) -> InstanceRow | None:
        """One instance; None where there is none any more."""
        answer = await self._http.get(path, {"owner": "me"})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.is_error:
            raise ReadFailed(refusal(answer))
        body = body_of(answer.text)
        if "instances" in body and body["instances"] is None:
            return None
        return instance_row(body.get("instances"))

    async def _send(self, path: str, action: Action) -> Outcome:
        try:
            answer = await self._http.put(path, {"state": _STATES[action]})
        except httpx.HTTPError as error:
            return Ambiguous(f"sent, and the answer was lost: {type(error).__name__}")
        if answer.is_server_error or answer.is_redirect:
            return Ambiguous(f"sent, and answered HTTP {answer.status_code}")
        refused = refusal(answer) if answer.is_error else _denied(answer)
        if isinstance(refused, Ambiguous):
            return refused
        if refused is None:
            return Accepted()
        if action is Action.WAKE and any(word in refused.lower() for word in _NO_CAPACITY):
            return NoCapacity(refused)
        return Refused(refused)

    def _listing(self) -> "asyncio.Future[Listing]":
        """The inventory; whoever asks while it is being read shares the answer, as each endpoint is asked once."""
        if self._underway is None or self._underway.done():
            self._underway = asyncio.ensure_future(listing(self._http))
        return asyncio.shield(self._underway)

    async def _tables(self, known_starts: Collection[datetime]) -> dict[datetime, Table]:
        """The charges from every fixed start that a counter has; as a rule there is one."""
        return {since: await self._charges.table(since) for since in sorted({self._charges.since, *known_starts})}

    def _is_news(self, charge: Charge, as_of: datetime, existing: Listing, starts: Mapping[str, datetime]) -> bool:
        """Whether a contract that nobody knows is to be known: it exists, or has begun and ended in our time.

        Where counters have another start than the settings say, one that is over may be known and final by that.
        """
        if Ref(charge.kind, charge.id) in existing.rates_nusd:
            return True
        if charge.ended_at is not None and charge.ended_at < as_of - _ENDED_LATELY:
            return False
        return not _is_gone(charge, existing) or {*starts.values()} == {self._charges.since}


def _reading(charge: Charge, since: datetime, as_of: datetime, existing: Listing) -> BillReading:
    """A contract's charge as a counter. A contract is one charge period: what it holds was zero when it began."""
    ref = Ref(charge.kind, charge.id)
    is_gone = _is_gone(charge, existing)
    started_at = None if charge.started_at is None else max(charge.started_at, since)
    ends_at = charge.ended_at or as_of if is_gone else as_of + _GOES_ON
    return BillReading(
        counter=counter_of(charge.source, since),
        ref=ref,
        name=charge.name,
        raw=charge.amount.raw,
        total_nusd=charge.nusd,
        currency=CURRENCY,
        started_at=started_at,
        as_of=as_of,
        rate_nusd_per_hour=existing.rates_nusd.get(ref),
        active=ref in existing.rates_nusd,
        final=is_gone and (charge.ended_at is None or charge.ended_at <= as_of - _FINAL_AFTER),
        ends_at=None if started_at is None else ends_at,
    )


def _is_gone(charge: Charge, existing: Listing) -> bool:
    """Not in a whole inventory that was read after it began; other kinds of contract are in none."""
    if charge.kind is ResourceKind.OTHER or existing.problems or existing.provider_now is None:
        return charge.kind is ResourceKind.OTHER
    if charge.started_at is not None and charge.started_at >= existing.provider_now:
        return False
    ref = Ref(charge.kind, charge.id)
    return all(one.ref != ref or one.state is State.GONE for one in existing.resources)


def _denied(answer: httpx.Response) -> str | Ambiguous | None:
    """What an answer without an error status says: nothing if it was done, else why not."""
    try:
        body_of(answer.text)
    except Unreadable as error:
        text = str(error)
        return (
            text
            if text.startswith("the provider says")
            else Ambiguous(f"sent, and answered what is no answer: {text}")
        )
    return None
