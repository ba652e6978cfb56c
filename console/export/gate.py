"""`mtok gate show`: every input of the decision, so that anyone can make it again, and the bound on overspend."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from console.export.status import amount
from console.export.text import rendered
from store.clock import rfc3339
from store.gate import GatePolicy, ScopeVerdict, Verdict
from store.headroom import Term, total
from store.money import format_nusd
from store.unknown import Unknown


def gate_body(policy: GatePolicy, verdict: Verdict, promise: Sequence[Term]) -> dict[str, Any]:
    """The gate as JSON has it. Durations are seconds, amounts decimal strings."""
    facts = verdict.facts
    bound = total(promise) if policy.hibernates else Unknown('on_exhausted = "refuse" promises none')
    return {
        "as_of": rfc3339(facts.now),
        "state": "open" if verdict.is_open else "closed",
        "reasons": [str(reason) for reason in verdict.reasons],
        "message": verdict.sentence,
        "policy": {
            "timezone": str(policy.zone),
            "dark_after_s": policy.dark_after.total_seconds(),
            "dark_hibernate_after_s": policy.dark_hibernate_after.total_seconds(),
            "frozen_after_s": policy.frozen_after.total_seconds(),
            "tick_s": policy.horizon.tick.total_seconds(),
            "drain_s": policy.horizon.drain.total_seconds(),
            "sleep_s": policy.horizon.sleep.total_seconds(),
            "on_exhausted": "hibernate" if policy.hibernates else "refuse",
        },
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
        "tiers": {tier: _scope(scope) for tier, scope in verdict.tiers.items()},
        "headroom": [_term(term) for term in facts.terms],
        "overspend_bound": {
            "usd": amount(bound),
            "terms": [_term(term) for term in promise],
            "assumes": [
                "a collector leads, no bill is frozen, and the provider hibernates within sleep_within",
                "it reaches until every instance sleeps; what a sleeping one goes on billing comes on top",
                "bills move once a step, as observed, and no resource bills faster than its rate or its slope",
            ],
            "smaller_with": ["every", "dark_hibernate_after", "drain_within", "sleep_within"],
        },
    }


def gate_text(body: dict[str, Any]) -> str:
    """The gate for a person's terminal."""
    fleet, bound = body["fleet"], body["overspend_bound"]
    lines = [f"gate {body['state'].upper()}: {body['message']}"]
    lines.append(f"spent today {_known(fleet['debits_usd'])} of {fleet['limit_usd']}")
    room, upper = _known(fleet["headroom_usd"]), _known(fleet["bound_usd"])
    lines.append(f"not billed yet, at most {room}; upper bound of today {upper}")
    lines += [
        f"{tier}: {', '.join(scope['reasons']) or 'open'}, {_known(scope['debits_usd'])} of {scope['limit_usd']}"
        for tier, scope in body["tiers"].items()
    ]
    lines.append(f"last complete tick {body['inputs']['last_complete_tick'] or 'never'}")
    lines.append(f"beyond the limit, at most {_known(bound['usd'])}")
    if not body["headroom"]:
        return "\n".join(lines)
    table = Table(box=None, pad_edge=False, header_style="")
    for heading in ("counter", "tier", "bills", "at most USD/h", "for s", "USD"):
        is_text = heading in ("counter", "tier", "bills")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for term in body["headroom"]:
        cells = (term["counter"], term["tier"], term["course"], _known(term["usd_per_hour"]))
        table.add_row(*cells, f"{term['duration_s']:.0f}", _known(term["usd"]))
    return "\n".join([*lines, "", rendered(table)])


def _scope(scope: ScopeVerdict) -> dict[str, Any]:
    facts = scope.facts
    return {
        "reasons": [str(reason) for reason in scope.reasons],
        "debits_usd": amount(facts.debits_nusd),
        "headroom_usd": amount(facts.headroom_nusd),
        "bound_usd": amount(facts.bound_nusd),
        "allowances_usd": format_nusd(facts.allowances_nusd),
        "limit_usd": format_nusd(scope.limit_nusd),
        "ticks_below": facts.ticks_below,
    }


def _term(term: Term) -> dict[str, Any]:
    return {
        "counter": term.counter,
        "tier": term.tier,
        "course": str(term.course),
        "usd_per_hour": amount(term.speed_nusd_per_hour),
        "duration_s": term.duration.total_seconds(),
        "unplaced_usd": format_nusd(term.unplaced_nusd),
        "usd": amount(term.nusd),
    }


def _known(value: str | dict[str, str]) -> str:
    return value if isinstance(value, str) else f"— ({value['unknown']})"
