"""`mtok gate show`: every input of the decision, so that anyone can make it again, and the bound on overspend."""

from collections.abc import Sequence
from typing import Any

from console.export.status import amount, dollars
from console.export.text import known, plain_table, rendered
from store.clock import rfc3339
from store.gate import GatePolicy, ScopeVerdict, Verdict
from store.headroom import Term
from store.money import USD, format_nusd
from store.printable import printable
from store.verdicts import overspend


def gate_body(policy: GatePolicy, verdict: Verdict, promise: Sequence[Term]) -> dict[str, Any]:
    """The gate as JSON has it. Durations are seconds, amounts decimal strings."""
    facts = verdict.facts
    return {
        "as_of": rfc3339(facts.now),
        "state": "open" if verdict.is_open else "closed",
        "reasons": [str(reason) for reason in verdict.reasons],
        "message": verdict.sentence,
        "policy": _policy(policy),
        "inputs": {
            "last_complete_tick": None if facts.last_complete_at is None else rfc3339(facts.last_complete_at),
            "previous_complete_tick": (
                None if facts.previous_complete_at is None else rfc3339(facts.previous_complete_at)
            ),
            "complete_ticks_in_a_row": facts.complete_in_row,
            "frozen": list(facts.frozen),
            "closed_by": facts.closed_by,
        },
        "fleet": _scope(verdict.fleet),
        "currencies": {name: _scope(scope) for name, scope in verdict.currencies.items()},
        "tiers": {tier: _scope(scope) for tier, scope in verdict.tiers.items()},
        "providers": {name: [str(reason) for reason in reasons] for name, reasons in verdict.blind.items()},
        "headroom": [_term(term) for term in facts.terms],
        "overspend_bound": _promised(policy, verdict, promise),
    }


def _policy(policy: GatePolicy) -> dict[str, Any]:
    return {
        "timezone": str(policy.zone),
        "scope": "provider" if policy.provider_of else "account",
        "dark_after_s": policy.dark_after.total_seconds(),
        "dark_hibernate_after_s": policy.dark_hibernate_after.total_seconds(),
        "frozen_after_s": policy.frozen_after.total_seconds(),
        "tick_s": policy.horizon.tick.total_seconds(),
        "drain_s": policy.horizon.drain.total_seconds(),
        "sleep_s": policy.horizon.sleep.total_seconds(),
        "on_exhausted": "hibernate" if policy.hibernates else "refuse",
    }


def _promised(policy: GatePolicy, verdict: Verdict, promise: Sequence[Term]) -> dict[str, Any]:
    """What may be spent beyond each limit, currency by currency."""
    bounds = overspend(policy, verdict, promise)
    return {
        "usd": amount(bounds.pop(USD)),
        "currencies": {currency: amount(bound) for currency, bound in bounds.items()},
        "terms": [_term(term) for term in promise],
        "assumes": [
            "a collector leads, no bill is frozen, and the provider hibernates within sleep_within",
            "it reaches until every instance sleeps; what a sleeping one goes on billing comes on top",
            "bills move once a step, as observed, and no resource bills faster than its rate or its slope",
        ],
        "smaller_with": ["every", "dark_hibernate_after", "drain_within", "sleep_within"],
    }


def gate_text(body: dict[str, Any]) -> str:
    """The gate for a person's terminal."""
    fleet, bound = body["fleet"], body["overspend_bound"]
    lines = [f"gate {body['state'].upper()}: {body['message']}"]
    lines.append(f"spent today {known(fleet['debits_usd'])} of {fleet['limit_usd']}")
    room, upper = known(fleet["headroom_usd"]), known(fleet["bound_usd"])
    lines.append(f"not billed yet, at most {room}; upper bound of today {upper}")
    lines += [
        f"{name}: {', '.join(scope['reasons']) or 'open'}, "
        f"{known(scope['debits'])} of {scope['limit']} {scope['currency']}"
        for name, scope in {**body["currencies"], **body["tiers"]}.items()
    ]
    lines += [f"{name}: {', '.join(reasons) or 'seen'}" for name, reasons in body["providers"].items()]
    lines.append(f"last complete tick {body['inputs']['last_complete_tick'] or 'never'}")
    lines.append(f"beyond the limit, at most {known(bound['usd'])}")
    lines += [f"beyond the limit in {name}, at most {known(one)}" for name, one in bound["currencies"].items()]
    if not body["headroom"]:
        return "\n".join(map(printable, lines))
    table = plain_table()
    for heading in ("counter", "tier", "bills", "", "at most an hour", "for s", "at most"):
        is_text = heading in ("counter", "tier", "bills", "")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for term in body["headroom"]:
        cells = (term["counter"], term["tier"], term["course"], term["currency"], known(term["per_hour"]))
        table.add_row(*cells, f"{term['duration_s']:.0f}", known(term["amount"]))
    return "\n".join([*map(printable, lines), "", rendered(table)])


def _scope(scope: ScopeVerdict) -> dict[str, Any]:
    facts = scope.facts
    amounts = {
        "debits": amount(facts.debits_nusd),
        "headroom": amount(facts.headroom_nusd),
        "bound": amount(facts.bound_nusd),
        "allowances": format_nusd(facts.allowances_nusd),
        "limit": format_nusd(scope.limit_nusd),
    }
    return {
        "reasons": [str(reason) for reason in scope.reasons],
        "currency": scope.currency,
        **amounts,
        **(dollars(amounts) if scope.currency == USD else {}),
        "ticks_below": facts.ticks_below,
    }


def _term(term: Term) -> dict[str, Any]:
    amounts = {
        "per_hour": amount(term.speed_nusd_per_hour),
        "unplaced": format_nusd(term.unplaced_nusd),
        "undecided": format_nusd(term.undecided_nusd),
        "amount": amount(term.nusd),
    }
    in_usd = ("usd_per_hour", "unplaced_usd", "undecided_usd", "usd")
    return {
        "counter": term.counter,
        "tier": term.tier,
        "course": str(term.course),
        "currency": term.currency,
        "duration_s": term.duration.total_seconds(),
        **amounts,
        **(dict(zip(in_usd, amounts.values(), strict=True)) if term.currency == USD else {}),
    }
