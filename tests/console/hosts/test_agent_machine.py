"""What an agent says of its machine: read where it is sound, and never in the way of its totals."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from console.hosts.agent_client import AgentClient, AgentUsage
from console.hosts.agent_machine import machine_of
from store.machines import GpuView
from store.unknown import Unknown
from tests.console.hosts.conftest import Answering

USAGE: dict[str, Any] = {
    "ledger": "ledger-a",
    "ledger_created_at": "2026-11-24T08:00:00Z",
    "as_of": "2026-11-24T08:00:00Z",
    "nonce": "0" * 32,
    **dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens", "delivered_tokens"), 7),
    **dict.fromkeys(("requests", "busy_ms", "in_flight"), 1),
    "last_token_at": None,
}
CAPACITY = {
    "capacity_tokens_per_s": 1234.567,
    "capacity": {"measured_at": "2026-11-24T07:00:00Z", "conditions": "batch 8"},
}
GPU = {
    "index": 0,
    "name": "NVIDIA H100",
    "driver": "570",
    "utilisation_percent": 97,
    "memory_used_bytes": 2**36,
    "memory_total_bytes": None,
    "power_mw": 312_450,
    "temperature_c": 64,
}


async def usage(answering: Answering, body: object) -> AgentUsage:
    answering.body = json.dumps(body).encode()
    async with AgentClient("h100-a", f"http://127.0.0.1:{answering.port}", "secret") as client:
        return await client.usage()


async def test_capacity_and_gpus_come_with_the_usage(answering: Answering) -> None:
    found = (await usage(answering, {**USAGE, **CAPACITY, "gpu": [GPU]})).machine
    assert (found.capacity_per_ks, found.capacity_about) == (1_234_567, "batch 8")
    assert found.capacity_measured_at == datetime(2026, 11, 24, 7, tzinfo=UTC)
    assert found.gpus == (GpuView("h100-a", 0, "NVIDIA H100", "570", 97, 2**36, None, 312_450, 64),)


async def test_an_older_agent_says_nothing_of_either(answering: Answering) -> None:
    found = await usage(answering, USAGE)
    assert found.totals.completion_tokens == 7
    assert found.machine.capacity_per_ks is None
    assert "a newer mtok does" in found.machine.capacity_about
    assert isinstance(found.machine.gpus, Unknown)


def test_reasons_are_kept() -> None:
    body = {
        "capacity_tokens_per_s": None,
        "capacity": {"unknown": "not measured"},
        "gpu": {"unknown": "no GPU figures: x"},
    }
    found = machine_of("a", body)
    assert (found.capacity_per_ks, found.capacity_about, found.gpus) == (
        None,
        "not measured",
        Unknown("no GPU figures: x"),
    )


@pytest.mark.parametrize("rate", [0, -1, "1", True, None, 1e300, float("nan"), float("inf"), [], 10**400, 1e-9])
async def test_a_capacity_that_is_none_never_costs_the_totals(answering: Answering, rate: object) -> None:
    found = await usage(answering, {**USAGE, **CAPACITY, "capacity_tokens_per_s": rate})
    assert found.totals.completion_tokens == 7
    assert found.machine.capacity_per_ks is None
    assert found.machine.capacity_about == "its answer on capacity is not in the documented shape"


@pytest.mark.parametrize(
    "about", ["fast", [], {"measured_at": "yesterday", "conditions": "x"}, {"unknown": 3}, {1: 2}]
)
def test_a_capacity_without_its_conditions_is_none(about: object) -> None:
    found = machine_of("a", {"capacity_tokens_per_s": 5.0, "capacity": about})
    assert found.capacity_per_ks is None
    assert "documented shape" in found.capacity_about


@pytest.mark.parametrize(
    "gpu",
    [
        "H100",
        {"unknown": 1},
        [1],
        [{"index": 0}],
        [{**GPU, "power_mw": 2**63}],
        [{**GPU, "utilisation_percent": 101}],
        [{**GPU, "temperature_c": 64.5}],
        [{**GPU, "memory_used_bytes": -1}],
        [GPU] * 65,
    ],
)
def test_gpu_figures_out_of_shape_are_unknown(gpu: object) -> None:
    found = machine_of("a", {"gpu": gpu}).gpus
    assert found == Unknown("no GPU figures: its answer on GPUs is not in the documented shape")


def test_texts_of_a_host_reach_no_terminal_as_they_are() -> None:
    body = {"gpu": [{**GPU, "name": "\x1b[2J" + "x" * 1000}], "capacity": {"unknown": "a\nb\x07"}}
    found = machine_of("a", body)
    assert found.capacity_about == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert not isinstance(found.gpus, Unknown)
    name = found.gpus[0].name
    assert name.startswith("\N{REPLACEMENT CHARACTER}[2J")
    assert len(name) == 240
