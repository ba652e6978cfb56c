"""The gate: its decision in words, the day's money against the limit, and every input that it was made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import pairwise

from console.tui.cells import Role, Row, Span, line
from console.tui.render.canvas import Reference
from console.tui.render.chart import Mark, Series, column_chart
from console.tui.render.figures import UNKNOWN, money
from console.tui.render.flow import flowed, sentences
from console.tui.render.lists import Fact, clock_time, day_time, fact_rows, known_money
from console.tui.render.status import wrapped
from store.budget_curve import BudgetCurve, VerdictChange
from store.gate import TICKS_TO_OPEN, GatePolicy, Reason, ScopeVerdict, Verdict
from store.headroom import Term
from store.money import USD, display_usd
from store.unknown import Unknown
from store.verdicts import overspend
from store.window import day_start

_LABEL_WIDTH = 13  # ` ! UNOBSERVED `: the longest reason
_COUNTED = 3  # complete ticks in a row are counted so far


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What the store said of the gate. `promise`: the bound on overspend, counter by counter.

    `is_replay`: it is of a past minute, of which hysteresis was not recorded.
    """

    policy: GatePolicy
    verdict: Verdict
    promise: Sequence[Term] | Unknown
    curve: BudgetCurve
    changes: Sequence[VerdictChange]
    is_replay: bool = False

    @property
    def overspend_nusd(self) -> Mapping[str, int | Unknown]:
        """By currency, what may be billed beyond its limit if the gate closes at it."""
        if isinstance(self.promise, Unknown):
            return dict.fromkeys((USD, *self.verdict.currencies), self.promise)
        return overspend(self.policy, self.verdict, self.promise)


def verdict_rows(verdict: Verdict, answer: GateAnswer, width: int) -> list[Row]:
    """Open, and what would close it; or each reason with what opens it. Tiers' own limits after the fleet's."""
    rows = _labelled("OPEN", _what_closes(answer), Role.GOOD, width) if verdict.is_open else []
    for whom, reason, sentence in verdict.closings:
        rows += _reason(reason, sentence, width, f"{whom}: " if whom else "")
    return rows


def _reason(reason: Reason, sentence: str, width: int, head: str = "") -> list[Row]:
    why, _, opens = sentence.removeprefix(head).rpartition("; opens ")
    rows = _labelled(f"! {reason.upper()}", f"{head}{why or sentence}", Role.BAD, width)
    return [*rows, *_labelled("", f"opens {opens}", Role.PLAIN, width)] if opens else rows


def _labelled(label: str, text: str, role: Role, width: int) -> list[Row]:
    first, *more = wrapped(text, width - _LABEL_WIDTH - 1)
    head = (Span(f" {label:<{_LABEL_WIDTH}}", role), Span(first))
    return [head, *(line(f"{' ' * (_LABEL_WIDTH + 1)}{rest}") for rest in more)]


def _what_closes(answer: GateAnswer) -> str:
    newest = answer.changes[0] if answer.changes else None
    since = f"since {day_time(newest.since_at)} UTC; " if newest is not None and newest.is_open else ""
    facts, limit = answer.verdict.facts, display_usd(answer.verdict.limit_nusd)
    dark = ""
    if facts.last_complete_at is not None:
        at = clock_time(facts.last_complete_at + answer.policy.dark_after)
        dark = f", or with no complete tick by {at}"
    return f"{since}closes when today's upper bound reaches {limit}{dark}"


def budget_rows(scope: ScopeVerdict, width: int) -> list[Row]:
    """What is spent, what may be billed already, and what is left, as one bar; unknown is no part of it."""
    spent, room, limit = scope.facts.debits_nusd, scope.facts.headroom_nusd, scope.limit_nusd
    if isinstance(spent, Unknown):
        return sentences([f"BUDGET  {UNKNOWN} of {display_usd(limit)}: {spent.reason}"], width, Role.WARN)
    cells = width - 4
    unbilled = 0 if isinstance(room, Unknown) else room
    filled = _cells_of(spent, limit, cells)
    waiting = _cells_of(spent + unbilled, limit, cells) - filled
    role = Role.BAD if scope.reasons else Role.PLAIN
    free = " " if isinstance(room, Unknown) else "-"
    pieces = [f"# spent {money(spent)}", f"= not billed yet, at most {known_money(room)}", _left(scope, spent)]
    bar = f"{'#' * filled}{'=' * waiting}{free * (cells - filled - waiting)}"
    return [(Span(" ["), Span(bar, role), Span("]")), *flowed(pieces, width)]


def _left(scope: ScopeVerdict, spent: int) -> str:
    room, limit = scope.facts.headroom_nusd, scope.limit_nusd
    if isinstance(room, Unknown):
        over = spent - limit
        return f"at least {money(over)} over {display_usd(limit)}" if over > 0 else f"- left {UNKNOWN}"
    left = limit - spent - room
    return f"- left {money(left)}" if left >= 0 else f"up to {money(-left)} over {display_usd(limit)}"


def _cells_of(nusd: int, limit_nusd: int, cells: int) -> int:
    """Rounded up, so that any money at all is seen."""
    share = Fraction(nusd, limit_nusd) if limit_nusd > 0 else Fraction(1)
    return min(max(-(-share.numerator * cells // share.denominator), 0), cells)


def curve_rows(curve: BudgetCurve, width: int, height: int) -> list[Row]:
    """What was spent by each moment of the day, against the limit as it then stood."""
    limits = sorted({point.limit_nusd for point in curve.points if not isinstance(point.limit_nusd, Unknown)})
    starts = [curve.start_at, *(point.at for point in curve.points)]
    marks = [
        Mark(start, end, point.debits_nusd)
        for (start, end), point in zip(pairwise(starts), curve.points, strict=True)
        if start < end
    ]
    limit = f" of {display_usd(limits[-1])}" if limits else ""
    series = Series(
        f"SPENT {curve.day}{limit}",
        marks,
        label=display_usd,
        told=money,
        unit=limits[-1] if limits else 10**9,
        reference=Reference(tuple(limits), "the limit", "limit") if limits else None,
    )
    return column_chart(series, width, height)


def input_rows(answer: GateAnswer, width: int) -> list[Row]:
    """Everything that the decision was made from."""
    at = f"{day_time(answer.verdict.facts.now)} UTC"
    facts = [*_money_facts(answer), *_sight_facts(answer)]
    return [line(f" INPUTS of {at}", Role.HEADING), *fact_rows(facts, width)]


def _money_facts(answer: GateAnswer) -> list[Fact]:
    scope, policy = answer.verdict.fleet, answer.policy
    facts, midnight = scope.facts, day_start(answer.verdict.facts.now, policy.zone)
    base = display_usd(scope.limit_nusd - facts.allowances_nusd)
    allowed = f", {display_usd(facts.allowances_nusd)} allowed on top" if facts.allowances_nusd else ""
    return [
        Fact(
            "spent today",
            known_money(facts.debits_nusd),
            _why(facts.debits_nusd, f"debits since {_hour(midnight)}"),
        ),
        Fact(
            "not billed yet", known_money(facts.headroom_nusd), _why(facts.headroom_nusd, "at most; see HEADROOM")
        ),
        Fact("upper bound of today", known_money(facts.bound_nusd), "both; at the limit the gate is reserved"),
        Fact("limit of today", display_usd(scope.limit_nusd), f"{base} a day in {policy.zone}{allowed}"),
        *(
            Fact(
                "beyond the limit" if currency == USD else f"beyond that in {currency}",
                known_money(nusd, currency),
                _why(nusd, "at most; assumes a live leader"),
            )
            for currency, nusd in answer.overspend_nusd.items()
        ),
    ]


def _sight_facts(answer: GateAnswer) -> list[Fact]:
    facts, policy = answer.verdict.facts, answer.policy
    last, dark_s = facts.last_complete_at, f"{policy.dark_after.total_seconds():.0f} s"
    dark = "never one: unobserved until the first"
    if last is not None:
        whose = "of the best provider" if facts.providers else "of every provider"
        dark = f"{whose}; dark {dark_s} later, at {clock_time(last + policy.dark_after)}"
        if facts.unseen is not None:
            dark = f"{whose}; {facts.unseen.reason}"
    counted = f"{facts.complete_in_row}{' or more' if facts.complete_in_row >= _COUNTED else ''}"
    debits = facts.fleet.counted_nusd
    is_unsettled = isinstance(debits, Unknown)
    below = answer.verdict.fleet.facts.ticks_below
    in_row, hysteresis = counted, f"{below} of {TICKS_TO_OPEN}"
    if Reason.RESERVED not in answer.verdict.fleet.reasons:
        hysteresis = "not counted"
    if answer.is_replay:
        in_row = hysteresis = "not recorded"
    return [
        Fact("last complete tick", UNKNOWN if last is None else clock_time(last), dark),
        Fact("complete in a row", in_row, f"{TICKS_TO_OPEN} open a dark gate"),
        Fact("bills standing still", *_listed(facts.frozen), Role.BAD if facts.frozen else Role.PLAIN),
        Fact(
            "spend not settled",
            "yes" if is_unsettled else "no",
            _why(debits, ""),
            Role.BAD if is_unsettled else Role.PLAIN,
        ),
        Fact(
            "closed by hand",
            "no" if facts.closed_by is None else "yes",
            facts.closed_by or "",
            Role.PLAIN if facts.closed_by is None else Role.BAD,
        ),
        Fact(
            "ticks below the limit",
            hysteresis,
            f"{TICKS_TO_OPEN} open a reserved gate",
        ),
    ]


def _listed(names: Sequence[str]) -> tuple[str, str]:
    return (str(len(names)), ", ".join(names)) if names else ("none", "")


def _why(value: int | Unknown, else_: str) -> str:
    return value.reason if isinstance(value, Unknown) else else_


def _hour(at: datetime) -> str:
    return f"{at:%H:%M} UTC"
