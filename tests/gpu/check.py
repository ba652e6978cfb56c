"""`make gpu-check`: on a GPU, the kernels compute what numpy does, in every format, attention and cache.

The attention is chosen when the library is imported, so each one has a process of its own.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.engine.checkpoint import Tensors, read_shape
from agent.engine.exllamav2 import ExLlamaV2Engine
from agent.engine.exllamav2_load import flash_attention_version, load_engine, prepare_attention
from agent.engine.extension import ensure_extension
from agent.engine.llama import Cache, Llama, Slice
from agent.engine.probe import Machine
from agent.engine.protocol import GenRequest, Usage
from agent.engine.reference import ReferenceEngine
from agent.settings import ExLlamaV2
from tests.gpu.answers import Answer, common, difference, greedy
from tests.gpu.checkpoints import FORMATS, TINY, write_checkpoint, write_plain_twin
from tests.gpu.report import Report, missing, new_report, not_run

NAME = "gpu-check"
CACHES = ("fp16", "q8", "q6", "q4")
TOKENS = 48
NEAR = 0.05  # log-probability: half precision decides near-ties otherwise
LOGIT_ERROR = 0.05  # of the logits' spread, and about five times what half precision does
LONG = 2000
BUILD_WITHIN_S = 1800.0
SETTINGS: dict[str, Any] = {"cache_tokens": 16_384, "max_chunk_tokens": 256}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; 0, 1 when something is wrong, 77 when nothing could be run."""
    parser = argparse.ArgumentParser(prog=NAME)
    parser.add_argument(
        "--attention", help="only this one, its findings as JSON on stdout; for the processes below"
    )
    parser.add_argument("--models", type=Path)
    given = parser.parse_args(arguments)
    reason = missing()
    if reason is not None:
        return not_run(NAME, reason)
    if given.attention:
        print(json.dumps(findings(given.models, given.attention)))
        return 0
    ensure_extension(Machine(), BUILD_WITHIN_S, print)
    report = new_report(NAME)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        make_models(models)
        expected = {form: numpy_answers(models / f"{form}-plain") for form in FORMATS}
        modes = ["agent-paged", "unpaged", *(["flash-attn"] if flash_attention_version() else [])]
        for mode in modes:
            judge(report, mode, _in_process(models, mode), expected)
    print(f"written: {report.write()}")
    return int(report.has_failed)


def make_models(folder: Path) -> None:
    """Each format, and its plain twin."""
    for place, form in enumerate(FORMATS):
        write_checkpoint(folder / form, TINY, form, seed=place)
        write_plain_twin(folder / form, folder / f"{form}-plain")


def prompts(vocab: int = TINY.vocab) -> list[list[int]]:
    """Prompts of several lengths: one token, across a page, in several chunks."""
    rng = np.random.default_rng(5)
    return [rng.integers(6, vocab, count).tolist() for count in (1, 17, 255, 257, 700)]


def numpy_answers(plain: Path) -> list[Answer]:
    """What the numpy engine says, one sequence after the other."""
    engine = ReferenceEngine(plain, max_batch=1)
    return greedy(engine, prompts(), TOKENS)


def findings(models: Path, mode: str) -> dict[str, Any]:
    """All that one attention gives, as JSON."""
    ensure_extension(Machine(), BUILD_WITHIN_S, lambda text: print(text, file=sys.stderr))
    attention = prepare_attention(mode)
    found: dict[str, Any] = {"attention": attention, "forms": {}, "caches": {}}
    for form in FORMATS:
        engine = load_engine(models / form, ExLlamaV2(**SETTINGS), attention, 8)
        error, spread = logit_error(engine, models / f"{form}-plain")
        found["forms"][form] = {"error": error, "spread": spread, "answers": _answers(engine)}
    for cache in CACHES:
        engine = load_engine(models / FORMATS[0], ExLlamaV2(**SETTINGS, cache=cache), attention, 8)
        found["caches"][cache] = _answers(engine)
    engine = load_engine(models / FORMATS[0], ExLlamaV2(**SETTINGS), attention, 8)
    found["cancelled"] = cancelled_in_prefill(engine)
    found["recovered"] = recovered_from_no_memory(engine)
    return found


def logit_error(engine: ExLlamaV2Engine, plain: Path) -> tuple[float, float]:
    """The largest difference of all logits of a prompt from numpy's, and the spread of numpy's."""
    import torch

    ids = np.asarray(prompts()[2], np.int64)
    llama = Llama(read_shape(plain), Tensors(plain))
    cache = Cache(llama.shape, len(ids))
    expected = np.stack([llama.forward([Slice(ids[place : place + 1], cache)])[0] for place in range(len(ids))])
    loaded = engine._loaded
    loaded.cache.current_seq_len = 0
    with torch.inference_mode():
        logits = loaded.model.forward(torch.from_numpy(ids)[None], loaded.cache)
    found = logits[0, :, : expected.shape[1]].float().cpu().numpy()
    engine.reset()
    return float(np.abs(found - expected).max()), float(expected.std())


def cancelled_in_prefill(engine: ExLlamaV2Engine) -> bool:
    """Whether a prompt of several chunks can be given up after the first, and the next request is right."""
    before = greedy(engine, prompts()[:1], TOKENS, "b")[0]
    engine.submit(GenRequest("long", np.random.default_rng(6).integers(6, TINY.vocab, LONG).tolist(), TOKENS))
    engine.step()
    usage = engine.cancel("long")
    after = greedy(engine, prompts()[:1], TOKENS, "a")[0]
    expected = Usage(prompt_tokens=LONG)
    return usage is not None and usage == expected and difference(before, after, NEAR) is None


def recovered_from_no_memory(engine: ExLlamaV2Engine) -> bool:
    """Whether a step without memory fails, leaves its counts, and the next request is right."""
    import torch

    before = greedy(engine, prompts()[:1], TOKENS, "b")[0]
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved(0) / total, 0)
    held: list[Any] = []
    engine.submit(GenRequest("long", [7] * LONG, TOKENS))
    try:
        with contextlib.suppress(torch.cuda.OutOfMemoryError):
            while True:
                held.append(torch.empty(1 << 18, dtype=torch.uint8, device="cuda"))  # what is reserved, and free
        has_failed = _fails(lambda: [engine.step() for _ in range(TOKENS)], torch.cuda.OutOfMemoryError)
    finally:
        held.clear()
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
    used = engine.reset()
    after = greedy(engine, prompts()[:1], TOKENS, "a")[0]
    return has_failed and used["long"].completion_tokens == 0 and difference(before, after, NEAR) is None


def judge(report: Report, mode: str, found: dict[str, Any], expected: dict[str, list[Answer]]) -> None:
    """Hold one attention's findings against numpy's."""
    attention = found["attention"]
    for form, one in found["forms"].items():
        is_close = one["error"] <= LOGIT_ERROR * one["spread"]
        text = (
            f"{attention}, {form}: logits within {one['error']:.4f} of numpy's, whose spread is {one['spread']:.2f}"
        )
        report.add(text, attention=mode, format=form, error=one["error"], spread=one["spread"], ok=is_close)
        parted = _parted([_answer(a) for a in one["answers"]], expected[form])
        text = f"{attention}, {form}: greedy answers " + ("as numpy's" if not parted else f"differ: {parted}")
        report.add(text, attention=mode, format=form, answers=parted, ok=not parted)
    exact = [_answer(a) for a in found["caches"]["fp16"]]
    for cache in CACHES[1:]:
        answers = [_answer(a) for a in found["caches"][cache]]
        shares = [common(left, right) for left, right in zip(exact, answers, strict=True)]
        is_whole = all(0 < len(a.tokens) <= a.usage.completion_tokens for a in answers)  # its own end is no text
        text = f"{attention}, {cache} cache: the first {shares} of {TOKENS} tokens are those of fp16"
        report.add(text, attention=mode, cache=cache, common=shares, ok=is_whole)
    for name in ("cancelled", "recovered"):
        words = {"cancelled": "cancelled during prefill", "recovered": "recovered from no memory"}[name]
        report.add(f"{attention}: {words}: {found[name]}", attention=mode, what=name, ok=found[name])


def _parted(found: Sequence[Answer], expected: Sequence[Answer]) -> list[str]:
    pairs = enumerate(zip(found, expected, strict=True))
    return [f"prompt {place}, {text}" for place, (one, other) in pairs if (text := difference(one, other, NEAR))]


def _answers(engine: ExLlamaV2Engine) -> list[dict[str, Any]]:
    found = greedy(engine, prompts(), TOKENS)
    return [{"tokens": a.tokens, "margins": a.margins, "completion": a.usage.completion_tokens} for a in found]


def _answer(found: dict[str, Any]) -> Answer:
    return Answer(found["tokens"], found["margins"], Usage(completion_tokens=found["completion"]))


def _in_process(models: Path, mode: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.gpu.check", "--attention", mode, "--models", str(models)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _fails(work: Callable[[], Any], error: type[BaseException]) -> bool:
    try:
        work()
    except error:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
