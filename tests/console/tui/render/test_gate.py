"""The gate in words and figures: each reason with what opens it, and nothing that is not known as a number."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.tui.cells import Row, text_of, width_of
from console.tui.render.gate import GateAnswer, budget_rows, curve_rows, input_rows, verdict_rows
from console.tui.render.gate_tables import allowance_rows, change_rows, limit_rows, term_rows
from console.tui.render.status import gate_rows
from store.budget_curve import AllowanceView, BudgetCurve, CurvePoint, VerdictChange
from store.fleet_view import Fleet
from store.gate import FLEET, GateFacts, GatePolicy, Reason, ScopeFacts, ScopeVerdict, Verdict, decide
from store.headroom import Course, Term
from store.unknown import Unknown

USD = 10**9
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MIDNIGHT = NOW.replace(hour=0)
NASTY = "\x1b[31m[bold]漢字[/bold]\n=1+1 " + "x" * 90
POLICY = GatePolicy(200 * USD, ZoneInfo("UTC"), timedelta(seconds=170), tier_limits_nusd={"h100": 5 * USD})
TERM = Term("usage:vm:8429", "h100", Course.STOPPABLE, 2 * USD, timedelta(minutes=8))
FACTS = GateFacts(
    now=NOW,
    last_complete_at=NOW - timedelta(seconds=30),
    previous_complete_at=NOW - timedelta(seconds=90),
    complete_in_row=3,
    fleet=ScopeFacts(40 * USD, 10 * USD),
    tiers={"h100": ScopeFacts(USD, USD)},
    terms=(TERM, Term(NASTY, NASTY, Course.ENDED, Unknown("no rate"), timedelta(days=3))),
)
CLOSED = {
    Reason.UNOBSERVED: (replace(FACTS, last_complete_at=None), "at the first"),
    Reason.DARK: (replace(FACTS, last_complete_at=NOW - timedelta(seconds=600)), "after two complete ticks"),
    Reason.FROZEN: (replace(FACTS, frozen=("usage:vm:8429",)), "when it moves or sleeps"),
    Reason.UNSETTLED: (replace(FACTS, fleet=ScopeFacts(Unknown("it changed hands"))), "when it is"),
    Reason.RESERVED: (replace(FACTS, fleet=ScopeFacts(195 * USD, 10 * USD)), "after two ticks below"),
    Reason.EXHAUSTED: (replace(FACTS, fleet=ScopeFacts(200 * USD, 0)), "tomorrow, or by a reset"),
    Reason.MANUAL: (replace(FACTS, closed_by="ada@192.0.2.7 (leak)"), "by mtok gate open"),
}


def curve(*points: tuple[int, int | Unknown]) -> BudgetCurve:
    known = tuple(CurvePoint(MIDNIGHT + timedelta(hours=hour), nusd, 200 * USD) for hour, nusd in points)
    allowance = AllowanceView(NOW, 50 * USD, "ada@192.0.2.7", NASTY, FLEET)
    end = MIDNIGHT + timedelta(days=1)
    return BudgetCurve("2026-11-24", MIDNIGHT, end, NOW, FLEET, 200 * USD, (allowance,), known)


CURVE = curve((4, Unknown("no complete tick yet")), (8, 0), (12, 40 * USD))
CHANGES = (
    VerdictChange(3, NOW - timedelta(hours=1), None, True, (), {}, 39 * USD, 200 * USD),
    VerdictChange(
        2,
        NOW - timedelta(hours=3),
        NOW - timedelta(hours=1),
        False,
        (Reason.DARK, Reason.FROZEN),
        {"h100": (Reason.EXHAUSTED,)},
        Unknown("not known then"),
        200 * USD,
    ),
)


def answer(facts: GateFacts = FACTS, policy: GatePolicy = POLICY) -> GateAnswer:
    return GateAnswer(policy, decide(policy, facts, {}), (TERM,), CURVE, CHANGES)


def told(rows: list[Row]) -> str:
    return "\n".join(text_of(row) for row in rows)


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_says_why_and_what_opens_it(reason: Reason) -> None:
    facts, opens = CLOSED[reason]
    of = answer(facts)
    assert of.verdict.reasons == (reason,)
    rows = verdict_rows(of.verdict, of, 80)
    assert text_of(rows[0]).startswith(f" ! {reason.upper()}")
    assert f"opens {opens}" in told(rows)
    assert "; opens" not in told(rows)


def test_several_reasons_are_told_one_by_one() -> None:
    of = answer(replace(CLOSED[Reason.DARK][0], closed_by="ada (leak)", frozen=("a", "b")))
    text = told(verdict_rows(of.verdict, of, 80))
    assert [text.count(f"! {reason}") for reason in ("DARK", "FROZEN", "MANUAL")] == [1, 1, 1]


def test_a_tier_at_its_own_limit_is_named_while_the_fleet_is_open() -> None:
    of = answer(replace(FACTS, tiers={"h100": ScopeFacts(5 * USD, 0)}))
    text = told(verdict_rows(of.verdict, of, 120))
    assert "OPEN" in text
    assert "! EXHAUSTED  h100: $5.00 of $5.00 spent today" in text


def test_an_open_gate_says_since_when_and_what_would_close_it() -> None:
    text = told(verdict_rows(answer().verdict, answer(), 200))
    assert "since 11-24 11:00:00 UTC; closes when today's upper bound reaches $200.00" in text
    assert "with no complete tick by 12:02:20" in text


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(40, 200))
def test_the_bar_is_as_wide_as_the_screen_whatever_the_money(spent: int, room: int, limit: int, width: int) -> None:
    scope = ScopeVerdict((), ScopeFacts(spent, room), limit, is_below=True)
    rows = budget_rows(scope, width)
    assert len(text_of(rows[0])) == width - 1
    assert ("#" in text_of(rows[0])) == (spent > 0 or limit == 0)
    assert all(width_of(row) <= width for row in rows)


def test_money_is_not_known_before_the_first_complete_tick() -> None:
    of = answer(CLOSED[Reason.UNOBSERVED][0])
    shown = told([*budget_rows(of.verdict.fleet, 80), *input_rows(of, 80)])
    assert "$0" not in shown
    assert "BUDGET  — of $200.00: no complete billing tick yet" in shown
    assert "last complete tick               —" in shown


def test_what_is_over_the_limit_is_said_and_not_a_negative_rest() -> None:
    text = told(budget_rows(answer(CLOSED[Reason.RESERVED][0]).verdict.fleet, 80))
    assert "up to $5.0000 over $200.00" in text
    assert "left" not in text


def test_what_is_left_is_not_known_while_what_is_not_billed_yet_has_no_bound() -> None:
    facts = ScopeFacts(40 * USD, Unknown("no rate is known"))
    bar, *pieces = budget_rows(ScopeVerdict((Reason.RESERVED,), facts, 200 * USD, is_below=False), 80)
    assert "-" not in text_of(bar)
    assert "- left —" in told(pieces)
    over = replace(facts, debits_nusd=205 * USD)
    text = told(budget_rows(ScopeVerdict((Reason.EXHAUSTED,), over, 200 * USD, is_below=False), 80))
    assert "at least $5.0000 over $200.00" in text


def test_every_input_of_the_decision_is_listed() -> None:
    shown = told(input_rows(answer(replace(FACTS, closed_by="ada (leak)", frozen=("usage:vm:1",))), 120))
    for text in (
        "spent today                 $40.00",
        "not billed yet              $10.00",
        "upper bound of today        $50.00",
        "limit of today             $200.00",
        "dark 170 s later, at 12:02:20",
        "3 or more",
        "usage:vm:1",
        "ada (leak)",
        "assumes a live leader",
    ):
        assert text in shown


def test_without_hibernating_there_is_no_bound_on_overspend() -> None:
    shown = told(input_rows(answer(policy=replace(POLICY, hibernates=False)), 120))
    assert 'beyond the limit                 —  on_exhausted = "refuse" promises none' in shown


def test_the_curve_draws_no_step_that_is_not_known_and_the_limit_where_it_is_near() -> None:
    shown = told(curve_rows(CURVE, 80, 12))
    assert "SPENT 2026-11-24 of $200.00" in shown
    assert "· not known" in shown
    near = told(curve_rows(curve((6, 60 * USD), (12, 150 * USD)), 80, 12))
    assert "╌ the limit" in near
    assert "$200.00 ┤" in near


def test_a_day_that_has_just_begun_has_an_empty_curve() -> None:
    assert "no step yet" in told(curve_rows(curve(), 80, 8))


def test_a_term_without_a_bound_comes_first_and_is_no_zero() -> None:
    rows = term_rows(FACTS.terms, Unknown("no rate"), 120)
    assert "—" in text_of(rows[2])
    assert "$0.2667" in text_of(rows[3])


def test_past_verdicts_say_from_when_until_when_and_why() -> None:
    shown = told(change_rows(CHANGES, 120))
    assert "11-24 11:00:00 now            open" in shown
    assert "CLOSED dark, frozen; h100 exhausted" in shown
    assert "2 h" in shown


@pytest.mark.parametrize("width", [60, 80, 120, 300])
@pytest.mark.parametrize("reason", [None, *Reason])
def test_nothing_is_wider_than_the_screen_and_no_heading_is_cut(reason: Reason | None, width: int) -> None:
    facts = replace(CLOSED[reason][0] if reason else FACTS, closed_by=NASTY if reason is Reason.MANUAL else None)
    of = answer(facts)
    tiers = {NASTY: of.verdict.fleet, **of.verdict.tiers}
    rows = [
        *verdict_rows(of.verdict, of, width),
        *budget_rows(of.verdict.fleet, width),
        *curve_rows(of.curve, width, 8),
        *input_rows(of, width),
        *limit_rows(tiers, width),
        *term_rows(facts.terms, 0, width),
        *allowance_rows(of.curve.allowances, of.verdict, width),
        *change_rows(of.changes, width),
    ]
    for row in rows:
        assert cell_len(text_of(row)) <= width
    for heading in ("LIMIT", "COUNTER", "REASON", "AMOUNT", "VERDICT", "LASTED", "FROM"):
        assert any(heading in text_of(row) for row in rows)


def test_an_empty_fleet_has_no_tables() -> None:
    assert limit_rows({}, 80) == []
    assert "nothing bills" in told(term_rows((), 0, 80))
    assert "— (not recorded)" in told(term_rows((), Unknown("not recorded"), 80))
    assert "none" in told(allowance_rows((), answer().verdict, 80))
    assert "none has been recorded" in told(change_rows((), 80))
    assert isinstance(answer().verdict, Verdict)


def test_a_clock_that_is_behind_what_was_billed_knows_no_money_of_today() -> None:
    known = answer(replace(FACTS, last_complete_at=NOW + timedelta(minutes=10)))
    shown = told([*budget_rows(known.verdict.fleet, 120), *input_rows(known, 120)])
    assert "$40.00" not in shown
    assert "BUDGET  — of $200.00: the clock is behind" in shown
    assert "dark 170 s later" not in shown
    assert "spend not settled no" in " ".join(shown.split())
    fleet = Fleet(NOW, None, NOW, (), known.verdict, None, (), None)
    day = told(gate_rows(fleet, 200))
    assert "today — of $200.00 (the clock is behind the last tick)" in day
