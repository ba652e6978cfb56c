"""schemathesis, unmodified, against our OpenAPI document: what it says is true, and nothing is a 500."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.conftest import KEY, running_agent, write_settings

pytestmark = pytest.mark.processes
PROVES = bool(os.environ.get("MTOK_PROVE"))
CASES = 10_000 if PROVES else 500
EXAMPLES = 1900 if PROVES else 25  # of each operation with a body
# a schema cannot say that prompt and limit together fit the context, nor that 2.0 is not taken for 2
NOT_ASKED = "positive_data_acceptance"


def test_random_requests_are_answered_as_the_document_says(tmp_path: Path, model_dir: Path) -> None:
    more = "[limits]\ndefault_max_tokens = 4\nmax_queue = 300\nmax_prompt_tokens = 1000\n"
    report = tmp_path / "report.json"
    with running_agent(write_settings(tmp_path, model_dir, more)) as agent:
        agent.lease(ttl_s=3600)
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{agent.public}/openapi.json"]
        command += ["--header", f"Authorization: Bearer {KEY}", "--phases", "coverage,fuzzing"]
        command += ["--exclude-checks", NOT_ASKED, "--max-examples", str(EXAMPLES), "--seed", "1"]
        command += ["--report", "json", "--report-json-path", str(report), "--continue-on-failure"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        usage = agent.usage()
        assert agent.call(f"{agent.public}/health")[0] == 200
    assert done.returncode == 0, done.stdout[-6000:]
    cases = json.loads(report.read_text(encoding="utf-8"))["test_cases"]
    print(f"schemathesis: {cases}; the ledger has {usage['requests']} requests")
    assert cases["generated"] >= CASES, cases
    assert usage["in_flight"] == 0
    assert usage["requests"] > CASES / 50
