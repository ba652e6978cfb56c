"""Two collectors, short: leaders that die while a tier sleeps and wakes. `make prove` does it in full."""

import os
import uuid

import pytest

from store.operations import PHASES, OperationKind, Phase
from tests.chaos.leaders import at_each_phase, at_random
from tests.databases import postgres_database

pytestmark = pytest.mark.processes
IN_FULL = bool(os.environ.get("MTOK_PROVE"))
EVERY = [(kind, phase) for kind in OperationKind for phase in PHASES[kind] if phase is not Phase.REACHABLE]
FEW = [(OperationKind.HIBERNATE, Phase.PROVIDER), (OperationKind.WAKE, Phase.RUNNING)]


def test_a_leader_killed_at_a_phase_is_followed_by_one_that_goes_on() -> None:
    account = at_each_phase(EVERY if IN_FULL else FEW)
    assert account.problems == [], account
    assert account.killed >= 2


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"] if IN_FULL else ["sqlite"])
def test_collectors_stopped_and_killed_at_random_have_one_effect_each_and_no_client_notices(
    kind: str, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        account = at_random(60 if IN_FULL else 12, seed=5)
    else:
        with postgres_database(request.getfixturevalue("postgres"), f"mtok_{uuid.uuid4().hex}") as url:
            account = at_random(60, seed=6, store_url=url)
    assert account.problems == [], account
