"""Three providers in one store: currencies apart, and a dark one that closes its own tiers, or the whole fleet."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.alarms import conditions
from store.budget_curve import budget_curve
from store.clock import SetClock
from store.database import Database
from store.figures import Spend
from store.figures_read import figures
from store.gate import FLEET, GateFacts, GatePolicy, Reason, ScopeFacts, Sight, Verdict, decide
from store.inventory import keep_resources
from store.leader import acquire
from store.lease import grant
from store.money import format_nusd
from store.readings import AgentReading, Bill, ProviderReading, TickReadings, TierResources
from store.resets import why_no_reset
from store.samples import record_tick
from store.stops import must_sleep
from store.tables import ResourceRow
from store.unknown import Unknown
from store.verdicts import add_allowance, record_verdict, verdict_now
from store.window import Window
from store.words import ResourceKind, State
from tests.conftest import START

UNIT = 10**9
CURRENCIES = {"cloud": "USD", "euro": "EUR", "files": "USD"}
TIERS = {f"{name}-tier": name for name in CURRENCIES}
ACCOUNT = GatePolicy(200 * UNIT, ZoneInfo("UTC"), timedelta(seconds=170), currency_limits_nusd={"EUR": 100 * UNIT})
APART = replace(ACCOUNT, provider_of=TIERS)
ASLEEP = {name: AgentReading(tier, None, None, asleep=True) for tier, name in TIERS.items()}


@dataclass
class Mixed:
    """Three providers with an instance each; `rates` are nano-units an hour, `silent` do not answer."""

    database: Database
    clock: SetClock = field(default_factory=lambda: SetClock(START))
    total: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CURRENCIES, 0))
    currencies: Mapping[str, str] = field(default_factory=lambda: CURRENCIES)
    agents: Mapping[str, AgentReading] = field(default_factory=lambda: ASLEEP)

    def __post_init__(self) -> None:
        fence = acquire(self.database, "test", 3600)
        assert fence is not None
        self.fence = fence

    def tick(self, *silent: str, rise: int = UNIT // 60) -> None:
        """A minute: every provider's bill rises, and those that are not silent say so."""
        at = self.clock.now()
        for name in self.total:
            self.total[name] += rise
        record_tick(
            self.database,
            TickReadings(
                at=at,
                duration_ms=5,
                providers={name: self._reading(name, at, name in silent) for name in self.total},
                agents=self.agents,
                tiers={tier: TierResources(name, frozenset({name}), 1) for tier, name in TIERS.items()},
            ),
            self.fence,
        )
        with self.database.write() as session:
            for name in self.total:
                keep_resources(session, name, [self._instance(name, at)], at, complete=False)
        self.clock.advance(60)

    def _reading(self, name: str, at: datetime, is_silent: bool) -> ProviderReading:
        return (
            ProviderReading((), "HTTP 500", 5) if is_silent else ProviderReading((self._bill(name, at),), None, 5)
        )

    def _bill(self, name: str, at: datetime) -> Bill:
        total = self.total[name]
        return Bill(
            counter=f"{name}:1",
            kind="instance",
            resource_id=name,
            name=name,
            tier=f"{name}-tier",
            currency=self.currencies[name],
            raw=format_nusd(total),
            total_nusd=total,
            as_of=at,
            started_at=START - timedelta(days=1),
            rate_nusd_per_hour=UNIT,
        )

    def _instance(self, name: str, at: datetime) -> ResourceRow:
        return ResourceRow(
            provider=name,
            kind=ResourceKind.INSTANCE,
            resource_id=name,
            tier=f"{name}-tier",
            name=name,
            state=State.RUNNING,
            raw_state="ACTIVE",
            can_sleep=True,
            seen_at=at,
        )

    def verdict(self, policy: GatePolicy) -> Verdict:
        """The gate's decision now, kept."""
        with self.database.write() as session:
            found = verdict_now(session, policy, self.clock.now())
            record_verdict(session, found)
            return found


@pytest.fixture
def mixed(database: Database) -> Mixed:
    return Mixed(database)


def open_tiers(verdict: Verdict) -> set[str]:
    return {tier for tier in TIERS if not verdict.reasons_for(tier)}


def test_one_dark_provider_closes_the_whole_account(mixed: Mixed) -> None:
    mixed.tick()
    mixed.tick()
    assert open_tiers(mixed.verdict(ACCOUNT)) == set(TIERS)
    for _ in range(4):
        mixed.tick("euro")
    assert mixed.verdict(ACCOUNT).reasons == (Reason.DARK,)
    assert open_tiers(mixed.verdict(ACCOUNT)) == set()


def test_a_provider_that_has_never_answered_hides_no_spent_budget(mixed: Mixed) -> None:
    for _ in range(3):
        mixed.tick("euro")
    assert must_sleep(APART, mixed.verdict(APART), TIERS) == {}
    mixed.total["cloud"] += 200 * UNIT
    mixed.tick("euro")
    verdict = mixed.verdict(APART)
    assert verdict.reasons == (Reason.UNOBSERVED, Reason.EXHAUSTED)
    assert set(must_sleep(APART, verdict, TIERS)) == set(TIERS)


def test_by_scope_provider_it_closes_its_own_tiers_and_they_alone_must_sleep(mixed: Mixed) -> None:
    mixed.tick()
    mixed.tick()
    assert open_tiers(mixed.verdict(APART)) == set(TIERS)
    for _ in range(4):
        mixed.tick("euro")
    verdict = mixed.verdict(APART)
    assert verdict.is_open
    assert open_tiers(verdict) == {"cloud-tier", "files-tier"}
    assert verdict.reasons_for("euro-tier") == (Reason.DARK,)
    assert "euro: last complete billing tick" in verdict.sentence_for("euro-tier")
    lease = grant(APART, verdict, "nonce", (1, 1), "euro-tier", is_draining=False)
    assert (lease.is_open, lease.ttl_s) == (False, 0.0)
    assert grant(APART, verdict, "nonce", (1, 2), "cloud-tier", is_draining=False).ttl_s > 60
    assert must_sleep(APART, verdict, TIERS) == {}
    with mixed.database.read() as session:
        alarms = {one.subject for one in conditions(session, APART, verdict) if one.kind == "gate_closed"}
    assert alarms == {"the gate of provider euro: dark"}
    for _ in range(14):
        mixed.tick("euro")
    assert set(must_sleep(APART, mixed.verdict(APART), TIERS)) == {"euro-tier"}
    mixed.tick()
    assert mixed.verdict(APART).reasons_for("euro-tier") == (Reason.DARK,)  # one good answer may be luck
    mixed.tick()
    assert open_tiers(mixed.verdict(APART)) == set(TIERS)


def test_what_a_dark_provider_may_bill_stays_in_the_bound_of_the_others(mixed: Mixed) -> None:
    mixed.tick()
    mixed.tick()
    before = mixed.verdict(APART).currencies["EUR"].facts.bound_nusd
    for _ in range(30):
        mixed.tick("euro")
    after = mixed.verdict(APART).currencies["EUR"].facts.bound_nusd
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after - before >= 29 * UNIT // 60


def test_what_is_spent_today_is_not_known_while_one_provider_has_not_been_read_today(mixed: Mixed) -> None:
    policy = replace(APART, tier_limits_nusd=dict.fromkeys(("cloud-tier", "files-tier"), 50 * UNIT))
    mixed.clock.advance(16 * 3600 - 90)
    mixed.tick()
    mixed.tick()
    mixed.tick("files")
    verdict = mixed.verdict(policy)
    unseen = Unknown("no complete tick since 2026-11-24T23:59:30Z")
    assert open_tiers(verdict) == set(TIERS)
    assert verdict.tiers["cloud-tier"].facts.debits_nusd == UNIT // 60
    assert verdict.tiers["files-tier"].facts.debits_nusd == unseen
    assert verdict.facts.debits_today_nusd == verdict.currencies["EUR"].facts.debits_nusd == unseen
    with mixed.database.read() as session:
        assert budget_curve(session, policy, mixed.clock.now(), 1440).points[-1].debits_nusd == unseen
        assert isinstance(budget_curve(session, ACCOUNT, mixed.clock.now(), 1440).points[-1].debits_nusd, Unknown)
    mixed.tick()
    assert mixed.verdict(policy).facts.debits_today_nusd == 4 * (UNIT // 60)


def test_a_provider_that_was_never_read_has_no_bound_and_closes_everything(mixed: Mixed) -> None:
    mixed.tick("euro")
    mixed.tick("euro")
    assert mixed.verdict(APART).reasons == (Reason.UNOBSERVED,)


def test_currencies_are_never_summed(mixed: Mixed) -> None:
    for _ in range(3):
        mixed.tick(rise=30 * UNIT)
    verdict = mixed.verdict(ACCOUNT)
    assert verdict.fleet.facts.debits_nusd == 2 * 60 * UNIT  # cloud and files
    assert verdict.currencies["EUR"].facts.debits_nusd == 60 * UNIT
    window = Window(START, mixed.clock.now())
    with mixed.database.read() as session:
        spends = [figures(session, tier, window).spend for tier in TIERS]
    assert [(one.currency, one.nusd) for one in spends if isinstance(one, Spend)] == [
        ("USD", 60 * UNIT),
        ("EUR", 60 * UNIT),
        ("USD", 60 * UNIT),
    ]


def test_a_spent_limit_in_another_currency_closes_and_a_reset_in_it_opens(mixed: Mixed) -> None:
    for _ in range(5):
        mixed.tick(rise=26 * UNIT)
    policy = replace(ACCOUNT, limit_nusd=10_000 * UNIT)
    verdict = mixed.verdict(policy)
    assert verdict.reasons == (Reason.EXHAUSTED,)
    assert "€104.00 of €100.00 spent today" in verdict.sentence
    assert why_no_reset(verdict, "EUR") is None
    with mixed.database.write() as session:
        add_allowance(session, policy, mixed.clock.now(), 10_000 * UNIT, "ada", "a launch", "EUR")
    verdict = mixed.verdict(policy)
    assert verdict.is_open
    assert verdict.fleet.facts.allowances_nusd == 0


def test_a_currency_without_a_limit_closes(mixed: Mixed) -> None:
    policy = replace(ACCOUNT, currency_limits_nusd={})
    mixed.tick()
    mixed.tick()
    verdict = mixed.verdict(policy)
    assert verdict.reasons == (Reason.UNSETTLED,)
    assert "bills in EUR, and [budget.daily] has no limit in it" in verdict.sentence


def test_a_tier_is_limited_in_the_currency_that_it_bills_in(mixed: Mixed) -> None:
    policy = replace(ACCOUNT, tier_limits_nusd={"euro-tier": 50 * UNIT, "cloud-tier": 50 * UNIT})
    for _ in range(3):
        mixed.tick()
    verdict = mixed.verdict(policy)
    assert verdict.reasons_for("cloud-tier") == ()
    assert verdict.reasons_for("euro-tier") == (Reason.UNSETTLED,)
    assert "bills in EUR, and its limit is in USD" in verdict.sentence_for("euro-tier")
    verdict = mixed.verdict(replace(policy, tier_currencies={"euro-tier": "EUR"}))
    assert verdict.reasons_for("euro-tier") == ()


SIGHTS = st.builds(
    Sight,
    st.none() | st.integers(0, 400).map(lambda seconds: START - timedelta(seconds=seconds)),
    st.none() | st.integers(401, 900).map(lambda seconds: START - timedelta(seconds=seconds)),
    st.integers(0, 3),
    st.sampled_from([(), ("c:1",)]),
)
MONEY = st.builds(ScopeFacts, st.integers(0, 300 * UNIT) | st.just(Unknown("x")), st.integers(0, 50 * UNIT))


@given(st.dictionaries(st.sampled_from(list(CURRENCIES)), SIGHTS), MONEY, MONEY, st.booleans())
def test_a_tier_serves_only_where_its_provider_is_seen_and_every_limit_holds(
    sights: dict[str, Sight], dollars: ScopeFacts, euros: ScopeFacts, is_dark_before: bool
) -> None:
    known = GateFacts(START, START, START, 3, dollars, currencies={"EUR": euros}, providers=sights)
    before = {f"provider {name}": (Reason.DARK,) for name in sights if is_dark_before}
    verdict = decide(APART, known, before)
    for tier, provider in TIERS.items():
        if verdict.reasons_for(tier):
            assert verdict.sentence_for(tier) != "open"
            continue
        for money, limit in ((dollars, 200 * UNIT), (euros, 100 * UNIT)):
            assert isinstance(money.bound_nusd, int)
            assert money.bound_nusd < limit
        sight = sights.get(provider)
        if sight is not None:
            assert sight.last_complete_at is not None
            assert START - sight.last_complete_at <= APART.dark_after
            assert not sight.frozen
    assert decide(APART, replace(known, providers={}), {}).by_scope[FLEET] == verdict.own
