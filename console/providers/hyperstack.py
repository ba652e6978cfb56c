"""Hyperstack: lifetime bills per resource, and the only true hibernate.

Its actions are GETs with side effects, so nothing here retries them: neither we nor the transport. Source:
https://docs.hyperstack.cloud (2026-08-26) and the official OpenAPI document (2026-06-17).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx

from console.providers.exchange import ReadFailed, asked_twice, connection, provider_now
from console.providers.hyperstack_history import total_billed, window_billed
from console.providers.hyperstack_wire import UsageRow, body_of, is_since, usage_row
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
    SleepEffect,
    Unsent,
    WindowBilled,
    permitted,
)
from console.providers.wire import Number, Unreadable, object_in, rows_of
from store.clock import Clock
from store.errors import AmountError
from store.words import ResourceKind, State

BASE_URL = "https://infrahub-api.nexgencloud.com/v1"
_PAGE_SIZE = 100
_MOST_PAGES = 200  # 20,000 resources: beyond that the paging itself has gone wrong

_LATELY = timedelta(days=2)  # an outage of ours is seldom longer
_TOLD_FOR_S = 3600.0  # a tick may not be stored
_TRAILS = timedelta(minutes=15)  # in the published captures the fields of one row are up to 4 minutes apart

_STATES = {
    "CREATING": State.STARTING,
    "BUILD": State.STARTING,
    "STARTING": State.STARTING,
    "REBOOTING": State.STARTING,
    "ACTIVE": State.RUNNING,
    "HIBERNATING": State.SLEEPING,
    "HIBERNATED": State.ASLEEP,
    "RESTORING": State.WAKING,
    "SHUTOFF": State.HALTED_BILLED,  # billed in full: stopping is not saving
    "STOPPING": State.HALTED_BILLED,
    "ERROR": State.ERROR,
    "DELETING": State.GONE,
    "DELETED": State.GONE,
}
_KINDS = {
    "vm": ResourceKind.INSTANCE,
    "virtual_machine": ResourceKind.INSTANCE,
    "virtual-machine": ResourceKind.INSTANCE,
    "instance": ResourceKind.INSTANCE,
    "volume": ResourceKind.VOLUME,
}
_PATHS = {Action.SLEEP: "hibernate", Action.WAKE: "hibernate-restore"}
# no document says how a restore without capacity is refused: by such words, or by a machine that falls back
_NO_CAPACITY = ("capacity", "stock", "not enough", "no available")
_SLEEP = SleepEffect(billed="storage", loses=("ephemeral disk", "GPU reservation"))


class Hyperstack:
    """One account. `base_url` is another server's in tests and in the demo."""

    def __init__(
        self,
        name: str,
        api_key: str,
        base_url: str = BASE_URL,
        *,
        clock: Clock,
        client: httpx.AsyncClient | None = None,
        currency: str = "USD",
    ) -> None:
        self.name = name
        self._clock, self._currency = clock, currency
        self._http = client or connection(base_url, {"api_key": api_key})
        self._ended: dict[str, tuple[int, float]] = {}  # what has been told of the deleted, and until when it is

    async def inventory(self) -> Batch[Resource]:
        """Every virtual machine and volume of the account."""
        machines = await self._paged("/core/virtual-machines", "instances", _machine)
        volumes = await self._paged("/core/volumes", "volumes", _volume)
        return Batch((*machines.items, *volumes.items), (*machines.problems, *volumes.problems))

    async def bills(self, known: Collection[str]) -> Batch[BillReading]:
        """Every active resource's lifetime bill; from among the deleted, known ones and those that ended lately.

        The active are read first: what is deleted between the two is in both, never in neither.
        """
        live = await self._usage({})
        if live.problems or live.provider_now is None:
            return live
        active, since = {reading.counter for reading in live.items}, live.provider_now - _LATELY
        missing = frozenset(known) - active
        deleted = await self._usage({"deleted": "true"}, lambda row: bool(missing) or is_since(row, since))
        ended = [reading for reading in deleted.items if reading.counter not in active]
        lost = missing - {reading.counter for reading in ended} if not deleted.problems else ()
        found = [replace(one, ends_at=None) for one in ended if one.counter in missing]
        found += self._unknown([one for one in ended if _is_since(one, since)], missing)
        return Batch((*live.items, *found), deleted.problems, live.provider_now, tuple(sorted(lost)))

    def _unknown(self, ended: Collection[BillReading], missing: Collection[str]) -> list[BillReading]:
        """What lived between two ticks, or in an outage: told until it is among the `missing`, at most for an hour.

        We have seen nothing of its life, so it is told as a bucket: zero at its start, and over at its end.
        """
        now_s, before, due = self._clock.monotonic_s(), self._ended, []
        self._ended = {}
        for one in ended:
            nusd, until_s = before.get(one.counter, (None, 0.0))
            if one.counter in missing:
                until_s = 0.0
            elif nusd != one.total_nusd:
                until_s = now_s + _TOLD_FOR_S
            self._ended[one.counter] = one.total_nusd, until_s
            if now_s < until_s:
                due.append(one)
        return due

    async def billed(self, start: datetime, end: datetime) -> Batch[WindowBilled]:
        """What every resource of any kind was billed in `[start, end)`."""
        try:
            return await window_billed(self._read_history, start, end, self._currency)
        except ReadFailed as error:
            return Batch((), (str(error),))

    async def billed_total(self, start: datetime, end: datetime) -> int | str:
        """What the organisation was billed in `[start, end)`, nano-dollars; or why that is not known."""
        try:
            return await total_billed(self._read_history, start, end)
        except ReadFailed as error:
            return str(error)

    async def act(self, ref: Ref, action: Action, *, seen: str, permit: Permit = permitted) -> Outcome:
        """Hibernate or restore a virtual machine, once, if it is still in the raw state `seen`."""
        path = f"/core/virtual-machines/{ref.id}"
        try:
            answer = await self._get(path, {})
            if answer.status_code == httpx.codes.NOT_FOUND:
                return Refused(f"HTTP 404: {_message(answer)}")
            machine = _machine(body_of(answer.text).get("instance"))
        except (ReadFailed, Unreadable) as error:
            return Unsent(f"its state could not be read: {error}")
        if machine.raw_state != seen:
            return Refused(f"it is {machine.raw_state} now, no longer {seen}")
        if action not in machine.can:
            return Refused(f"{machine.raw_state} does not allow to {action}")
        await permit()
        return await self._send(f"{path}/{_PATHS[action]}", action)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def _send(self, path: str, action: Action) -> Outcome:
        params = {"retain_ip": "true"} if action is Action.SLEEP else {}
        try:
            answer = await self._http.get(path, params=params)
        except httpx.HTTPError as error:
            return Ambiguous(f"sent, and the answer was lost: {type(error).__name__}")
        if answer.is_success:
            return Accepted()
        if answer.is_server_error:
            return Ambiguous(f"sent, and answered HTTP {answer.status_code}")
        told = f"HTTP {answer.status_code}: {_message(answer)}"
        if action is Action.WAKE and any(word in told.lower() for word in _NO_CAPACITY):
            return NoCapacity(told)
        return Refused(told)

    async def _usage(
        self, params: Mapping[str, str], matters: Callable[[Any], bool] = lambda _: True
    ) -> Batch[BillReading]:
        """The bills that one question lists. A row that does not matter spoils nothing, whatever it holds."""
        path = "/billing/billing/usage"
        try:
            text, as_of = await self._read(path, params)
            rows = rows_of(body_of(text), "data")
        except ReadFailed as error:
            return Batch((), (f"{path}: {error}",), clock_apart=error.apart)
        except Unreadable as error:
            return Batch((), (f"{path}: {error}",))
        readings: dict[str, BillReading] = {}
        problems = []
        for row in filter(matters, rows):
            try:
                reading = self._reading(usage_row(row), as_of)
            except Unreadable as error:
                problems.append(f"{path}: {_label(row)}: {error}")
                continue
            if reading.counter in readings:
                problems.append(f"{path}: {reading.counter} is listed twice")
            readings.setdefault(reading.counter, reading)
        return Batch(tuple(readings.values()), tuple(problems), as_of)

    def _reading(self, row: UsageRow, as_of: datetime) -> BillReading:
        """A row as a reading. Created anew, a resource is another counter."""
        created = row.create_time.isoformat() if row.create_time else "-"
        return BillReading(
            counter=f"hyperstack:usage:{row.resource_type}:{row.resource_id}:{created}",
            ref=Ref(_KINDS.get(row.resource_type.lower(), ResourceKind.OTHER), row.resource_id),
            name=row.name,
            raw=row.total.raw,
            total_nusd=row.total.nusd,
            currency=self._currency,
            started_at=row.create_time,
            as_of=as_of,
            rate_nusd_per_hour=_per_hour(row.rate),
            active=row.active,
            final=row.terminate_time is not None and row.terminate_time <= as_of - _TRAILS,
            excluded=row.excluded,
            ends_at=row.terminate_time if row.create_time else None,
        )

    async def _paged(self, path: str, field: str, parse: Callable[[Any], Resource]) -> Batch[Resource]:
        found: dict[Ref, Resource] = {}
        problems = []
        for page in range(1, _MOST_PAGES + 1):
            try:
                text, _ = await self._read(path, {"page": str(page), "pageSize": str(_PAGE_SIZE)})
                rows = rows_of(body_of(text), field)
            except (ReadFailed, Unreadable) as error:
                problems.append(f"{path}: page {page}: {error}")
                break
            for row in rows:
                try:
                    resource = parse(row)
                except Unreadable as error:
                    problems.append(f"{path}: {_label(row)}: {error}")
                    continue
                found[resource.ref] = resource  # a list that moves between pages repeats rows
            if len(rows) < _PAGE_SIZE:
                break
        return Batch(tuple(found.values()), tuple(problems))

    async def _read(self, path: str, params: Mapping[str, str]) -> tuple[str, datetime]:
        """A read's text and the provider's clock."""
        answer = await self._get(path, params)
        if answer.is_error:
            raise ReadFailed(f"HTTP {answer.status_code}: {_message(answer)}")
        return answer.text, self._provider_now(answer)

    async def _read_history(self, path: str, params: Mapping[str, str]) -> tuple[int, str]:
        """A windowed bill's status and text: 404 is an empty window."""
        answer = await self._get(path, params)
        return answer.status_code, answer.text

    async def _get(self, path: str, params: Mapping[str, str]) -> httpx.Response:
        """A read's answer. Lost connections and 5xx are asked again once."""
        return await asked_twice(lambda: self._http.get(path, params=params))

    def _provider_now(self, answer: httpx.Response) -> datetime:
        return provider_now(answer, self._clock)


def _is_since(ended: BillReading, since: datetime) -> bool:
    at = ended.ends_at or ended.started_at
    return at is not None and at >= since


def _machine(row: Any) -> Resource:
    id_, raw_state = _identity(row)
    flavor = object_in(row, "flavor")
    features = object_in(flavor, "features")
    can = set()
    if raw_state == "ACTIVE" and features.get("no_hibernation") is not True:
        can.add(Action.SLEEP)
    if raw_state == "HIBERNATED":
        can.add(Action.WAKE)
    return Resource(
        ref=Ref(ResourceKind.INSTANCE, id_),
        name=str(row.get("name") or ""),
        state=_STATES.get(raw_state, State.UNKNOWN),
        raw_state=raw_state,
        spot_hint=str(flavor.get("name") or "").endswith("-spot"),
        address=row.get("floating_ip") or row.get("fixed_ip"),
        can=frozenset(can),
        sleep=_SLEEP,
        may_sleep=features.get("no_hibernation") is not True,
    )


def _volume(row: Any) -> Resource:
    id_, raw_state = _identity(row)
    gone = raw_state in ("DELETING", "DELETED")
    state = State.GONE if gone else State.STARTING if raw_state == "CREATING" else State.RUNNING
    ref = Ref(ResourceKind.VOLUME, id_)
    return Resource(ref, str(row.get("name") or ""), state, raw_state, attached_to=_attached_to(row))


def _attached_to(row: Mapping[str, Any]) -> str | None:
    """The instance that a volume is attached to, if the provider names one."""
    attachments = row.get("attachments")
    for one in attachments if isinstance(attachments, list) else ():
        id_ = one.get("instance_id") if isinstance(one, dict) else None
        if isinstance(id_, Number):
            return id_.raw
    return None


def _identity(row: Any) -> tuple[str, str]:
    id_, status = (row.get("id"), row.get("status")) if isinstance(row, dict) else (None, None)
    if not isinstance(id_, Number) or not isinstance(status, str):
        msg = "'id' or 'status' is missing"
        raise Unreadable(msg)
    return id_.raw, status.upper()


def _per_hour(rate: Number | None) -> int | None:
    """The quoted rate, shown only: one that makes no sense is none, and spoils no bill."""
    try:
        return None if rate is None else rate.nusd * 60
    except AmountError:
        return None


def _message(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:80]
    return str(body.get("message", ""))[:120] if isinstance(body, dict) else ""


def _label(row: Any) -> str:
    if not isinstance(row, dict):
        return "a row"
    id_ = row.get("resource_id", row.get("id"))
    return f"resource {id_.raw if isinstance(id_, Number) else id_}"
