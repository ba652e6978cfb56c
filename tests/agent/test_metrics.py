"""The agent's metrics: sound OpenMetrics, and every one of them on its page."""

import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as classic_families

from tests.agent.conftest import SECRET, RunningAgent
from tests.metrics_page import assert_alike, documented, exported

pytestmark = pytest.mark.processes


def scrape(agent: RunningAgent, accept: str) -> tuple[str, str]:
    """Content type and text of the control API's metrics."""
    headers = {"Authorization": f"Bearer {SECRET}", "Accept": accept}
    request = urllib.request.Request(f"{agent.control}/control/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_every_metric_is_on_its_page_and_sound_in_both_formats(agent: RunningAgent) -> None:
    agent.probe()
    assert agent.post("/v1/chat/completions", {"model": "none", "messages": []})[0] == 400
    kind, text = scrape(agent, "application/openmetrics-text;version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    families = list(openmetrics_families(text))
    assert_alike(exported(families), documented("An agent's metrics"))
    kind, text = scrape(agent, "")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert {one.name for one in classic_families(text)} == {one.name for one in families}
