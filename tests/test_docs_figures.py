"""docs/figures.md: its worked example, computed again by the store."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from store.database import open_database
from store.figures import Spend, Usage
from store.figures_read import figures
from store.money import format_nusd, parse_nusd
from store.spend import spend_terms
from store.window import Edges, Window
from tests.conftest import START, History

TEXT = (Path(__file__).parents[1] / "docs" / "figures.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose first heading is this one."""
    found = re.search(rf"^\| {heading} \|.*\n\| ---.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in row.strip("| \n").split("|")] for row in found.group(1).splitlines()]


def test_the_worked_example_holds(tmp_path: Path) -> None:
    history = History(open_database(f"sqlite:///{tmp_path}/mtok.db"), resources=frozenset({"8429", "5341"}))
    rows = table("tick")
    assert datetime(2026, 11, 24, 8, tzinfo=UTC) == START
    for _, instance, volume, prompt, completion in rows:
        bills = (
            history.bill(parse_nusd(instance), raw=instance),
            history.bill(
                parse_nusd(volume), raw=volume, counter="usage:volume:5341", kind="volume", resource_id="5341"
            ),
        )
        history.tick(*bills, totals=history.totals(_tokens(prompt), _tokens(completion)))
    window = Window(START, START + timedelta(minutes=len(rows) - 1))
    with history.database.read() as session:
        found = figures(session, "h100", window)
        assert isinstance(found.edges, Edges)
        instance_term, volume_term = spend_terms(session, "h100", found.edges)
    assert isinstance(found.spend, Spend)
    assert isinstance(found.usage, Usage)
    assert isinstance(found.output_nusd_per_mtok, int)
    assert isinstance(found.total_nusd_per_mtok, int)
    said = dict(table("figure"))
    assert said == {
        "spend of the instance": format_nusd(instance_term.nusd),
        "spend of the volume": format_nusd(volume_term.nusd),
        "spend": format_nusd(found.spend.nusd),
        "completion tokens": f"{found.usage.completion_tokens:,}",
        "prompt tokens": f"{found.usage.prompt_tokens:,}",
        "$/Mtok OUT": format_nusd(found.output_nusd_per_mtok),
        "$/Mtok ALL": format_nusd(found.total_nusd_per_mtok),
    }
    history.database.close()


def test_the_example_is_one_subtraction_divided_by_another() -> None:
    first, last = table("tick")[0], table("tick")[-1]
    spend = sum((Decimal(last[n]) - Decimal(first[n]) for n in (1, 2)), Decimal(0))
    tokens = _tokens(last[4]) - _tokens(first[4])
    said = Decimal(dict(table("figure"))["$/Mtok OUT"])
    assert abs(said - spend / tokens * 10**6) < Decimal("1e-6")


def _tokens(text: str) -> int:
    return int(text.replace(",", ""))
