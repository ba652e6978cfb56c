"""RunPod's bill as counters: each hour of a resource is a bucket of its own, which starts from zero.

Each minute we read the hours in progress, those that closed lately, and whatever is still watched; once an hour two
days back, for revisions that come late. An hour is done when it has been closed for three steps of its bill.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from console.providers.protocol import BillReading, Ref
from console.providers.runpod_prices import pod_rate, volume_rate
from console.providers.runpod_wire import BillRecord, PodRow, VolumeRow
from store.clock import Clock, rfc3339
from store.words import ResourceKind

CURRENCY = "USD"  # stated by the document: "cost in USD for the bucket"
HOUR = timedelta(hours=1)
_REVISED_FOR = 3  # hours that each minute reads again
_FIRST_LOOK = 24  # so that the gate knows what was billed today before our time
_LATE_FOR = 48  # and those that one read an hour does: no document says for how long a closed hour is revised
_MOST_HOURS = 24 * 40
_DONE_AFTER_STEPS = 3
_TOLD_AGAIN_FOR_S = 600.0  # a last movement is told at several ticks: one of them may not be stored


@dataclass(frozen=True, slots=True)
class Source:
    """One of the account's bills. `paths`: where official documents disagree there are two, and one answers.

    `step`: how often it moves, as documented.
    """

    word: str
    kind: ResourceKind
    owner: str
    step: timedelta
    paths: tuple[str, ...]


PODS = Source("pod", ResourceKind.INSTANCE, "podId", timedelta(minutes=5), ("/v2/billing/pods",))
VOLUMES = Source(
    "volume",
    ResourceKind.VOLUME,
    "networkVolumeId",
    HOUR,
    ("/v2/billing/network-volumes", "/v2/billing/networkvolumes"),
)
ACCOUNT = Source("account", ResourceKind.OTHER, "", timedelta(minutes=5), ("/v2/billing",))
SOURCES = (PODS, VOLUMES, ACCOUNT)


@dataclass(frozen=True, slots=True)
class Listed:
    """What the inventory lists. `now`: the provider's clock; `apart`: how far off it is, where that spoils all."""

    pods: Mapping[str, PodRow]
    volumes: Mapping[str, VolumeRow]
    problems: tuple[str, ...]
    now: datetime | None
    apart: timedelta | None


@dataclass(slots=True)
class Hours:
    """Which hours to ask for, and which of their readings to tell. `step`: in place of the documented ones."""

    clock: Clock
    step: timedelta | None = None
    _late_s: float | None = None
    _new_since: datetime | None = None
    _last: dict[str, tuple[int, float]] = field(default_factory=dict)

    def to_ask(self, known: Collection[str], now: datetime) -> int:
        """How many hours back, the one in progress included."""
        starts = [start for one in known if (start := _start_of(one)) is not None]
        least = _REVISED_FOR if known or self._late_s is not None else _FIRST_LOOK
        back = max([least, *((now - start) // HOUR for start in starts)]) + 1
        self._new_since = now - back * HOUR
        now_s = self.clock.monotonic_s()
        if self._late_s is None:
            self._late_s = now_s  # before our first look there is nothing to revise
        elif now_s - self._late_s >= HOUR.total_seconds():
            self._late_s, back = now_s, max(back, _LATE_FOR)
        return min(back, _MOST_HOURS)

    def is_due(self, reading: BillReading, known: Collection[str]) -> bool:
        """Whether a reading is to be told: of an hour that is done, only if it is watched or has moved lately."""
        now_s = self.clock.monotonic_s()
        nusd, since_s = self._last.get(reading.counter, (None, -math.inf))
        if self._is_new(reading) if nusd is None else nusd != reading.total_nusd:
            since_s = now_s
        self._last[reading.counter] = (reading.total_nusd, since_s)
        return not reading.final or reading.counter in known or now_s - since_s <= _TOLD_AGAIN_FOR_S

    def _is_new(self, reading: BillReading) -> bool:
        """Whether an hour that we see for the first time is of our time; those before it are read for revisions."""
        since, start = self._new_since, reading.started_at
        return since is not None and start is not None and start >= since

    def forget(self, now: datetime) -> None:
        """Drop what was told of hours that nobody asks for any more."""
        before = now - (_LATE_FOR + 1) * HOUR
        for counter in [one for one in self._last if (start := _start_of(one)) is None or start < before]:
            del self._last[counter]

    def readings(
        self, source: Source, records: Collection[BillRecord], listed: Listed, as_of: datetime
    ) -> list[BillReading]:
        """A bill's records as readings. The newest hour of a resource quotes its rate."""
        newest: dict[str, datetime] = {}
        for record in records:
            newest[record.owner] = max(newest.get(record.owner, record.start), record.start)
        return [
            self._reading(source, record, listed, as_of, is_newest=newest[record.owner] == record.start)
            for record in records
        ]

    def _reading(
        self, source: Source, record: BillRecord, listed: Listed, as_of: datetime, *, is_newest: bool
    ) -> BillReading:
        step = self.step or source.step
        pod = listed.pods.get(record.owner) if source is PODS else None
        volume = listed.volumes.get(record.owner) if source is VOLUMES else None
        found = pod or volume
        rate = pod_rate(pod) if pod is not None else volume_rate(volume) if volume is not None else None
        created_at = pod.created_at if pod is not None else None
        return BillReading(
            counter=f"runpod:{source.word}:{record.owner}:hour:{rfc3339(record.start)}",
            ref=Ref(source.kind, record.owner),
            name=found.name if found is not None else record.owner,
            raw=record.total.raw,
            total_nusd=record.total.nusd,
            currency=CURRENCY,
            started_at=record.start if created_at is None else max(record.start, created_at),
            as_of=as_of,
            rate_nusd_per_hour=rate if is_newest else None,
            active=found is not None,
            final=as_of >= record.end + _DONE_AFTER_STEPS * step,
            ends_at=record.end,
            step=step,
        )


def _start_of(counter: str) -> datetime | None:
    """When the hour of a counter began; None where it is no counter of an hour."""
    try:
        return datetime.fromisoformat(counter.rpartition(":hour:")[2])
    except ValueError:
        return None
