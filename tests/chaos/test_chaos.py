"""The short form of `make chaos`: a dark provider, a restarted collector, a killed agent."""

import pytest

from tests.chaos.faults import SHORT
from tests.chaos.suite import run

pytestmark = pytest.mark.processes


def test_no_token_is_served_blind_and_no_entry_is_lost() -> None:
    rows = run(SHORT)
    assert [(row.fault, row.holds) for row in rows] == [(fault.name, True) for fault in SHORT], rows
