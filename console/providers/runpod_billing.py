"""RunPod's bill as counters: each bucket of a resource is one, zero at its start, read while it is in progress.

We read the year's bucket: of all that RunPod offers it begins anew least often, so that a resource's counter moves
on through the hours and days, and a late revision of any hour of the year arrives in it as a movement. The hours'
buckets place money in time (`runpod_windows`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from console.providers.protocol import BillReading, Ref
from console.providers.runpod_prices import pod_rate, volume_rate
from console.providers.runpod_wire import BillRecord, Bucket, PodRow, VolumeRow
from store.clock import Clock, rfc3339
from store.words import ResourceKind

CURRENCY = "USD"  # stated by the document: "cost in USD for the bucket"
_LENGTH = {
    Bucket.HOUR: timedelta(hours=1),
    Bucket.DAY: timedelta(days=1),
    Bucket.WEEK: timedelta(days=7),
    Bucket.MONTH: timedelta(days=28),
    Bucket.YEAR: timedelta(days=365),
}
_REVISED_FOR = timedelta(days=7)  # no document says for how long: closed buckets are asked for again so long
_MOST_BUCKETS = 400
_TOLD_AGAIN_FOR_S = 600.0  # a last movement is told at several ticks: one of them may not be stored


@dataclass(frozen=True, slots=True)
class Source:
    """One of the account's bills. `paths`: where official documents disagree there are two, and one answers."""

    word: str
    kind: ResourceKind
    owner: str
    paths: tuple[str, ...]


PODS = Source("pod", ResourceKind.INSTANCE, "podId", ("/v2/billing/pods",))
VOLUMES = Source(
    "volume",
    ResourceKind.VOLUME,
    "networkVolumeId",
    ("/v2/billing/network-volumes", "/v2/billing/networkvolumes"),
)
ACCOUNT = Source("account", ResourceKind.OTHER, "", ("/v2/billing",))
SOURCES = (PODS, VOLUMES, ACCOUNT)


@dataclass(frozen=True, slots=True)
class Listed:
    """What the inventory lists. `now`: the provider's clock; `apart`: how far off it is, where that spoils all."""

    pods: Mapping[str, PodRow]
    volumes: Mapping[str, VolumeRow]
    problems: tuple[str, ...]
    now: datetime | None
    apart: timedelta | None

    @property
    def is_whole(self) -> bool:
        """Whether it lists every resource, so that what it lacks is gone."""
        return not self.problems


def counter_of(source: Source, record: BillRecord, bucket: Bucket) -> str:
    """The identity of one bucket of one resource."""
    return f"runpod:{source.word}:{record.owner}:{bucket}:{rfc3339(record.start)}"


def buckets_to_ask(known: Collection[str], bucket: Bucket, now: datetime) -> int:
    """How many buckets back, the one in progress included: those still revised, and those of `known`."""
    since = [now - _REVISED_FOR if bucket is not Bucket.HOUR else now - 3 * _LENGTH[Bucket.HOUR]]
    for counter in known:
        size, _, start = counter.rpartition(f":{bucket}:")[0:3]
        if size:
            try:
                since.append(datetime.fromisoformat(start))
            except ValueError:
                continue  # a counter of another adapter's, or handed over: not ours to ask for
    oldest = min(since)
    if bucket is Bucket.YEAR:
        return min(now.year - oldest.year + 1, _MOST_BUCKETS)
    return min((now - oldest) // _LENGTH[bucket] + 2, _MOST_BUCKETS)


@dataclass(slots=True)
class Told:
    """What was last told of counters that have ended, so that each is told again only when it moves."""

    clock: Clock
    _last: dict[str, tuple[str, float]] = field(default_factory=dict)

    def is_due(self, reading: BillReading, known: Collection[str]) -> bool:
        """Whether a reading is to be told: of what has ended, only what is watched or has moved lately."""
        now_s = self.clock.monotonic_s()
        raw, since_s = self._last.get(reading.counter, ("", now_s))
        if raw != reading.raw:
            since_s = now_s
        self._last[reading.counter] = (reading.raw, since_s)
        return not reading.final or reading.counter in known or now_s - since_s <= _TOLD_AGAIN_FOR_S


def reading_of(source: Source, record: BillRecord, bucket: Bucket, listed: Listed, as_of: datetime) -> BillReading:
    """A record as a reading of its counter; it has ended when its bucket is closed, or its resource is gone."""
    pod, volume = (listed.pods.get(record.owner), listed.volumes.get(record.owner))
    found = pod if source is PODS else volume if source is VOLUMES else None
    is_gone = source is not ACCOUNT and listed.is_whole and found is None
    started = record.start
    if source is PODS and pod is not None and pod.created_at is not None:
        started = max(started, pod.created_at)
    return BillReading(
        counter=counter_of(source, record, bucket),
        ref=Ref(source.kind, record.owner),
        name=found.name if found is not None else record.owner,
        raw=record.total.raw,
        total_nusd=record.total.nusd,
        currency=CURRENCY,
        started_at=started,
        as_of=as_of,
        rate_nusd_per_hour=_rate(source, pod, volume),
        active=not is_gone,
        final=is_gone or record.end <= as_of,
    )


def _rate(source: Source, pod: PodRow | None, volume: VolumeRow | None) -> int | None:
    if source is PODS:
        return pod_rate(pod) if pod is not None else None
    if source is VOLUMES:
        return volume_rate(volume) if volume is not None else None
    return None
