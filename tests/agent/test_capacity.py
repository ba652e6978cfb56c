"""A measurement holds for what was measured, and for nothing else."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.capacity import BatchRate, Capacity, Measurement, Rate, served
from agent.engine.null import NullEngine
from agent.errors import BenchStopped
from store.unknown import Unknown

INFO = replace(NullEngine(8).info, attention="paged")
RATE = {"tokens_per_s": 100.5, "slowest": 90.0, "fastest": 110.0}
MEASURED = Measurement(
    measured_at=datetime(2026, 11, 24, tzinfo=UTC),
    mtok_version="0.1.0",
    engine_version="1",
    context_tokens=4096,
    **served(INFO),
    prompt_tokens=128,
    completion_tokens=256,
    prefill_tokens=1024,
    seconds=3,
    runs=3,
    prefill=Rate(**RATE),
    batches=(BatchRate(batch=1, **{**RATE, "tokens_per_s": 95.0}), BatchRate(batch=8, **RATE)),
)


def reason(found: Measurement | Unknown) -> str:
    assert isinstance(found, Unknown)
    return found.reason


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    capacity = Capacity(tmp_path / "ledger.db")
    assert reason(capacity.now(INFO)) == "not measured: run mtok agent bench"
    assert reason(capacity.now(None)) == "the model is being loaded"


def test_it_outlives_the_process(tmp_path: Path) -> None:
    Capacity(tmp_path / "ledger.db").keep(MEASURED)
    assert Capacity(tmp_path / "ledger.db").now(INFO) == MEASURED
    assert MEASURED.capacity_tokens_per_s == 100.5
    assert MEASURED.conditions.startswith(
        "batch 8, prompts of 128 and answers of 256 tokens; null, none, attention"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db.bench.json"]


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("name", "reference"),
        ("model", "other"),
        ("quantisation", "exl2 4.0"),
        ("attention", None),
        ("device", "cuda:0"),
        ("max_batch", 16),
    ],
)
def test_whatever_is_served_otherwise_makes_it_unknown(tmp_path: Path, name: str, now: object) -> None:
    capacity = Capacity(tmp_path / "ledger.db")
    capacity.keep(MEASURED)
    said = reason(capacity.now(replace(INFO, **{name: now})))  # type: ignore[arg-type]
    assert said.startswith("measured with ")
    assert f"now {now}: run mtok agent bench again" in said


@pytest.mark.parametrize("text", ["", "{", "[]", '{"batches": []}', "\0"])
def test_a_damaged_file_is_no_measurement(tmp_path: Path, text: str) -> None:
    (tmp_path / "ledger.db.bench.json").write_text(text, encoding="utf-8")
    assert "cannot be read" in reason(Capacity(tmp_path / "ledger.db").now(INFO))


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    capacity = Capacity(tmp_path / "ledger.db")
    (tmp_path / "ledger.db.bench.json.new").mkdir()
    with pytest.raises(BenchStopped, match=r"cannot be kept in .*bench\.json"):
        capacity.keep(MEASURED)
    assert capacity.now(INFO) == MEASURED
