"""From steps to charges: what each counter was billed and credited in each step, for FOCUS."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime

from sqlmodel import Session

from console.export.focus import Charge
from console.export.series import Step
from store.figures import Usage
from store.spend import SpendTerm, spend_terms, unsettled
from store.unknown import Unknown
from store.window import Edges


def charges(
    session: Session, step: Step, kinds: Mapping[str, str], left_out: MutableMapping[str, str]
) -> Iterator[Charge]:
    """The charges of one step, counter by counter, in each one's currency; their sum is the step's spend.

    `kinds` are the providers' kinds by name. What no row can say is named in `left_out`, with the reason.
    """
    edges, usage = step.figures.edges, step.figures.usage
    if isinstance(edges, Unknown):
        return
    served = usage if isinstance(usage, Usage) else None
    for term in _settled(spend_terms(session, step.tier, edges, are_at_rest=False), edges, left_out):
        rises, falls = term.debits_nusd, term.nusd - term.debits_nusd
        if rises or served is not None:
            yield _charge(step, term, kinds, rises, served)
            served = None
        if falls:
            yield _charge(step, term, kinds, falls, None)
    if served is not None and served.requests:
        for term in _settled(spend_terms(session, step.tier, edges), edges, left_out):
            yield _charge(step, term, kinds, 0, served)
            return
        left_out.setdefault(f"tokens of {step.tier}", "no bill counter to put them beside")


def _settled(terms: Iterable[SpendTerm], edges: Edges, left_out: MutableMapping[str, str]) -> Iterator[SpendTerm]:
    for term in terms:
        counter = term.counter
        if counter.unsettled_at is None or counter.unsettled_at > edges.end_at:
            yield term
            continue
        assert counter.id is not None
        why = unsettled(counter.id, counter.counter, counter.unsettled_at).reason
        left_out.setdefault(f"{counter.counter} of {counter.tier}", why)


def _charge(step: Step, term: SpendTerm, kinds: Mapping[str, str], nusd: int, usage: Usage | None) -> Charge:
    counter, window, edges, figures = term.counter, step.figures.window, step.figures.edges, step.figures
    assert not isinstance(edges, Unknown)
    output, total = figures.output_nusd_per_mtok, figures.total_nusd_per_mtok
    return Charge(
        start_at=window.start,
        end_at=window.end,
        edges=edges,
        tier=step.tier,
        provider=counter.provider,
        provider_kind=kinds.get(counter.provider, counter.provider),
        resource_kind=counter.kind,
        resource_id=counter.resource_id,
        resource_name=counter.name,
        currency=counter.currency,
        nusd=nusd,
        is_credit=nusd < 0,
        is_correction=_is_of_an_earlier_month(counter.final_at, window.start),
        counter=counter.counter,
        cumulative_nusd=term.end.total_nusd,
        sample_state="derived" if term.end.origin else "complete",
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        per_mtok_output_nusd=output if usage and isinstance(output, int) else None,
        per_mtok_total_nusd=total if usage and isinstance(total, int) else None,
    )


def _is_of_an_earlier_month(final_at: datetime | None, start_at: datetime) -> bool:
    """A counter that had ended in an earlier billing period and moves still: its invoice is being corrected."""
    return final_at is not None and (final_at.year, final_at.month) < (start_at.year, start_at.month)
