"""The fleet at one instant, as every reader of the store sees it: screens, `mtok status`, exports.

Values only: nothing here can be changed, and nothing needs the store again. `store.fleet` reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from store.capacity import implied_nusd
from store.figures import Figures, Trend
from store.gate import Verdict
from store.keys import KeyUsage
from store.machines import NO_AGENT, CapacityView, GpuView
from store.money import USD
from store.phases import Reached
from store.unknown import Unknown
from store.words import SERVING, Market


@dataclass(frozen=True, slots=True)
class TierSpec:
    """What the settings say of a tier."""

    name: str
    provider: str
    gpu: str
    market: Market
    is_simulated: bool = False


@dataclass(frozen=True, slots=True)
class OperationView:
    """An operation under way: what, in which phase, asked when, and the phases so far."""

    kind: str
    phase: str
    detail: str
    requested_at: datetime
    reached: tuple[Reached, ...] = ()


@dataclass(frozen=True, slots=True)
class SleepView:
    """What sleeping goes on billing and what it loses, in the provider's case."""

    bills: str
    loses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TierView:
    """One tier: its state in one word, its rate as quoted, its figures by window name.

    `refusals`: by kind of operation, why it makes no sense now; a kind that is not in it may be asked. `keys`: by
    label, what each key of its agents has used over their ledgers' whole life. `capacity`: what its agents can do
    at most; `no_gpu`: by agent, why it shows no GPU. `currency`: of its newest bill.
    """

    spec: TierSpec
    state: str
    seen: str
    rate_nusd_per_hour: int | Unknown
    figures: Mapping[str, Figures]
    trend: Trend
    in_flight: int | Unknown
    engine: str
    problem: str | None
    operation: OperationView | None
    sleep: SleepView | None
    refusals: Mapping[str, str]
    keys: Mapping[str, KeyUsage] = field(default_factory=dict)
    capacity: CapacityView | Unknown = NO_AGENT
    gpu: tuple[GpuView, ...] = ()
    no_gpu: Mapping[str, str] = field(default_factory=dict)
    currency: str = USD

    @property
    def is_serving(self) -> bool:
        """Whether it answers requests: to hibernate it then asks for its name."""
        return self.state == SERVING

    @property
    def implied_nusd_per_mtok(self) -> int | Unknown:
        """What a million completion tokens would cost at full load by the quoted rate: a bound, not a figure."""
        if isinstance(self.capacity, Unknown):
            return self.capacity
        if isinstance(self.rate_nusd_per_hour, Unknown):
            return self.rate_nusd_per_hour
        return implied_nusd(self.rate_nusd_per_hour, self.capacity.per_ks)


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """How one provider's billing answers: its last complete tick, and what is wrong since."""

    provider: str
    last_complete_at: datetime | None
    problem: str | None
    latency_ms: int | None


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that a screen shows. `led_by` is None when no collector leads; `is_replay`: of a past minute."""

    at: datetime
    tick_at: datetime | None
    figures_at: datetime
    tiers: tuple[TierView, ...]
    verdict: Verdict
    closed_since: datetime | None
    health: tuple[ProviderHealth, ...]
    led_by: str | None
    is_replay: bool = False

    def tier(self, name: str) -> TierView | None:
        """The tier called `name`, if there is one."""
        return next((tier for tier in self.tiers if tier.spec.name == name), None)
