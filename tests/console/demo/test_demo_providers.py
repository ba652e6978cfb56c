"""The demo at other providers: each tier's spend is its simulator's own account, to the nano-dollar."""

import contextlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from console.demo.fleets import FLEETS, TIERS, providers_of
from console.demo.world import World
from console.providers.registry import provider_kind
from tests.prepared import prepare_demo


def told(state: Path) -> dict[str, dict[str, int]]:
    """By resource and second, what the simulators say that they had billed."""
    files = state.glob("account*.json")
    rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))["resources"]]
    return {str(row["resource_id"]): row["total_nusd"] for row in rows}


def billed(explained: Any, totals: dict[str, dict[str, int]]) -> int:
    """A tier's bill added up again from the accounts; a resource may have a counter for each hour."""
    terms, nusd = explained["spend"]["terms"], 0
    for resource in {term["resource_id"] for term in terms}:
        own = [term for term in terms if term["resource_id"] == resource]
        first = min(term["start"]["as_of"] for term in own if term["start"] is not None)
        last = max(term["end"]["as_of"] for term in own)
        nusd += totals[resource][last] - totals[resource][first]
    return nusd


def wait_for_ticks(state: Path, count: int) -> None:
    """Until the collector has ticked so often."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(state / "mtok.db")) as store:
            if store.execute("SELECT count(*) FROM ticks WHERE complete").fetchone()[0] >= count:
                return
        time.sleep(0.2)
    pytest.fail("the collector does not tick")


@pytest.mark.processes
def test_at_runpod_spend_is_the_simulators_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    world = World(state, lambda world: prepare_demo(state, world.tiers), FLEETS["runpod"][:1])
    world.start()
    try:
        wait_for_ticks(state, 6)
    finally:
        world.stop()
    totals = told(state)
    for tier in world.tiers:
        capsys.readouterr()
        assert main(["explain", tier.name, "--window", "1h", "--json", "--config", str(world.settings)]) == 0
        explained = json.loads(capsys.readouterr().out)
        assert explained["simulated"] is True
        assert explained["spend"]["nusd"] == billed(explained, totals) > 0


def test_every_fleet_has_the_same_three_tiers_and_only_simulated_providers() -> None:
    for name, tiers in FLEETS.items():
        assert [tier.name for tier in tiers] == [tier.name for tier in TIERS]
        kinds = [provider_kind(provider.kind) for provider in providers_of(tiers)]
        assert all(kind.is_simulated and kind.title.startswith("SIMULATED") for kind in kinds)
        assert len(kinds) == (3 if name == "mixed" else 1)


def test_an_unknown_fleet_is_one_line_and_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--provider", "acme"]) == 2
    told = capsys.readouterr().err
    assert "hyperstack, runpod, vast, mixed" in told
    assert "Traceback" not in told
