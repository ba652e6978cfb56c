"""What sources said at one instant, not stored yet: the collector fills these in, the store keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill counter as read. Amounts in nano-dollars; `raw` is the provider's own text.

    `ends_at`: the counter is the bucket of one charge period, zero at `started_at`, and over then. `step`: how
    often such a bill moves, as its source says, until that has been observed.
    """

    counter: str
    kind: str
    resource_id: str
    name: str
    tier: str
    currency: str
    raw: str
    total_nusd: int
    as_of: datetime
    started_at: datetime | None
    rate_nusd_per_hour: int | None
    final: bool = False
    excluded: bool = False
    ends_at: datetime | None = None
    step: timedelta | None = None


@dataclass(frozen=True, slots=True)
class LedgerTotals:
    """A ledger's totals as its agent stated them. Tokens, requests, milliseconds."""

    uuid: str
    created_at: datetime
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    delivered_tokens: int
    requests: int
    busy_ms: int
    reserved_prompt_tokens: int = 0
    reserved_completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ProviderReading:
    """All that one provider said at a tick; `problem` when anything was missing or unsound.

    `vanished`: known counters that the provider, answering soundly, lists neither as active nor as deleted.
    """

    bills: tuple[Bill, ...]
    problem: str | None
    latency_ms: int
    vanished: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AgentReading:
    """What one agent said at a tick, or why it said nothing. `asleep`: its instance is known to sleep.

    `capacity_per_ks`: completion tokens in 1000 s that it could make at most; None where that is not known.
    """

    tier: str
    totals: LedgerTotals | None
    problem: str | None
    asleep: bool = False
    capacity_per_ks: int | None = None


@dataclass(frozen=True, slots=True)
class TierResources:
    """What a tier consists of, by the settings, and how many of its instances ran at the tick; None: not known."""

    provider: str
    resource_ids: frozenset[str]
    running: int | None


@dataclass(frozen=True, slots=True)
class TickReadings:
    """Everything that was read at the instant `at`."""

    at: datetime
    duration_ms: int
    providers: Mapping[str, ProviderReading]
    agents: Mapping[str, AgentReading]
    tiers: Mapping[str, TierResources]
