"""The demo at other providers: each tier's spend is its simulator's own account, to the nano-dollar."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console.demo.fleets import FLEETS, TIERS, providers_of
from console.providers.registry import provider_kind

MTOK = [sys.executable, "-c", "import sys; from console.cli import main; sys.exit(main())"]


def mtok_json(*words: str) -> Any:
    """What a command prints as JSON."""
    done = subprocess.run([*MTOK, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def told(state: Path) -> dict[str, dict[str, int]]:
    """By resource and second, what the simulators say that they had billed."""
    files = state.glob("account*.json")
    rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))["resources"]]
    return {str(row["resource_id"]): row["total_nusd"] for row in rows}


def check_every_spend(state: Path, status: Any) -> None:
    """Add each tier's bill up again from the accounts; a resource may have a counter for each hour."""
    totals = told(state)
    for tier in status["tiers"]:
        edges = [tier["windows"]["24h"][edge] for edge in ("start", "end")]
        window = ("--from", edges[0], "--to", edges[1])
        explained = mtok_json("explain", tier["tier"], *window, "--json", "--config", str(state / "mtok.toml"))
        terms, billed = explained["spend"]["terms"], 0
        for resource in {term["resource_id"] for term in terms}:
            own = [term for term in terms if term["resource_id"] == resource]
            first = min(term["start"]["as_of"] for term in own if term["start"] is not None)
            last = max(term["end"]["as_of"] for term in own)
            billed += totals[resource][last] - totals[resource][first]
        assert explained["spend"]["nusd"] == billed > 0


@pytest.mark.processes
def test_at_runpod_spend_is_the_simulators_account(tmp_path: Path) -> None:
    state = tmp_path / "state"
    demo = ("demo", "--provider", "runpod", "--headless", "--for", "10s", "--json", "--state", str(state))
    status = mtok_json(*demo)
    assert status["simulated"] is True
    assert {tier["provider"] for tier in status["tiers"]} == {"simulated-runpod"}
    check_every_spend(state, status)


def test_every_fleet_has_the_same_three_tiers_and_only_simulated_providers() -> None:
    for name, tiers in FLEETS.items():
        assert [tier.name for tier in tiers] == [tier.name for tier in TIERS]
        kinds = [provider_kind(provider.kind) for provider in providers_of(tiers)]
        assert all(kind.is_simulated and kind.title.startswith("SIMULATED") for kind in kinds)
        assert len(kinds) == (3 if name == "mixed" else 1)


def test_an_unknown_fleet_is_one_line_and_a_usage_error() -> None:
    done = subprocess.run([*MTOK, "demo", "--provider", "acme"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "hyperstack, runpod, vast, mixed" in done.stderr
    assert "Traceback" not in done.stderr
