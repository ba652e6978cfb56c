"""What lies in contrib/: promtool's own checks, and no query for a metric that is not exported."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric

from console.export.prometheus import families, prometheus_text
from tests.console.fleet_world import fleet_world
from tests.metrics_page import assert_alike, documented, exported

CONTRIB = Path(__file__).parents[2] / "contrib"
RULES = CONTRIB / "prometheus" / "mtok.rules.yml"
_NAME = re.compile(r"(?<![\w:$])(mtok[_:][\w:]+)")
_LABEL_LIST = re.compile(r"\b(?:by|on|without|ignoring) \([^)]*\)")
_SELECTOR = re.compile(r"\{[^}]*\}")


@pytest.fixture
def scraped(tmp_path: Path) -> list[Metric]:
    """Every family of a fleet's store."""
    world = fleet_world(tmp_path)
    world.tick()
    world.tick()
    found = families(world.database, world.settings, world.clock.now())
    world.database.close()
    return found


def promtool(*words: str) -> None:
    """Run a check of promtool's: Debian's package `prometheus`."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_the_rules_sound_and_their_tests_pass() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(RULES.with_suffix(".test.yml")))
    promtool("check", "config", "--syntax-only", str(RULES.parent / "scrape.yml"))


def test_promtool_finds_nothing_to_say_against_a_scrape(scraped: list[Metric]) -> None:
    text = prometheus_text(scraped, openmetrics=False)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_metric_is_on_its_page(scraped: list[Metric]) -> None:
    assert_alike(exported(scraped), documented("The collector's metrics"))


def test_every_query_asks_for_what_is_exported() -> None:
    names = set(documented("The collector's metrics")) | set(documented("An agent's metrics"))
    names |= {f"{name}{end}" for name in names for end in ("_bucket", "_count", "_sum")}
    rules = RULES.read_text(encoding="utf-8")
    recorded = set(re.findall(r"record: (\S+)", rules))
    asked = [*_of_rules(rules), *_of_dashboard(json.loads((CONTRIB / "grafana" / "mtok.json").read_text()))]
    assert len(asked) > 40
    unknown = {name for query in asked for name in _names(query) if name not in names | recorded}
    assert unknown == set()


def test_the_dashboard_needs_no_recording_rule() -> None:
    asked = _of_dashboard(json.loads((CONTRIB / "grafana" / "mtok.json").read_text()))
    assert not [query for query in asked if "mtok:" in query]


def test_money_is_never_increased() -> None:
    rules = "\n".join(_of_rules(RULES.read_text(encoding="utf-8")))
    asked = [rules, *_of_dashboard(json.loads((CONTRIB / "grafana" / "mtok.json").read_text()))]
    for query in asked:
        for inside in re.findall(r"\b(?:increase|rate|irate|delta)\(([^)]*)\)", query):
            assert "spans" in inside, query


def _names(query: str) -> set[str]:
    return set(_NAME.findall(_LABEL_LIST.sub("", _SELECTOR.sub("", query))))


def _of_rules(text: str) -> Iterator[str]:
    """The expressions of a rule file, whose manner we know: on one line, or indented below."""
    for found in re.finditer(r"^( *)expr: (?:\|\n((?:\1  .*\n)+)|(.*)\n)", text, re.MULTILINE):
        yield found[2] or found[3]


def _of_dashboard(body: Any) -> Iterator[str]:
    for panel in body["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
