"""Two collectors, short: leaders that die while a tier sleeps and wakes. `make prove` does it in full."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.phases import PHASES, OperationKind, Phase
from tests.chaos.leaders import Pair, at_each_phase, at_random, running_pair
from tests.databases import postgres_database

pytestmark = pytest.mark.processes
IN_FULL = bool(os.environ.get("MTOK_PROVE"))
EVERY = [(kind, phase) for kind in OperationKind for phase in PHASES[kind] if phase is not Phase.REACHABLE]
FEW = [(OperationKind.HIBERNATE, Phase.PROVIDER), (OperationKind.WAKE, Phase.RUNNING)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A fleet for the whole file: what it has come through before is accounted for again each time."""
    with running_pair(tmp_path_factory.mktemp("leaders"), is_light=not IN_FULL) as running:
        yield running


def test_a_leader_killed_at_a_phase_is_followed_by_one_that_goes_on(pair: Pair) -> None:
    account = at_each_phase(pair, EVERY if IN_FULL else FEW)
    assert account.problems == [], account
    assert account.killed >= 2


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"] if IN_FULL else ["sqlite"])
def test_collectors_stopped_and_killed_at_random_have_one_effect_each_and_no_client_notices(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if kind == "sqlite":
        account = at_random(request.getfixturevalue("pair"), 60 if IN_FULL else 12, seed=5)
    else:
        name = f"mtok_{uuid.uuid4().hex}"
        with (
            postgres_database(request.getfixturevalue("postgres"), name) as url,
            running_pair(tmp_path, url) as pair,
        ):
            account = at_random(pair, 60, seed=6)
    assert account.problems == [], account
