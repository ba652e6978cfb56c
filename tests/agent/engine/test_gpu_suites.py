"""`make gpu-check` and `make gpu-bench`, as far as a machine without a GPU runs them: no rate is measured."""

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from agent.engine.protocol import Usage
from tests.agent.engine.exllamav2_double import make_world
from tests.gpu import bench, check
from tests.gpu.answers import Answer, common, difference, greedy
from tests.gpu.report import NOT_RUN, Report, missing

pytestmark = pytest.mark.xdist_group("torch")
AT = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)


def report() -> Report:
    return Report("gpu-bench", {"device": "NVIDIA H100 80GB HBM3", "torch": "2.13.0"}, AT)


@pytest.mark.parametrize("suite", [check, bench])
def test_without_a_gpu_each_says_so_plainly(suite: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    if missing() is not None:
        assert suite.main([]) == NOT_RUN == 77
        assert f"{suite.NAME} not run: no GPU (driver: " in capsys.readouterr().err


def test_a_report_is_kept_as_json_and_text_with_its_machine(tmp_path: Path) -> None:
    made = report()
    made.add("batch  1: fine", batch=1, ok=True)
    path = made.write(tmp_path)
    assert path.name == "gpu-bench-nvidia-h100-80gb-hbm3-20261125-1430.txt"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("gpu-bench, 2026-11-25 14:30 UTC\ndevice: NVIDIA H100 80GB HBM3\ntorch: 2.13.0\n")
    body = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert body["rows"] == [{"text": "batch  1: fine", "batch": 1, "ok": True}]
    assert not body["failed"]
    made.add("not fine", ok=False)
    assert made.has_failed


def test_answers_may_part_only_at_a_near_tie() -> None:
    one = Answer([1, 2, 3], [0.5, 0.01, 0.5])
    assert difference(one, Answer([1, 2, 3], [9, 9, 9]), 0.05) is None
    assert difference(one, Answer([1, 7, 8], [0.5, 0.4, 0.4]), 0.05) is None
    assert difference(one, Answer([7, 2, 3], [0.3, 0.4, 0.4]), 0.05) == "token 0: 1 and 7, 0.300 apart"
    assert difference(one, Answer([1, 2], [1, 1]), 0.05) == "3 and 2 tokens"
    assert [common(one, Answer(ids)) for ids in ([1, 2, 3], [1, 2], [1, 9, 3], [4])] == [3, 2, 1, 0]


def test_greedy_answers_have_their_margins(model_dir: Path) -> None:
    world = make_world(model_dir)
    found = greedy(world.engine, check.prompts()[:3], 6)
    assert [len(answer.tokens) for answer in found] == [6, 6, 6]
    assert all(margin > 0 for answer in found for margin in answer.margins)
    assert found[1].usage == Usage(prompt_tokens=17, completion_tokens=6)


def test_a_prompt_of_several_chunks_is_given_up_after_the_first(model_dir: Path) -> None:
    assert check.cancelled_in_prefill(make_world(model_dir, chunk_tokens=256).engine)


def test_findings_are_held_against_numpys() -> None:
    good = {"tokens": [5, 6], "margins": [1.0, 1.0], "completion": 2}
    other = {"tokens": [5, 9], "margins": [1.0, 1.0], "completion": 2}
    found = {
        "attention": "agent-paged",
        "forms": {
            "gptq": {"error": 0.01, "spread": 1.0, "answers": [good]},
            "exl2": {"error": 0.3, "spread": 1.0, "answers": [other]},
        },
        "caches": {"fp16": [good], "q8": [good], "q6": [other], "q4": [other]},
        "cancelled": True,
        "recovered": False,
    }
    expected = {form: [Answer([5, 6], [1.0, 1.0])] for form in ("gptq", "exl2")}
    made = report()
    check.judge(made, "agent-paged", found, expected)
    assert [row["ok"] for row in made.rows] == [True, True, False, False, True, True, True, True, False]
    assert "prompt 0, token 1: 9 and 6" in made.rows[3]["text"]


def test_both_sides_of_the_bench_do_the_same_work(model_dir: Path) -> None:
    ticks = itertools.count()

    def clock() -> float:
        return next(ticks)

    world = make_world(model_dir, chunk_tokens=2048)
    for measured in (
        bench.our_rate(world.engine, 4, 0, clock),
        bench.bare_rate(world.engine._loaded.generator(8), 4, 0, clock),
    ):
        assert measured.all_tokens == 4 * bench.NEW_TOKENS
        assert 0 < measured.tokens < measured.all_tokens
        assert measured.tokens % 4 == 0


def test_a_cost_is_implied_by_a_quoted_price_and_said_to_be(model_dir: Path) -> None:
    assert [bench.needed_tokens_per_s(2 * 10**9, cost) for cost in bench.PUBLISHED_NUSD_PER_MTOK] == [1852, 794]
    assert bench.implied_nusd_per_mtok(2 * 10**9, 794) == pytest.approx(0.7e9, rel=1e-3)
    made = report()
    made.rows.append({"text": "", "tokens_per_s": 900.0})
    bench.judge(made)
    assert made.rows[-1]["text"] == (
        "published: $0.30 to $0.70 a million output tokens, which at a quoted $2.00 an hour takes 794 to 1,852 "
        "tokens/s; best here: 900"
    )
