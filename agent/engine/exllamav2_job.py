"""A request as a job of ExLlamaV2: its sampling, its logits as the model gave them, its JSON schema.

torch and exllamav2 are imported inside functions, after `exllamav2_load.py` has prepared the process for it.

Source: exllamav2 0.3.2, generator/dynamic.py and generator/sampler.py (read on 2026-11-25).
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from agent.engine.grammar import Matcher
from agent.engine.protocol import Choice, GenRequest, Usage
from agent.engine.sampling import GREEDY_BELOW, MASK_64


@dataclass(slots=True)
class Running:
    """A request that the generator has. `limit` is what it may generate: its own, or a cap.

    `texts` and `choices` are released and not told yet.
    """

    request: GenRequest
    job: Any  # an ExLlamaV2DynamicJob
    limit: int
    is_started: bool = False
    is_stopped: bool = False  # by a stop string
    told_tokens: int = 0
    suppressed_tokens: int = 0
    texts: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)

    @property
    def is_begun(self) -> bool:
        """Whether the prompt has been worked on."""
        return self.job.time_first_prefill is not None

    def usage(self) -> Usage:
        """What the job says at this instant; the same on its end, a cancellation and a failure."""
        job = self.job
        if not self.is_begun:
            return Usage()
        return Usage(
            prompt_tokens=len(job.sequences[0].input_ids),
            cached_tokens=job.cached_pages * job.generator.page_size + job.cached_tokens,
            completion_tokens=max(job.new_tokens, 0),  # -1 until a healed token is there
            suppressed_tokens=self.suppressed_tokens,
            draft_tokens=job.accepted_draft_tokens,
        )

    def settled_tokens(self) -> int:
        """Tokens that cannot be taken back any more: those after a banned string's beginning still can."""
        open_tokens: int = self.job.checkpoint["offset"] if self.job.checkpoint else 0
        new_tokens: int = self.job.new_tokens
        return max(new_tokens - open_tokens, 0)


def make_job(
    request: GenRequest,
    ends: frozenset[int],
    width: int,
    matcher: Matcher | None,
    *,
    heals: bool,
    spare_tokens: int,
) -> Any:
    """An ExLlamaV2DynamicJob. `width` is the logits' last dimension, `ends` the model's own last tokens.

    `spare_tokens` are added to the limit: with a draft the library stops so many tokens before it.
    """
    import torch

    settings = _settings(request, width)
    job = _job_class()(
        input_ids=torch.tensor([list(request.prompt)], dtype=torch.long),
        max_new_tokens=request.max_tokens + spare_tokens,
        gen_settings=settings,
        seed=None if request.seed is None else request.seed & MASK_64,
        stop_conditions=[*ends, *request.stop],
        return_logits=request.top_logprobs is not None,
        filters=[] if matcher is None else [_filter_class()(matcher)],
        token_healing=heals and matcher is None,
        identifier=request.id,
        banned_strings=list(request.banned) or None,
    )
    settings.job = job
    return job


def _settings(request: GenRequest, width: int) -> Any:
    # the library's own defaults are not neutral, and it ignores a top_p of 0 and a min_p of 1
    is_greedy = request.temperature < GREEDY_BELOW or request.top_p <= 0 or request.min_p >= 1
    settings = _settings_class()(
        temperature=1.0 if is_greedy else request.temperature,
        top_k=1 if is_greedy else min(request.top_k, width),  # the extension takes an int of C
        top_p=1.0 if is_greedy else request.top_p,
        min_p=0.0 if is_greedy else request.min_p,
        token_repetition_penalty=request.repetition_penalty,
    )
    settings.prepare(request, width)
    return settings


@cache
def _settings_class() -> Any:
    import torch
    from exllamav2.generator import ExLlamaV2Sampler

    class RequestSettings(ExLlamaV2Sampler.Settings):  # type: ignore[misc]
        """Sampling of one request. Bias, and the penalties on what the answer holds, are added to the logits.

        The library's own frequency and presence penalties would look at the prompt, too.
        """

        job: Any = None

        def prepare(self, request: GenRequest, width: int) -> None:
            self.fixed: Any = None
            if request.logit_bias:
                self.fixed = torch.zeros(width)
                self.fixed[list(request.logit_bias)] = torch.tensor([*request.logit_bias.values()]).float()
            self.width = width
            self.penalties = request.frequency_penalty, request.presence_penalty
            self.made: tuple[int, Any] | None = None

        @property
        def token_bias(self) -> Any:
            if not any(self.penalties):
                return self.fixed
            sequence = self.job.sequences[0]
            count = len(sequence.sequence_ids) - len(sequence.input_ids)
            if self.made is None or self.made[0] != count:  # it is asked for twice a token
                self.made = count, self._penalised(sequence)
            return self.made[1]

        @token_bias.setter
        def token_bias(self, value: Any) -> None:
            assert value is None  # the parent's __init__; the bias is given to `prepare`

        def _penalised(self, sequence: Any) -> Any:
            answer = sequence.sequence_ids.torch()[0, len(sequence.input_ids) :]
            counts = torch.bincount(answer, minlength=self.width).float()
            frequency, presence = self.penalties
            bias = counts * -frequency - (counts > 0) * presence
            return bias if self.fixed is None else bias + self.fixed

    return RequestSettings


@cache
def _job_class() -> Any:
    from exllamav2.generator import ExLlamaV2DynamicJob

    class RawJob(ExLlamaV2DynamicJob):  # type: ignore[misc]
        """Returns the logits as the model gave them: penalties, bias and schema change the library's in place."""

        raw: Any = None

        def receive_logits(self, logits: Any) -> Any:
            self.raw = logits.clone() if self.return_logits else logits
            return super().receive_logits(logits)

        def receive_sample(self, _logits: Any, *sampled: Any) -> Any:
            return super().receive_sample(self.raw, *sampled)

    return RawJob


@cache
def generator_class() -> Any:
    """The library's dynamic generator, without its fault on sequences shorter than its n-grams."""
    import torch
    from exllamav2.generator import ExLlamaV2DynamicGenerator

    class Generator(ExLlamaV2DynamicGenerator):  # type: ignore[misc]
        """A short sequence is drafted by its last token; the library would fail the step, and every request."""

        active_jobs: list[Any]

        def iterate_ngram_gen(self, results: Any) -> Any:
            ready = [job for job in self.active_jobs if job.is_prefill_done()]
            long = [job for job in ready if len(job.sequences[0].sequence_ids) >= self.max_ngram - 1]
            if len(long) == len(ready):
                return super().iterate_ngram_gen(results)
            every, self.active_jobs = self.active_jobs, long
            try:
                drafts = iter(super().iterate_ngram_gen(results) if long else ())
            finally:
                self.active_jobs = every
            return torch.stack([next(drafts) if job in long else self._repeated(job) for job in ready])

        def _repeated(self, job: Any) -> Any:
            return job.sequences[0].sequence_ids.torch()[0, -1:].repeat(self.num_draft_tokens)

    return Generator


@cache
def _filter_class() -> Any:
    import torch
    from exllamav2.generator.filters import ExLlamaV2Filter

    class SchemaFilter(ExLlamaV2Filter):  # type: ignore[misc]
        """Holds one answer to its JSON schema. Once no token may follow, `is_stuck`, and anything goes."""

        def __init__(self, matcher: Matcher) -> None:
            super().__init__(None, None)
            self.matcher, self.is_stuck = matcher, False
            self.allowed: Any = None

        def begin(self, prefix_str: str) -> None:
            assert not prefix_str

        def feed(self, token: Any) -> None:
            self.matcher.take(int(token))

        def can_mask_logits(self) -> bool:
            return True

        def prepare_logit_mask(self) -> bool:
            allowed = self.matcher.allowed()
            self.is_stuck = not allowed.any()
            self.allowed = torch.from_numpy(allowed)
            return True

        def mask_logits(self, logits: Any) -> Any:
            if not self.is_stuck:
                logits[: len(self.allowed)].masked_fill_(~self.allowed, float("-inf"))
                logits[len(self.allowed) :] = float("-inf")
            return logits

    return SchemaFilter
