"""Status and explanation for a person's terminal: plain lines, no colour."""

from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from console.export.machine_text import machine_lines
from store.clock import rfc3339
from store.figures import NO_TOKENS, Figures
from store.fleet_view import Fleet
from store.gate import ScopeVerdict
from store.money import USD, display, display_usd
from store.printable import printable
from store.unknown import Unknown


def status_text(fleet: Fleet) -> str:
    """Every tier and the gate in a table."""
    verdict = fleet.verdict
    debits = verdict.facts.debits_today_nusd
    today = f"— ({debits.reason})" if isinstance(debits, Unknown) else display_usd(debits)
    word = "OPEN" if verdict.is_open else f"CLOSED ({verdict.sentence})"
    table = plain_table()
    for heading in (
        "tier",
        "state",
        "market",
        "window",
        "spend",
        "in",
        "out",
        "$/Mtok output",
        "$/Mtok total",
        "load",
    ):
        table.add_column(heading, justify="left" if heading in ("tier", "state", "market", "window") else "right")
    for tier in fleet.tiers:
        for index, (name, figures) in enumerate(tier.figures.items()):
            head = (tier.spec.name, tier.state, tier.spec.market) if index == 0 else ("", "", "")
            table.add_row(*head, name, *_cells(figures))
    lines = [f"as it was known at {rfc3339(fleet.at)}"] if fleet.is_replay else []
    lines += [f"gate {word}; spend today {today} of {display_usd(verdict.limit_nusd)}"]
    lines += [f"spend today {_of_limit(scope)}" for scope in verdict.currencies.values()]
    lines += [f"gate CLOSED for {verdict.sentence_of(name)}" for name, reasons in verdict.blind.items() if reasons]
    if any(tier.spec.is_simulated for tier in fleet.tiers):
        lines.append("SIMULATED PROVIDER: no money is spent")
    lines += sorted({f"engine: {tier.engine}" for tier in fleet.tiers if tier.engine})
    lines += [line for tier in fleet.tiers for line in machine_lines(tier)]
    lines += [
        f"gate CLOSED for {verdict.sentence_for(tier)}" for tier, scope in verdict.tiers.items() if scope.reasons
    ]
    if fleet.led_by is None and fleet.is_replay:
        lines.append("COLLECTOR DEAD: nobody was reading the bills")
    elif fleet.led_by is None:
        lines.append("COLLECTOR DEAD: nobody is reading the bills")
    return "\n".join([*map(printable, lines), "", rendered(table)])


def explanation_text(body: dict[str, Any]) -> str:
    """Each term of a spend: what the counter said first, what it said last, the difference."""
    figures = body["figures"]
    lines = [f"{body['tier']}: {figures['start'] or '—'} to {figures['end'] or '—'}"]
    if body["simulated"]:
        lines.append("SIMULATED PROVIDER: no money is spent")
    if "unknown" in body["spend"]:
        return "\n".join(map(printable, [*lines, f"spend — ({body['spend']['unknown']})"]))
    table = plain_table()
    for heading in ("counter", "at", "raw", "at", "raw", "difference"):
        table.add_column(heading, overflow="fold")
    for term in body["spend"]["terms"]:
        start, end = term["start"], term["end"]
        table.add_row(term["counter"], start["at"] or "", start["raw"], end["at"], end["raw"], term["amount"])
    usage, currency = body["usage"], body["spend"]["currency"]
    per = "$/Mtok" if currency == USD else f"{currency}/Mtok"
    opening, lines = lines, [f"spend {body['spend']['amount']} {body['spend']['currency']}"]
    lines.append(f"prompt {usage['prompt_tokens']}, completion {usage['completion_tokens']} tokens")
    lines.append(f"{per} output {known(figures['per_mtok_output'])}")
    lines.append(f"{per} total {known(figures['per_mtok_total'])}")
    lines.append(f"load {known(figures['load'])}")
    return "\n".join([*map(printable, opening), rendered(table), *map(printable, lines)])


def _cells(figures: Figures) -> tuple[str, ...]:
    spend, usage = figures.spend, figures.usage
    return (
        f"— ({spend.reason})" if isinstance(spend, Unknown) else display(spend.nusd, spend.currency, 4),
        "—" if isinstance(usage, Unknown) else f"{usage.prompt_tokens:,}",
        "—" if isinstance(usage, Unknown) else f"{usage.completion_tokens:,}",
        _per_mtok(figures.output_nusd_per_mtok, figures.currency),
        _per_mtok(figures.total_nusd_per_mtok, figures.currency),
        "—" if isinstance(figures.load, Unknown) else f"{float(figures.load) * 100:.0f}%",
    )


def _of_limit(scope: ScopeVerdict) -> str:
    spent = scope.facts.debits_nusd
    today = f"— ({spent.reason})" if isinstance(spent, Unknown) else display(spent, scope.currency)
    return f"{today} of {display(scope.limit_nusd, scope.currency)}"


def _per_mtok(value: int | Unknown, currency: str | None) -> str:
    if isinstance(value, Unknown):
        return value.reason if value == NO_TOKENS else "—"
    return display(value, currency or USD, 4)


def known(value: str | dict[str, str]) -> str:
    """A figure of a body, or why there is none."""
    return value if isinstance(value, str) else f"— ({value['unknown']})"


class PlainTable(Table):
    """A table whose texts are shown as they are: no markup, nothing that a terminal would obey."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """A row; each text in one line."""
        super().add_row(*(Text(printable(one)) if isinstance(one, str) else one for one in cells), **options)


def plain_table() -> PlainTable:
    """A table without lines or colours."""
    return PlainTable(box=None, pad_edge=False, header_style="")


def rendered(table: Table) -> str:
    """A table as lines of text."""
    console = Console(width=160, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
