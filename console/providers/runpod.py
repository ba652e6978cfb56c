"""RunPod, REST v2: bills in buckets, actions as each pod offers them, and a rate limit that it states itself.

v1 was retired on 2026-11-15. Source: the official OpenAPI document (2026-08-18) and https://docs.runpod.io.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

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
    SleepEffect,
    Unsent,
    WindowBilled,
    permitted,
)
from console.providers.runpod_billing import ACCOUNT, SOURCES, Hours, Listed, Source
from console.providers.runpod_http import Http, told
from console.providers.runpod_windows import billed, hours, inside, query
from console.providers.runpod_wire import (
    Bucket,
    PodRow,
    Rows,
    VolumeRow,
    account_of,
    body_of,
    families_of,
    pod_row,
    pods_of,
    records_of,
    volumes_of,
)
from console.providers.wire import Unreadable
from store.clock import Clock
from store.words import ResourceKind, State

BASE_URL = "https://api.runpod.io"
_STATES = {
    "PROVISIONING": State.STARTING,
    "STARTING": State.STARTING,
    "RUNNING": State.RUNNING,
    "EXITED": State.ASLEEP,
    "ERROR": State.ERROR,
    "TERMINATED": State.GONE,
}
_WORDS = {Action.SLEEP: "stop", Action.WAKE: "start"}
_NO_GPU = "RUNNING (zero GPUs)"
# https://github.com/runpod/runpod-python/issues/168: "not enough free GPUs on the host machine to start this pod"
_NO_CAPACITY = ("not enough", "no longer any", "does not have the resources", "capacity", "zero gpus")


class RunPod:
    """One account. `base_url` is another server's in tests and in the demo; `step`: how often its bills move."""

    def __init__(
        self,
        name: str,
        api_key: str,
        base_url: str = BASE_URL,
        *,
        clock: Clock,
        client: httpx.AsyncClient | None = None,
        step: timedelta | None = None,
    ) -> None:
        self.name = name
        self._clock, self._hours = clock, Hours(clock, step)
        self._http = Http(api_key, base_url, clock, client)
        self._paths: dict[str, tuple[str, ...]] = {}  # by bill, the path that has answered

    async def inventory(self) -> Batch[Resource]:
        """Every pod and network volume of the account. A cluster's pods are billed with it, and not listed."""
        listed = await self._listed()
        pods, volumes = listed.pods.values(), listed.volumes.values()
        owners = {pod.network_volume: pod.id for pod in pods if pod.network_volume is not None}
        return Batch((*map(_pod, pods), *(_volume(one, owners.get(one.id)) for one in volumes)), listed.problems)

    async def bills(self, known: Collection[str]) -> Batch[BillReading]:
        """Every resource's hour in progress, closed ones while they may be revised, and those of `known`."""
        listed = await self._listed()
        now, problems = listed.now, list(listed.problems)
        if now is None or listed.apart is not None:
            return Batch((), listed.problems, clock_apart=listed.apart)
        asked = {"bucketSize": "hour", "lastN": str(self._hours.to_ask(known, now))}
        answers = await asyncio.gather(*(self._bill(source, asked) for source in SOURCES))
        found: dict[str, BillReading] = {}
        for source, answer in zip(SOURCES, answers, strict=True):
            problems += answer.rows.problems
            for reading in self._hours.readings(source, answer.rows.records, listed, answer.now or now):
                if source is ACCOUNT and not reading.total_nusd and reading.counter not in known:
                    continue  # nothing of this family was used
                if reading.counter in found:
                    problems.append(f"{source.paths[0]}: {reading.counter} is listed twice")
                found.setdefault(reading.counter, reading)
        lost = set(known) - found.keys() if not problems else set()
        items = tuple(one for one in found.values() if self._hours.is_due(one, known))
        self._hours.forget(now)
        apart = next((answer.apart for answer in answers if answer.apart is not None), None)
        return Batch(items, tuple(problems), now, tuple(sorted(lost)), apart)

    async def billed(self, start: datetime, end: datetime) -> Batch[WindowBilled]:
        """What every resource was billed in `[start, end)`, which has to begin and end with an hour, or end now."""
        window = hours(start, end, self._clock.now())
        if isinstance(window, str):
            return Batch((), (window,))
        answers = await asyncio.gather(*(self._bill(source, query(window)) for source in SOURCES))
        items: list[WindowBilled] = []
        for source, answer in zip(SOURCES, answers, strict=True):
            items += billed(source, inside(answer.rows.records, window))
        problems = tuple(problem for answer in answers for problem in answer.rows.problems)
        return Batch(tuple(one for one in items if one.nusd or one.ref.kind is not ResourceKind.OTHER), problems)

    async def billed_total(self, start: datetime, end: datetime) -> int | str:
        """What the whole account was billed in `[start, end)`, nano-dollars; or why that is not known."""
        window = hours(start, end, self._clock.now())
        if isinstance(window, str):
            return window
        try:
            text, _ = await self._http.read(ACCOUNT.paths[0], query(window))
            rows = account_of(text, Bucket.HOUR)
        except (ReadFailed, Unreadable) as error:
            return f"{ACCOUNT.paths[0]}: {error}"
        if rows.problems:
            return f"{ACCOUNT.paths[0]}: {rows.problems[0]}"
        return sum(one.total.nusd for one in inside(rows.records, window))

    async def act(self, ref: Ref, action: Action, *, seen: str, permit: Permit = permitted) -> Outcome:
        """Stop or start a pod, once, if it is still in the raw state `seen` and offers that action itself."""
        path = f"/v2/pods/{ref.id}"
        try:
            answer = await self._http.get(path, {})
            if answer.status_code == httpx.codes.NOT_FOUND:
                return Refused(f"HTTP 404: {told(answer)}")
            if answer.is_error:
                return Unsent(f"its state could not be read: HTTP {answer.status_code}: {told(answer)}")
            pod = _pod(pod_row(body_of(answer.text)))
        except (ReadFailed, Unreadable) as error:
            return Unsent(f"its state could not be read: {error}")
        if pod.raw_state != seen:
            return Refused(f"it is {pod.raw_state} now, no longer {seen}")
        if action not in pod.can:
            return Refused(f"{pod.raw_state} does not allow to {action}")
        waits = self._http.quota.problem
        if waits is not None:
            return Unsent(waits)
        await permit()
        return await self._send(f"{path}/action", action)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.close()

    async def _send(self, path: str, action: Action) -> Outcome:
        try:
            answer = await self._http.send(path, {"action": _WORDS[action]})
        except httpx.HTTPError as error:
            return Ambiguous(f"sent, and the answer was lost: {type(error).__name__}")
        if answer.is_success:
            return Accepted()
        if answer.is_server_error:
            return Ambiguous(f"sent, and answered HTTP {answer.status_code}")
        said = f"HTTP {answer.status_code}: {told(answer)}"
        if action is Action.WAKE and any(word in said.lower() for word in _NO_CAPACITY):
            return NoCapacity(said)
        return Refused(said)

    async def _listed(self) -> Listed:
        pods, volumes = await asyncio.gather(
            self._ask("/v2/pods", {}, pods_of), self._ask("/v2/network-volumes", {}, volumes_of)
        )
        return Listed(
            {one.id: one for one in pods.rows.pods},
            {one.id: one for one in volumes.rows.volumes},
            (*pods.rows.problems, *volumes.rows.problems),
            pods.now or volumes.now,
            pods.apart or volumes.apart,
        )

    async def _bill(self, source: Source, asked: Mapping[str, str]) -> "_Answer":
        """One of the account's bills, from the first of its paths that there is."""
        parse = partial(_records, source)
        for path in self._paths.get(source.word, source.paths):
            answer = await self._ask(path, asked, parse)
            if answer.status != httpx.codes.NOT_FOUND:
                break
        if answer.now is not None:
            self._paths[source.word] = (path,)
        return answer

    async def _ask(self, path: str, params: Mapping[str, str], parse: Callable[[str], Rows]) -> "_Answer":
        try:
            text, now = await self._http.read(path, params)
            rows = parse(text)
        except ReadFailed as error:
            return _Answer(Rows((f"{path}: {error}",)), status=error.status, apart=error.apart)
        except Unreadable as error:
            return _Answer(Rows((f"{path}: {error}",)))
        return _Answer(replace(rows, problems=tuple(f"{path}: {one}" for one in rows.problems)), now)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one question brought. `status`: of an error; `apart`: how far off the provider's clock is."""

    rows: Rows
    now: datetime | None = None
    status: int | None = None
    apart: timedelta | None = None


def _records(source: Source, text: str) -> Rows:
    if source is ACCOUNT:
        return families_of(text, Bucket.HOUR)
    return records_of(text, source.owner, Bucket.HOUR)


def _pod(pod: PodRow) -> Resource:
    computes = pod.has_gpu or pod.status != "RUNNING"
    can = set()
    if "stop" in pod.actions and not pod.is_locked:
        can.add(Action.SLEEP)
    if "start" in pod.actions:
        can.add(Action.WAKE)
    return Resource(
        ref=Ref(ResourceKind.INSTANCE, pod.id),
        name=pod.name,
        state=_STATES.get(pod.status, State.UNKNOWN) if computes else State.ERROR,
        raw_state=pod.status if computes else _NO_GPU,
        address=pod.address,
        can=frozenset(can),
        sleep=_sleep(pod),
        may_sleep=Action.SLEEP in can or pod.status != "RUNNING",
    )


def _sleep(pod: PodRow) -> SleepEffect:
    """A stopped pod keeps its volume disk, at twice the price, and its host: not the GPU on it."""
    loses = ["container disk", "GPU (starts again only if its own host has one free)"]
    if pod.network_volume is None:
        loses.append("the whole pod if the balance reaches $0")
    return SleepEffect(billed="storage", loses=tuple(loses))


def _volume(volume: VolumeRow, owner: str | None) -> Resource:
    return Resource(Ref(ResourceKind.VOLUME, volume.id), volume.name, State.RUNNING, "listed", attached_to=owner)
