"""The gate's facts out of the store, and its verdicts into it."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, col, func, select

from store.gate import GateFacts, GatePolicy, Reason, Verdict, decide
from store.journal import note
from store.spend import debits_between
from store.tables import Allowance, Tick, VerdictRow
from store.unknown import Unknown
from store.window import day_name, day_start


def gate_facts(session: Session, policy: GatePolicy, now: datetime) -> GateFacts:
    """What the store knows at `now` that the gate decides by."""
    allowances = select(func.coalesce(func.sum(Allowance.amount_nusd), 0)).where(
        Allowance.day == day_name(now, policy.zone)
    )
    complete = _last_two_complete(session)
    return GateFacts(
        now=now,
        last_complete_at=complete[0] if complete else None,
        previous_complete_at=complete[1] if len(complete) > 1 else None,
        complete_in_row=_complete_in_row(session, policy.dark_after),
        debits_today_nusd=debits_between(session, day_start(now, policy.zone), now),
        allowances_nusd=int(session.exec(allowances).one()),
    )


def verdict_now(session: Session, policy: GatePolicy, now: datetime) -> Verdict:
    """The verdict at `now`, from the store alone: every reader comes to the same one."""
    last = last_verdict(session)
    before = reasons_of(last) if last else (Reason.UNOBSERVED,)
    return decide(policy, gate_facts(session, policy, now), before)


def record_verdict(session: Session, verdict: Verdict) -> bool:
    """Keep `verdict` if it differs from the last one kept; answers whether it did."""
    last = last_verdict(session)
    if last is not None and reasons_of(last) == verdict.reasons:
        return False
    debits = verdict.facts.debits_today_nusd
    session.add(
        VerdictRow(
            at=verdict.facts.now,
            is_open=verdict.is_open,
            reasons=json.dumps(list(verdict.reasons)),
            debits_today_nusd=None if isinstance(debits, Unknown) else debits,
            limit_nusd=verdict.limit_nusd,
        )
    )
    before = "unobserved" if last is None else ", ".join(reasons_of(last)) or "open"
    after = ", ".join(verdict.reasons) or "open"
    note(session, verdict.facts.now, "gate", "verdict", "gate", f"{before} → {after}: {verdict.sentence}")
    return True


def last_verdict(session: Session) -> VerdictRow | None:
    """The newest verdict kept: it holds since its `at`."""
    return session.exec(select(VerdictRow).order_by(col(VerdictRow.id).desc()).limit(1)).first()


def reasons_of(row: VerdictRow) -> tuple[Reason, ...]:
    """The reasons that a kept verdict names."""
    return tuple(Reason(code) for code in json.loads(row.reasons))


def add_allowance(
    session: Session, policy: GatePolicy, now: datetime, amount_nusd: int, actor: str, reason: str
) -> None:
    """Add money to today's limit, journaled; the caller has asked `why_no_reset` first."""
    day = day_name(now, policy.zone)
    session.add(Allowance(day=day, amount_nusd=amount_nusd, at=now, actor=actor, reason=reason))
    note(session, now, actor, "gate reset", "gate", f"+{amount_nusd} nusd for {day}: {reason}")


def _last_two_complete(session: Session) -> Sequence[datetime]:
    query = select(Tick.at).where(col(Tick.complete)).order_by(col(Tick.at).desc()).limit(2)
    return session.exec(query).all()


def _complete_in_row(session: Session, longest_pause: timedelta) -> int:
    """How many of the newest ticks were complete, one after the other; counts to three."""
    newest = session.exec(select(Tick).order_by(col(Tick.at).desc()).limit(3)).all()
    count = 0
    for index, tick in enumerate(newest):
        if not tick.complete or (index and newest[index - 1].at - tick.at > longest_pause):
            break
        count += 1
    return count
