"""A DOUBLE of exllamav2's extension and of its forward pass: with it the real generator runs without a GPU.

The extension's few functions that the generator calls on the CPU are written anew here, in torch; everything that
computes on a GPU is missing. The library's scheduling, page table, stop handling, filters and results are its own.
"""

import importlib
import itertools
import os
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.engine.exllamav2 import ExLlamaV2Engine, Loaded
from agent.engine.grammar import Vocabulary
from agent.engine.protocol import Delta, EngineInfo, Event, Failed, Finished, GenRequest, Outcome, Started, Usage
from agent.engine.tokenizer import ChatTokenizer

VOCAB = 2048
ENDS = frozenset({2, 5})
TEXT = "The quick brown fox jumps over the lazy dog. " * 20


def apply_rep_penalty(
    sequence: Any, penalty: float, _range: int, _decay: int, frequency: float, presence: float, logits: Any
) -> None:
    """Only what our adapter uses: the whole sequence, without decay."""
    assert frequency == presence == 0
    seen = sequence[0].unique()
    scores = logits[0, 0, seen]
    logits[0, 0, seen] = scores.where(scores <= 0, scores / penalty).where(scores > 0, scores * penalty)


def fast_fadd_cpu(logits: Any, bias: Any) -> None:
    assert logits.shape[-1] == bias.shape[-1]
    logits += bias


def fast_fill_cpu_ones_bool(mask: Any) -> None:
    mask.fill_(True)


def logit_filter_exclusive(mask: Any, allowed: Any) -> None:
    for row, ids in zip(mask, allowed, strict=True):
        kept = row[ids].clone()
        row.fill_(False)
        row[ids] = kept


def sample_basic(logits: Any, *given: Any) -> list[float]:
    """Greedy, or temperature, then top-k, top-p, min-p; the library's argument order."""
    import torch

    temperature, top_k, top_p, _top_a, min_p, _tfs, _typical, random, tokens, chances, _, _, mask = given[:13]
    if not -(2**31) <= top_k < 2**31:
        msg = "incompatible function arguments"  # pybind11's
        raise TypeError(msg)
    scores = logits[0, 0].double() / (temperature if temperature >= 0.01 else 1.0)
    if mask.device.type != "meta":
        scores[~mask[0]] = float("-inf")
    weights, ids = torch.softmax(scores, 0).sort(descending=True, stable=True)
    count = 1 if temperature < 0.01 else top_k or len(ids)
    weights, ids = weights[:count], ids[:count]
    if 0 < top_p < 1:
        count = int((weights.cumsum(0) / weights.sum() < top_p).sum()) + 1
        weights, ids = weights[:count], ids[:count]
    if 0 < min_p < 1:
        count = int((weights >= min_p * weights[0]).sum())
        weights, ids = weights[:count], ids[:count]
    place = int(torch.searchsorted(weights.cumsum(0), random * float(weights.sum())))
    place = min(place, len(ids) - 1)
    tokens[0, 0], chances[0, 0] = ids[place], weights[place] / weights.sum()
    return []


def partial_strings_match(text: Any, offsets: Any, strings: Any) -> int:
    """-1: no match; -2: the text ends with the beginning of a string; else where the first string found begins."""
    query = bytes(text).decode("utf-32-le")
    ends = np.frombuffer(offsets, np.int32)
    packed = bytes(strings)
    for start, end in itertools.pairwise(ends):
        string = packed[start:end].decode("utf-32-le")
        for place in range(len(query)):
            rest = query[place : place + len(string)]
            if rest == string:
                return place
            if place + len(string) > len(query) and string.startswith(rest):
                return -2
    return -1


def count_match(one: Any, other: Any, most: int) -> int:
    size = min(one.shape[-1], other.shape[-1], most)
    different = (one[0, :size] != other[0, :size]).nonzero()
    return int(different[0]) if len(different) else size


def install() -> None:
    """Let exllamav2 be imported on this machine: with this extension, and as if it had paged attention.

    MTOK_EXLLAMAV2_EXT names a folder with the real extension, which `make prove` compiles.
    """
    if real := os.environ.get("MTOK_EXLLAMAV2_EXT"):
        import torch  # noqa: F401 - whose libraries the extension is linked to

        sys.path[:0] = [] if real in sys.path else [real]
        importlib.import_module("exllamav2_ext")
    if "exllamav2_ext" not in sys.modules:
        double = types.ModuleType("exllamav2_ext")
        vars(double).update({name: value for name, value in globals().items() if callable(value)})
        sys.modules["exllamav2_ext"] = double
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import exllamav2.attn

    exllamav2.attn.has_flash_attn_with_paged = True


class FakeModel:
    """The forward pass alone is faked: the next token's logits are a function of the last token, or of the place.

    `fault` may raise in a forward pass; `work` counts the positions that were computed.
    """

    def __init__(self, config: Any, seed: int = 7) -> None:
        import torch

        self.config = config
        self.table = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(seed)) * 3
        self.table[:, :6] = -100.0  # no special token by chance
        self.script: dict[int, int] = {}
        self.work = {"prefill": 0, "decode": 0}
        self.batches: list[int] = []
        self.fault: Callable[[], None] = lambda: None

    def say(self, prompt_tokens: int, ids: Sequence[int]) -> None:
        """After a prompt of so many tokens come these, at whatever temperature."""
        self.script = {prompt_tokens - 1 + place: token for place, token in enumerate(ids)}

    def forward_chunk(
        self, input_ids: Any, attn_params: Any, *, preprocess_only: bool = False, **_given: Any
    ) -> dict[str, Any]:
        self.fault()
        self.work["prefill" if preprocess_only else "decode"] += input_ids.numel()
        if preprocess_only:
            return {}
        self.batches.append(len(input_ids))
        logits = self.table[input_ids].clone()
        lengths = getattr(attn_params, "cache_seqlens", None)
        for row, scores in enumerate(logits):
            before = attn_params.past_len if lengths is None else int(lengths[row])
            for place, one in enumerate(scores, before):
                if place in self.script:
                    one[6:] = -50.0
                    one[self.script[place]] = 50.0
        return {"logits": logits}


class FakeCache:
    """A cache that holds nothing: the fake forward pass does not look at it."""

    batch_size = 1

    def __init__(self, max_seq_len: int) -> None:
        self.max_seq_len, self.current_seq_len = max_seq_len, 0

    def all_tensors(self) -> list[Any]:
        return []

    def copy_states(self, *_where: Any) -> None:
        pass


def loaded(model_dir: Path, **changes: Any) -> Loaded:
    """What our adapter needs, with the real configuration and tokenizer of `model_dir`."""
    install()
    from exllamav2 import ExLlamaV2Config, ExLlamaV2Tokenizer

    config = ExLlamaV2Config(str(model_dir))
    given: dict[str, Any] = {
        "model": FakeModel(config),
        "cache": FakeCache(4096),
        "tokenizer": ExLlamaV2Tokenizer(config),
        "attention": "agent-paged",
        "is_paged": True,
        "chunk_tokens": 512,
    }
    return Loaded(**{**given, **changes})


@dataclass
class Told:
    """What the outside heard of one request."""

    usage: Usage = field(default_factory=Usage)
    outcome: Outcome | None = None
    problem: str | None = None
    text: str = ""
    tokens: int = 0
    deltas: list[Delta] = field(default_factory=list)
    started: Usage | None = None


@dataclass
class World:
    """An engine and its model."""

    engine: ExLlamaV2Engine
    model: Any
    told: dict[str, Told] = field(default_factory=dict)

    @property
    def prompt(self) -> list[int]:
        return self.engine.tokens.encode(TEXT)

    def submit(self, id_: str = "a", max_tokens: int = 40, **given: Any) -> Told:
        request = GenRequest(id_, **{"prompt": self.prompt, "seed": 1, "max_tokens": max_tokens, **given})
        self.engine.submit(request)
        self.told[id_] = Told()
        return self.told[id_]

    def step(self) -> list[Event]:
        events = self.engine.step()
        for event in events:
            told = self.told[event.id]
            assert told.outcome is None, "something after the last word"
            if isinstance(event, Started):
                told.started = event.usage
            elif isinstance(event, Delta):
                assert event.tokens >= 0, "a count that falls"
                told.text += event.text
                told.tokens += event.tokens
                told.deltas.append(event)
            else:
                told.usage = event.usage
                told.outcome = event.outcome if isinstance(event, Finished) else Outcome.FAILED
                told.problem = event.problem if isinstance(event, Failed) else None
        return events

    def run(self, id_: str = "a", max_tokens: int = 40, **given: Any) -> Told:
        told = self.submit(id_, max_tokens, **given)
        self.finish()
        return told

    def finish(self) -> None:
        for _ in range(2000):
            self.step()
            if all(told.outcome is not None for told in self.told.values()):
                break
        for told in self.told.values():
            assert told.outcome is not None
            assert told.tokens == told.usage.completion_tokens

    def steps(self, until: Callable[[], bool]) -> None:
        for _ in range(2000):
            if until():
                return
            self.step()
        pytest.fail("it does not come to that")


def make_world(model_dir: Path, **changes: Any) -> World:
    """An engine on fresh doubles."""
    parts = loaded(model_dir, **changes)
    vocabulary = Vocabulary(model_dir / "tokenizer.json", VOCAB, ENDS)
    info = EngineInfo("exllamav2", "0.3.2", "double", "tiny", "cpu", "gptq", parts.attention, 0, 8)
    engine = ExLlamaV2Engine(parts, ChatTokenizer(model_dir, vocabulary), vocabulary, ENDS, info)
    return World(engine, parts.model)
