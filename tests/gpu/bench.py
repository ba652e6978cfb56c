"""`make gpu-bench`: ExLlamaV2 alone and through our adapter on this GPU, and what its tokens would cost.

The model has a real one's shape and random 4-bit weights, made on the spot: the work of a step does not depend on
what the weights are. Rates are those of one run on one machine; a price turns them into an implied cost: no bill.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.engine.exllamav2 import ExLlamaV2Engine
from agent.engine.exllamav2_load import load_engine, prepare_attention
from agent.engine.extension import ensure_extension
from agent.engine.probe import Machine
from agent.engine.protocol import Delta, Finished, GenRequest
from agent.settings import ExLlamaV2
from store.money import NUSD, display_usd, per_mtok_nusd
from tests.gpu.checkpoints import SHAPES, write_checkpoint
from tests.gpu.report import Report, missing, new_report, not_run

NAME = "gpu-bench"
BATCHES = (1, 4, 8, 16, 32, 64)
ROUNDS = 3
PROMPT_TOKENS = 512
NEW_TOKENS = 256
PREFILL_TOKENS = 8192
LEAST_RATIO = 0.97
QUOTED_NUSD_PER_HOUR = (2 * NUSD, 3_200_000_000)  # H100 quotes of 2026; a quote is no bill
# per million output tokens, published for models of this size; at the first price it takes so many tokens a second
PUBLISHED_NUSD_PER_MTOK = (300_000_000, 700_000_000)
BUILD_WITHIN_S = 1800.0
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens while every sequence decoded, and the time for them; and the whole count."""

    tokens: int
    seconds: float
    all_tokens: int

    @property
    def per_s(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; 0, 1 when ours is under 97 % of the library alone, 77 when nothing could be run."""
    parser = argparse.ArgumentParser(prog=NAME)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--format", choices=("gptq", "exl2"), default="gptq")
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--cache", choices=("fp16", "q8", "q6", "q4"), default="fp16")
    given = parser.parse_args(arguments)
    reason = missing()
    if reason is not None:
        return not_run(NAME, reason)
    ensure_extension(Machine(), BUILD_WITHIN_S, print)
    attention = prepare_attention(given.attention)
    report = new_report(NAME)
    with tempfile.TemporaryDirectory() as folder:
        engine = prepared(report, Path(folder) / given.shape, given.shape, given.format, given.cache, attention)
        prefill(report, engine)
        batches = [batch for batch in BATCHES if batch <= engine.info.max_batch]
        for batch in batches:
            compare(report, engine, batch)
        judge(report)
    print(f"written: {report.write()}")
    return int(report.has_failed)


def prepared(report: Report, model: Path, shape: str, form: str, cache: str, attention: str) -> ExLlamaV2Engine:
    """Make the model, load it, and say how long each took."""
    began_s = time.monotonic()
    weights_bytes = write_checkpoint(model, SHAPES[shape], form)
    made_s = time.monotonic() - began_s
    report.add(
        f"a {shape} model of random 4-bit weights ({form}), {weights_bytes / 1e9:.2f} GB, made in {made_s:.0f} s"
    )
    most = max(BATCHES) * (PROMPT_TOKENS + NEW_TOKENS)
    tokens = -(-max(most, 2 * PREFILL_TOKENS) // 256) * 256
    context = min(SHAPES[shape].context, 2 * PREFILL_TOKENS)
    wanted = ExLlamaV2.model_validate({"cache": cache, "cache_tokens": tokens, "context_tokens": context})
    began_s = time.monotonic()
    engine = load_engine(model, wanted, attention, max(BATCHES))
    loaded_s = time.monotonic() - began_s
    engine.warm_up()
    report.add(f"{engine.info.label}: loaded in {loaded_s:.1f} s", load_s=loaded_s, label=engine.info.label)
    return engine


def prefill(report: Report, engine: ExLlamaV2Engine, clock: Clock = time.perf_counter) -> None:
    """How fast a long prompt is taken in: the best of several fresh ones."""
    found = []
    for place in range(ROUNDS):
        count = min(PREFILL_TOKENS, engine.info.context_tokens - 2)
        engine.submit(GenRequest(f"p{place}", prompt_of(count, 1000 + place), 1, temperature=0.0))
        began_s = clock()
        while not any(isinstance(event, Finished) for event in engine.step()):
            pass
        found.append(count / (clock() - began_s))
    rate = max(found)
    report.add(f"prefill: {rate:,.0f} tokens/s", prefill_tokens_per_s=rate)


def compare(report: Report, engine: ExLlamaV2Engine, batch: int) -> None:
    """Decoding at one batch size, the library alone and through our adapter in turn; medians of the rounds."""
    alone, ours = [], []
    bare = engine._loaded.generator(engine.info.max_batch)
    gc.collect()
    for round_ in range(ROUNDS):
        bare.reset_page_table()  # both write the same cache: neither may trust what it remembers of it
        alone.append(bare_rate(bare, batch, round_).per_s)
        engine.reset()
        ours.append(our_rate(engine, batch, round_).per_s)
    engine.reset()
    one, other = statistics.median(alone), statistics.median(ours)
    ratio = other / one
    costs = [implied_nusd_per_mtok(price, other) for price in QUOTED_NUSD_PER_HOUR]
    quotes = " to ".join(display_usd(price) for price in QUOTED_NUSD_PER_HOUR)
    implied = " to ".join(display_usd(cost, 3) for cost in costs)
    report.add(
        f"batch {batch:>2}: {other:>7,.0f} tokens/s ours, {one:>7,.0f} the library alone ({ratio:.1%}); "
        f"implied {implied} a million output tokens at quoted {quotes} an hour",
        batch=batch,
        tokens_per_s=other,
        alone_tokens_per_s=one,
        ratio=ratio,
        implied_nusd_per_mtok=costs,
        ok=ratio >= LEAST_RATIO,
    )


def prompt_of(count: int, seed: int) -> list[int]:
    """A prompt that no other shares a beginning with."""
    ids: list[int] = np.random.default_rng(seed).integers(6, 2000, count).tolist()
    return ids


def our_rate(engine: ExLlamaV2Engine, batch: int, round_: int, clock: Clock = time.perf_counter) -> Rate:
    """Through the adapter, as the agent's thread drives it."""
    for place in range(batch):
        prompt = prompt_of(PROMPT_TOKENS, place + 100 * round_)
        engine.submit(GenRequest(f"{round_}.{place}", prompt, NEW_TOKENS, seed=place, logit_bias=NO_ENDS))

    def step() -> tuple[dict[Any, int], int]:
        tokens: dict[Any, int] = {}
        ended = 0
        for event in engine.step():
            if isinstance(event, Delta):
                tokens[event.id] = tokens.get(event.id, 0) + event.tokens
            ended += isinstance(event, Finished)
        return tokens, ended

    return _measured(step, batch, clock)


def bare_rate(generator: Any, batch: int, round_: int, clock: Clock = time.perf_counter) -> Rate:
    """The library alone: its own generator and jobs, the same prompts and sampling."""
    import torch
    from exllamav2.generator import ExLlamaV2DynamicJob, ExLlamaV2Sampler

    jobs = []
    for place in range(batch):
        settings = ExLlamaV2Sampler.Settings(temperature=1.0, top_k=0, top_p=1.0, token_repetition_penalty=1.0)
        settings.token_bias = torch.zeros(generator.padded_vocab_size)
        settings.token_bias[list(NO_ENDS)] = torch.tensor([*NO_ENDS.values()])
        prompt = torch.tensor([prompt_of(PROMPT_TOKENS, place + 100 * round_)], dtype=torch.long)
        jobs.append(
            ExLlamaV2DynamicJob(input_ids=prompt, max_new_tokens=NEW_TOKENS, gen_settings=settings, seed=place)
        )
        generator.enqueue(jobs[-1])
    seen = dict.fromkeys(jobs, 0)

    def step() -> tuple[dict[Any, int], int]:
        ended = sum(result["eos"] for result in generator.iterate())
        tokens = {job: job.new_tokens - seen[job] for job in jobs if job.new_tokens > seen[job]}
        for job, more in tokens.items():
            seen[job] += more
        return tokens, ended

    return _measured(step, batch, clock)


NO_ENDS = {2: -100.0, 5: -100.0}  # every answer goes to its limit


def _measured(step: Callable[[], tuple[dict[Any, int], int]], batch: int, clock: Clock) -> Rate:
    """Count from when every sequence decodes to when the first one ends."""
    begun: set[Any] = set()
    tokens = all_tokens = ended = 0
    began_s = ended_s = clock()
    while ended < batch:
        more, ends = step()
        all_tokens += sum(more.values())
        if len(begun) == batch and not ended:
            tokens += sum(more.values())
            ended_s = clock()
        elif len(begun) < batch:
            begun |= more.keys()
            began_s = clock()
        ended += ends
    return Rate(tokens, ended_s - began_s, all_tokens)


def implied_nusd_per_mtok(price_nusd_per_hour: int, tokens_per_s: float) -> int:
    """What a million tokens would cost at a quoted price, were every hour full of this rate; no bill says so."""
    return per_mtok_nusd(price_nusd_per_hour, max(int(tokens_per_s * 3600), 1))


def needed_tokens_per_s(price_nusd_per_hour: int, nusd_per_mtok: int) -> int:
    """The rate at which a quoted price gives this cost."""
    return round(price_nusd_per_hour * 1_000_000 / nusd_per_mtok / 3600)


def judge(report: Report) -> None:
    """Put the best rate beside what is published for such models."""
    rates = [row["tokens_per_s"] for row in report.rows if "tokens_per_s" in row]
    price = QUOTED_NUSD_PER_HOUR[0]
    low, high = PUBLISHED_NUSD_PER_MTOK
    least, most = needed_tokens_per_s(price, high), needed_tokens_per_s(price, low)
    best = max(rates, default=0.0)
    report.add(
        f"published: {display_usd(low)} to {display_usd(high)} a million output tokens, which at a quoted "
        f"{display_usd(price)} an hour takes {least:,} to {most:,} tokens/s; best here: {best:,.0f}",
        published_nusd_per_mtok=[low, high],
        needed_tokens_per_s=[least, most],
    )


if __name__ == "__main__":
    sys.exit(main())
