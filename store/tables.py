"""The tables. Money is BIGINT nano-dollars, instants are UTC, samples are keyed by counter and tick.

Every sample of a tick carries the tick's own instant `at`, so that bills and tokens share their edges.
"""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

_BY_KEY = {"sqlite_with_rowid": False}  # rows lie in the order of their key: an edge is one seek


class Stored(SQLModel):
    """A row of any table. Rows are read and written as they are, so nothing builds their validators at import."""

    model_config = {"defer_build": True}


class Tick(Stored, table=True):
    """One run of the collector. `duration_ms`: from the first question to the commit."""

    __tablename__: ClassVar[str] = "ticks"

    at: datetime = Field(primary_key=True)
    fence: int = Field(sa_type=BigInteger)
    complete: bool
    duration_ms: int


class ProviderTick(Stored, table=True):
    """Whether a provider's every known bill counter was read at a tick, and if not, why."""

    __tablename__: ClassVar[str] = "provider_ticks"
    __table_args__ = (
        Index("ix_provider_ticks_complete", "provider", "complete", "at"),
        Index("ix_provider_ticks_at", "at"),
    )

    provider: str = Field(primary_key=True)
    at: datetime = Field(primary_key=True, foreign_key="ticks.at")
    complete: bool
    problem: str | None = None
    latency_ms: int


class TierTick(Stored, table=True):
    """Whether a tier's bills and agents were all read. `running_ms`: cumulative, over its instances.

    `state`: in one word, as `store.states` has it; None where no tick came to say it.
    """

    __tablename__: ClassVar[str] = "tier_ticks"
    __table_args__ = (Index("ix_tier_ticks_complete", "tier", "complete", "at"), Index("ix_tier_ticks_at", "at"))

    tier: str = Field(primary_key=True)
    at: datetime = Field(primary_key=True, foreign_key="ticks.at")
    complete: bool
    problem: str | None = None
    running_ms: int = Field(sa_type=BigInteger)
    state: str | None = None


class BillCounter(Stored, table=True):
    """One bill counter of one provider. `counter` is its identity: a reset is a new identity.

    `opening_nusd` was billed before our time; zero when the counter was born under our eyes. `steps`: the seconds
    between its last few movements, oldest first, as text. A counter that went to another tier, or to
    another provider's name, is closed under its identity with `@` and the instant; the other has it from there on.
    """

    __tablename__: ClassVar[str] = "bill_counters"
    __table_args__ = (
        UniqueConstraint("provider", "counter"),
        Index("ix_bill_counters_final", "final_at"),
        Index("ix_bill_counters_provider", "provider", "final_at"),
        Index("ix_bill_counters_tier", "tier", "final_at"),
        Index("ix_bill_counters_unsettled", "tier", sqlite_where=text("unsettled_at IS NOT NULL")),
    )

    id: int | None = Field(default=None, primary_key=True)
    provider: str
    counter: str
    kind: str
    resource_id: str
    name: str
    tier: str
    currency: str
    started_at: datetime | None = None
    first_seen_at: datetime
    opening_nusd: int = Field(sa_type=BigInteger)
    excluded: bool = False
    final_at: datetime | None = None
    moved_at: datetime | None = None
    steps: str | None = None
    vanished_at: datetime | None = None
    unsettled_at: datetime | None = None


class BillSample(Stored, table=True):
    """A bill counter at a tick. `raw` is the provider's own text, `as_of_at` the provider's own clock.

    `debits_nusd`: every rise since our first look, added up; a credit does not lower it. `fell_at`: when the
    counter fell, while it is not known yet whether that was a credit or jitter. `origin` is empty for what was
    read: `derived` from the provider's windowed bill, `moved` from another tier, `settled` by an engineer.
    """

    __tablename__: ClassVar[str] = "bill_samples"
    __table_args__ = _BY_KEY

    counter_id: int = Field(primary_key=True, foreign_key="bill_counters.id")
    at: datetime = Field(primary_key=True)
    total_nusd: int = Field(sa_type=BigInteger)
    debits_nusd: int = Field(sa_type=BigInteger)
    raw: str
    as_of_at: datetime
    rate_nusd_per_hour: int | None = Field(default=None, sa_type=BigInteger)
    fell_at: datetime | None = None
    origin: str | None = None


class Ledger(Stored, table=True):
    """An agent's ledger: its identity is a UUID and an instant of creation.

    One whose totals fell, or whose agent went to another tier, is closed under its UUID with `@` and the instant of
    its last sample, and another row goes on from there: `first_seen_at`. After a fall its first sample is later,
    and what was served in between is not known.
    """

    __tablename__: ClassVar[str] = "ledgers"
    __table_args__ = (UniqueConstraint("uuid", "created_at"), Index("ix_ledgers_tier", "tier"))

    id: int | None = Field(default=None, primary_key=True)
    uuid: str
    created_at: datetime
    tier: str
    agent: str
    first_seen_at: datetime
    is_newborn: bool = False


class UsageSample(Stored, table=True):
    """A ledger's totals at a tick, in one wide row. `reserved_*` are those under `mtok.` labels.

    `capacity_per_ks`: completion tokens in 1000 s that its agent could make at most, as measured; None: not known.
    """

    __tablename__: ClassVar[str] = "usage_samples"
    __table_args__ = _BY_KEY

    ledger_id: int = Field(primary_key=True, foreign_key="ledgers.id")
    at: datetime = Field(primary_key=True)
    prompt_tokens: int = Field(sa_type=BigInteger)
    cached_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)
    delivered_tokens: int = Field(sa_type=BigInteger)
    requests: int = Field(sa_type=BigInteger)
    busy_ms: int = Field(sa_type=BigInteger)
    reserved_prompt_tokens: int = Field(default=0, sa_type=BigInteger)
    reserved_completion_tokens: int = Field(default=0, sa_type=BigInteger)
    capacity_per_ks: int | None = Field(default=None, sa_type=BigInteger)


class Gap(Stored, table=True):
    """A tick at which a source gave no usable reading, and why."""

    __tablename__: ClassVar[str] = "gaps"
    __table_args__ = (Index("ix_gaps_at", "at"), _BY_KEY)

    source: str = Field(primary_key=True)
    at: datetime = Field(primary_key=True, foreign_key="ticks.at")
    problem: str


class ResourceRow(Stored, table=True):
    """What is known now of an instance or a volume: for screens and operations, never for a figure.

    `unasked_at`: when it was first seen to have stopped though nobody had asked, until it runs again.
    `may_sleep`: whether its kind of machine can; `attached_to`: the instance that a volume is on.
    """

    __tablename__: ClassVar[str] = "resources"

    provider: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    resource_id: str = Field(primary_key=True)
    tier: str
    name: str
    state: str
    raw_state: str
    address: str | None = None
    rate_nusd_per_hour: int | None = Field(default=None, sa_type=BigInteger)
    can_sleep: bool = False
    can_wake: bool = False
    sleep_bills: str = "unknown"
    sleep_loses: str = ""
    seen_at: datetime
    state_since_at: datetime | None = None
    may_sleep: bool | None = None
    attached_to: str | None = None
    unasked_at: datetime | None = None


class AgentRow(Stored, table=True):
    """What an agent last said of itself; `problem` when it did not answer at the last tick.

    `capacity_about`: under what its capacity was measured, or why it is not known. `gpu`: its GPUs, as JSON.
    """

    __tablename__: ClassVar[str] = "agents"

    agent: str = Field(primary_key=True)
    tier: str
    seen_at: datetime | None = None
    problem: str | None = None
    in_flight: int = 0
    last_token_at: datetime | None = None
    engine: str = ""
    lease_open: bool = False
    model: str = ""
    quantisation: str = ""
    version: str = ""
    keys: str = ""
    capacity_per_ks: int | None = Field(default=None, sa_type=BigInteger)
    capacity_measured_at: datetime | None = None
    capacity_about: str = ""
    gpu: str = ""


class VerdictRow(Stored, table=True):
    """The gate's verdicts: a row whenever one differs from the one before.

    `reasons` is a JSON list, of the whole fleet; `tier_reasons` a JSON object of lists, of all other scopes.
    """

    __tablename__: ClassVar[str] = "verdicts"

    id: int | None = Field(default=None, primary_key=True)
    at: datetime
    is_open: bool
    reasons: str
    debits_today_nusd: int | None = Field(default=None, sa_type=BigInteger)
    limit_nusd: int = Field(sa_type=BigInteger)
    tier_reasons: str = "{}"


class GateMemory(Stored, table=True):
    """Hysteresis: the complete tick at which a scope's bound was first seen below its limit again."""

    __tablename__: ClassVar[str] = "gate_memory"

    scope: str = Field(primary_key=True)
    below_since_at: datetime


class GateClosure(Stored, table=True):
    """The gate closed by hand, by whom and why; open again once `opened_at` is set."""

    __tablename__: ClassVar[str] = "gate_closures"

    id: int | None = Field(default=None, primary_key=True)
    at: datetime
    actor: str
    reason: str
    opened_at: datetime | None = None
    opened_by: str | None = None
    opened_reason: str | None = None


class AlarmRow(Stored, table=True):
    """Something that a person must hear of. `told_at`: when every channel had taken it; `ended_at`: it is over."""

    __tablename__: ClassVar[str] = "alarms"
    __table_args__ = (Index("ix_alarms_open", "ended_at", "kind", "subject"),)

    id: int | None = Field(default=None, primary_key=True)
    at: datetime
    kind: str
    subject: str
    text: str
    told_at: datetime | None = None
    tries: int = 0
    problem: str | None = None
    ended_at: datetime | None = None


class Allowance(Stored, table=True):
    """Money added to one day's limit by a reset of the gate. `day` is a date in the budget's zone.

    `scope` is empty for the account's dollars, else the tier, or the currency, whose limit in its own units it is.
    """

    __tablename__: ClassVar[str] = "allowances"
    __table_args__ = (Index("ix_allowances_day", "day"),)

    id: int | None = Field(default=None, primary_key=True)
    day: str
    amount_nusd: int = Field(sa_type=BigInteger)
    at: datetime
    actor: str
    reason: str
    scope: str = ""


class OperationRow(Stored, table=True):
    """A hibernate or a wake that someone asked for, with its phase and its outcome.

    `calls`: provider calls sent. `readings`: last usage readings before the sleep that have failed.
    PostgreSQL has the same condition on the index by its migration: to name it here too would load its dialect.
    """

    __tablename__: ClassVar[str] = "operations"
    __table_args__ = (
        Index("ix_operations_open", "finished_at", "tier"),
        Index("ux_operations_under_way", "tier", unique=True, sqlite_where=text("finished_at IS NULL")),
    )

    id: int | None = Field(default=None, primary_key=True)
    tier: str
    kind: str
    actor: str
    reason: str
    seen: str
    requested_at: datetime
    phase: str
    phase_at: datetime
    calls: int = 0
    readings: int = 0
    outcome: str | None = None
    detail: str = ""
    finished_at: datetime | None = None


class OperationPhase(Stored, table=True):
    """When an operation entered each of its phases."""

    __tablename__: ClassVar[str] = "operation_phases"

    operation_id: int = Field(primary_key=True, foreign_key="operations.id")
    phase: str = Field(primary_key=True)
    at: datetime
    detail: str = ""


class OperationCall(Stored, table=True):
    """One call of a provider, stored before it is sent: one attempt for one instance.

    `seen`: the raw state in which alone it may be sent. `answer` is empty until there is one: a process that dies
    in between leaves it so. `moved_at`: when the instance was first seen on its way; `ended`: how it came out.
    """

    __tablename__: ClassVar[str] = "operation_calls"

    operation_id: int = Field(primary_key=True, foreign_key="operations.id")
    n: int = Field(primary_key=True)
    resource_id: str
    action: str
    seen: str
    sent_at: datetime
    answer: str = ""
    answered_at: datetime | None = None
    detail: str = ""
    moved_at: datetime | None = None
    ended: str = ""
    ended_at: datetime | None = None


class Candidate(Stored, table=True):
    """A collector that could lead, for as long as it says so; `yielded_at`: when it last gave the lead away."""

    __tablename__: ClassVar[str] = "candidates"

    owner: str = Field(primary_key=True)
    expires_at: datetime
    yielded_at: datetime | None = None


class JournalEntry(Stored, table=True):
    """Who did what, to what, and how it ended; rows are only ever added."""

    __tablename__: ClassVar[str] = "journal"

    id: int | None = Field(default=None, primary_key=True)
    at: datetime
    actor: str
    what: str
    subject: str
    detail: str = ""


class Leadership(Stored, table=True):
    """The one row that says who leads, until when by the database's clock, and with which fence."""

    __tablename__: ClassVar[str] = "leadership"

    id: int = Field(default=1, primary_key=True)
    owner: str
    fence: int = Field(sa_type=BigInteger)
    expires_at: datetime
