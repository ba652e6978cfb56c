"""`mtok explain`: the two samples behind each term of a figure, so that a person can redo the sum by hand."""

from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, select

from console.export.status import amount, figures_body, unknown
from store.capacity import KILOSECOND
from store.clock import rfc3339
from store.counters import USAGE_FIELDS, bill_at, counters_of, first_bill
from store.figures import Figures, Spend, Usage
from store.figures_read import figures
from store.fleet_view import TierSpec
from store.money import USD, format_nusd
from store.spend import SpendTerm, spend_terms
from store.tables import BillCounter, BillSample, Gap, Ledger, UsageSample
from store.unknown import Unknown
from store.usage import UsageTerm, usage_terms
from store.window import Window

_MOST_GAPS = 20  # a night in the dark is 600 of them; their number says it all


def explain_body(session: Session, spec: TierSpec, window: Window) -> dict[str, Any]:
    """The figures of a tier in a window, and every term of them."""
    found = figures(session, spec.name, window)
    return {
        "tier": spec.name,
        "provider": spec.provider,
        "simulated": spec.is_simulated,
        "window": {"name": window.name, "start": rfc3339(window.start), "end": rfc3339(window.end)},
        "figures": figures_body(found),
        "edges": _edges(found),
        "spend": _spend(session, spec.name, found),
        "usage": _usage(session, spec.name, found),
        "gaps": _gaps(session, spec, found),
        "excluded": _excluded(session, spec.name, found),
        "formula": {
            "spend_nusd": "sum over terms of (end.nusd - start.nusd)",
            "usd_per_mtok_output": "spend / completion_tokens * 10^6",
            "usd_per_mtok_total": "spend / (prompt_tokens + completion_tokens) * 10^6",
            "load": "completion_tokens / (end - start in seconds) / capacity_tokens_per_s",
        },
    }


def _edges(found: Figures) -> dict[str, Any]:
    """The complete ticks that the window's edges snapped to."""
    if isinstance(found.edges, Unknown):
        return unknown(found.edges)
    edges = found.edges
    return {"start": rfc3339(edges.start_at), "end": rfc3339(edges.end_at), "since_first_tick": edges.since}


def _gaps(session: Session, spec: TierSpec, found: Figures) -> dict[str, Any]:
    """Ticks inside the window at which a source said nothing usable. They cost nothing: counters ran on."""
    if isinstance(found.edges, Unknown):
        return {"count": 0, "latest": []}
    agents = session.exec(select(Ledger.agent).where(Ledger.tier == spec.name).distinct()).all()
    providers = session.exec(select(BillCounter.provider).where(BillCounter.tier == spec.name).distinct()).all()
    sources = [*(f"provider:{one}" for one in providers), *(f"agent:{one}" for one in agents)]
    inside = (col(Gap.source).in_(sources), Gap.at > found.edges.start_at, Gap.at < found.edges.end_at)
    count = session.exec(select(func.count()).select_from(Gap).where(*inside)).one()
    latest = session.exec(select(Gap).where(*inside).order_by(col(Gap.at).desc()).limit(_MOST_GAPS)).all()
    rows = [{"at": rfc3339(gap.at), "source": gap.source, "problem": gap.problem} for gap in latest]
    return {"count": count, "latest": rows}


def _excluded(session: Session, tier: str, found: Figures) -> list[dict[str, Any]]:
    """What the sum leaves out, and why."""
    rows = []
    for counter in counters_of(session, tier):
        why = _why_excluded(session, counter, found)
        if why is not None:
            opening = format_nusd(counter.opening_nusd)
            row = {"counter": counter.counter, "why": why, "currency": counter.currency, "opening": opening}
            rows.append({**row, "opening_usd": opening} if counter.currency == USD else row)
    return rows


def _why_excluded(session: Session, counter: BillCounter, found: Figures) -> str | None:
    if not isinstance(found.edges, Unknown) and _comes_after(session, counter, found.edges.end_at):
        return "first read after this window"
    if counter.unsettled_at is not None:
        return f"unsettled since {rfc3339(counter.unsettled_at)}: its provider no longer knows it"
    if counter.opening_nusd:
        return "its opening balance was billed before our first look"
    return "its provider says that it is not billed (exclude_billing)" if counter.excluded else None


def _comes_after(session: Session, counter: BillCounter, end_at: datetime) -> bool:
    """Whether it has no sample by then: the bucket of a charge period has, however late it was stated."""
    if counter.first_seen_at <= end_at:
        return False
    is_older = counter.started_at is not None and counter.started_at < end_at
    return not is_older or counter.id is None or bill_at(session, counter.id, end_at) is None


def _spend(session: Session, tier: str, found: Figures) -> dict[str, Any]:
    if isinstance(found.spend, Unknown):
        return unknown(found.spend)
    spend: Spend = found.spend
    return {
        "nusd": spend.nusd,
        "currency": spend.currency,
        "amount": amount(spend.nusd),
        **({"usd": amount(spend.nusd)} if spend.currency == USD else {}),
        "terms": [_spend_term(session, term) for term in spend_terms(session, tier, spend.edges)],
    }


def _spend_term(session: Session, term: SpendTerm) -> dict[str, Any]:
    counter = term.counter
    credited = term.nusd - term.debits_nusd
    return {
        "counter": counter.counter,
        "provider": counter.provider,
        "resource_type": counter.kind,
        "resource_id": counter.resource_id,
        "name": counter.name,
        "excluded_from_billing": counter.excluded,
        "start": _bill(term.start) if term.start else _start_of(session, counter),
        "end": _bill(term.end),
        "nusd": term.nusd,
        "amount": format_nusd(term.nusd),
        **({"usd": format_nusd(term.nusd)} if counter.currency == USD else {}),
        "of_which_credited_nusd": credited,
    }


def _start_of(session: Session, counter: BillCounter) -> dict[str, Any]:
    """Where a counter without a sample at the start edge begins: from zero, or from its opening balance."""
    assert counter.id is not None
    opening = first_bill(session, counter.id)
    if counter.opening_nusd and opening is not None:
        return {**_bill(opening), "why": "opening balance: billed before our first look"}
    born = rfc3339(counter.started_at) if counter.started_at else None
    return {"at": born, "as_of": born, "raw": "0", "nusd": 0, "why": "the counter began inside the window"}


def _bill(sample: BillSample) -> dict[str, Any]:
    return {
        "at": rfc3339(sample.at),
        "as_of": rfc3339(sample.as_of_at),
        "raw": sample.raw,
        "nusd": sample.total_nusd,
        "origin": sample.origin or "read",
    }


def _usage(session: Session, tier: str, found: Figures) -> dict[str, Any]:
    if isinstance(found.usage, Unknown):
        return unknown(found.usage)
    usage: Usage = found.usage
    return {
        **{field: getattr(usage, field) for field in USAGE_FIELDS},
        "running_ms": usage.running_ms,
        "capacity_tokens_per_s": _capacity(usage.capacity_per_ks),
        "terms": [_usage_term(term) for term in usage_terms(session, tier, usage.edges)],
    }


def _capacity(per_ks: int | Unknown) -> str | dict[str, str]:
    return unknown(per_ks) if isinstance(per_ks, Unknown) else f"{per_ks / KILOSECOND:.3f}"


def _usage_term(term: UsageTerm) -> dict[str, Any]:
    ledger = term.ledger
    zero = {"at": rfc3339(ledger.created_at), **dict.fromkeys(USAGE_FIELDS, 0), "why": "the ledger began here"}
    return {
        "ledger": ledger.uuid,
        "ledger_created_at": rfc3339(ledger.created_at),
        "agent": ledger.agent,
        "start": _totals(term.start) if term.start else zero,
        "end": _totals(term.end),
        "difference": {field: term.rise(field) for field in USAGE_FIELDS},
    }


def _totals(sample: UsageSample) -> dict[str, Any]:
    return {"at": rfc3339(sample.at), **{field: getattr(sample, field) for field in USAGE_FIELDS}}
