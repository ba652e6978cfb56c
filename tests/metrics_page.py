"""docs/metrics.md as tests read it: every metric that it names."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
_ROW = re.compile(r"^\| `(mtok_\w+)` \| (\w+) \| (\w*) ?\| ([\w, ]*?) ?\| (.+) \|$", re.MULTILINE)
_SUFFIX = {"counter": "_total", "info": "_info"}


class Documented(NamedTuple):
    """A metric: as a query names it, its type, its unit, its labels."""

    name: str
    kind: str
    unit: str
    labels: frozenset[str]


def documented(heading: str) -> dict[str, Documented]:
    """The metrics of one section of the page, by name."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [
        Documented(name, kind, unit, frozenset(filter(None, labels.split(", "))))
        for name, kind, unit, labels, _ in _ROW.findall(section)
    ]
    assert rows
    return {row.name: row for row in rows}


def exported(families: Iterable[Metric]) -> dict[str, Documented]:
    """What a scrape holds, in the same terms; labels are those of the samples that there are."""
    return {
        name: Documented(name, family.type, family.unit, frozenset(_labels(family)))
        for family in families
        for name in [family.name + _SUFFIX.get(family.type, "")]
    }


def _labels(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels}


def assert_alike(found: dict[str, Documented], page: dict[str, Documented]) -> None:
    """Each metric is on the page and in the scrape, alike; one without samples shows no labels."""
    assert sorted(found) == sorted(page)
    for name, one in found.items():
        assert (one.kind, one.unit) == (page[name].kind, page[name].unit), name
        assert one.labels in (page[name].labels, frozenset()), name
