"""What `make audit` makes of pip-audit's answers: an index without advisories is no clean bill."""

import json

import pytest

from tests.audit import verdict

CLEAN = {"name": "a", "version": "1", "vulns": []}
WEAK = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [
        ([CLEAN], 0, "no known weakness in 1 packages"),
        ([CLEAN, SKIPPED], 0, "not known there: c"),
        ([CLEAN, WEAK, SKIPPED], 1, "b 2: PYSEC-1, mended in 3"),
        ([SKIPPED, SKIPPED], 0, "not run: the index has no advisories"),
    ],
)
def test_a_report_is_weakness_clean_or_not_run(found: list[object], code: int, says: str) -> None:
    given, lines = verdict(json.dumps({"dependencies": found}), "")
    assert given == code
    assert says in lines


def test_no_report_is_not_run_with_the_reason() -> None:
    assert verdict("", "one\nno route to host\n") == (0, "audit: not run: no route to host")
