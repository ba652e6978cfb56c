"""ExLlamaV2 on the GPU: the adapter over its synchronous dynamic generator.

Tokens are counted off the job itself, on its end, a cancellation and a failure alike. The asynchronous generator is
not used: one exception ends its only task, and every later request hangs.

Source: exllamav2 0.3.2, generator/dynamic.py (read on 2026-11-25).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import structlog

from agent.engine.exllamav2_job import Running, generator_class, make_job
from agent.engine.grammar import Vocabulary
from agent.engine.protocol import (
    OPTIONS,
    Delta,
    EngineInfo,
    Event,
    Failed,
    Finished,
    GenRequest,
    Outcome,
    Started,
    Tokens,
    Usage,
)
from agent.engine.sampling import likelihoods
from agent.engine.text import BROKEN, covering_tokens, cut_at
from agent.errors import AnswerStuck, PromptError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, and what its generator is made of: the library's own objects.

    `draft_tokens` is 0 without a draft; a draft without a model is one by n-grams.
    """

    model: Any
    cache: Any
    tokenizer: Any
    attention: str
    is_paged: bool
    chunk_tokens: int
    draft_model: Any = None
    draft_cache: Any = None
    draft_tokens: int = 0
    heals: bool = False

    @property
    def context_tokens(self) -> int:
        """The most for one request, prompt and answer; a draft runs ahead of it."""
        longest: int = min(self.model.config.max_seq_len, self.cache.max_seq_len)
        return longest - self.draft_tokens

    def generator(self, max_batch: int) -> Any:
        """The library's generator; without paged attention it runs one sequence at a time."""
        return generator_class()(
            model=self.model,
            cache=self.cache,
            tokenizer=self.tokenizer,
            draft_model=self.draft_model,
            draft_cache=self.draft_cache,
            num_draft_tokens=self.draft_tokens,
            use_ngram_draft=bool(self.draft_tokens) and self.draft_model is None,
            max_batch_size=max_batch if self.is_paged else 1,  # its own default takes a gigabyte of memory
            max_q_size=1 + self.draft_tokens,
            max_chunk_size=self.chunk_tokens,
            paged=self.is_paged,
        )


class ExLlamaV2Engine:
    """Up to `max_batch` sequences in one paged cache, or one at a time without it."""

    def __init__(
        self, loaded: Loaded, tokens: Tokens, vocabulary: Vocabulary, ends: frozenset[int], info: EngineInfo
    ) -> None:
        """`ends` are the tokens by which the model itself ends an answer."""
        self.tokens = tokens
        self.info = replace(info, options=OPTIONS, context_tokens=loaded.context_tokens)
        self._loaded, self._vocabulary, self._ends = loaded, vocabulary, ends
        self._generator = loaded.generator(info.max_batch)
        self._pieces = loaded.tokenizer.get_id_to_piece_list(False)
        self._running: dict[str, Running] = {}
        self._ended: dict[str, Running] = {}  # by the step under way, so that nobody has heard of it yet
        self._over: list[str] = []  # capped at what they have
        self._empty: list[str] = []  # asked for no token at all

    def warm_up(self) -> None:
        """Let the kernels tune themselves before the first request."""
        self._generator.warmup()

    def submit(self, request: GenRequest) -> None:
        self._check(request)
        if request.max_tokens <= 0:  # the library always generates one
            self._empty.append(request.id)
            return
        matcher = None if request.schema is None else self._vocabulary.matcher(request.schema)
        job = make_job(
            request,
            self._ends,
            self._generator.padded_vocab_size,
            matcher,
            heals=self._loaded.heals,
            spare_tokens=self._loaded.draft_tokens,
        )
        self._generator.enqueue(job)
        self._running[request.id] = Running(request, job, request.max_tokens)

    def step(self) -> list[Event]:
        events = self._stepped()
        self._ended.clear()
        return events

    def _stepped(self) -> list[Event]:
        events = list(self._end_at_once())
        if events or not self._running:
            return events  # heard of before a forward pass may fail
        results = self._generator.iterate()
        ended: dict[str, Outcome] = {}
        for result in results:
            running = self._running[result["identifier"]]
            if result["stage"] == "streaming":
                self._take(running, result)
            if result["eos"]:
                ended[running.request.id] = self._outcome(running, result)
        for id_ in dict.fromkeys(result["identifier"] for result in results):
            events += self._said(self._running[id_], ended.get(id_))
        return events

    def cap(self, request_id: str, max_tokens: int) -> None:
        running = self._running.get(request_id)
        if running is None or max_tokens >= running.limit:
            return
        running.limit = max_tokens
        running.job.max_new_tokens = max_tokens + self._loaded.draft_tokens
        if max_tokens <= running.usage().completion_tokens:
            self._over.append(request_id)

    def cancel(self, request_id: str) -> Usage | None:
        if request_id in self._empty:
            self._empty.remove(request_id)
            return Usage()
        running = self._running.get(request_id)
        if running is None:
            return None
        self._generator.cancel(running.job)  # known until that is done, so that `reset` would find it
        del self._running[request_id]
        return running.usage()

    def reset(self) -> dict[str, Usage]:
        dropped = {id_: running.usage() for id_, running in (self._running | self._ended).items()}
        dropped |= dict.fromkeys(self._empty, Usage())
        self._running.clear()
        self._ended.clear()
        self._empty.clear()
        self._over.clear()
        # what clear_queue() does, without its work on pages that the failed step may have left in disorder
        generator = self._generator
        generator.active_jobs.clear()
        generator.pending_jobs.clear()
        if generator.filter_queue is not None:
            generator.filter_queue.clear()
        generator.reset_page_table()
        self._free_memory()
        return dropped

    def close(self) -> None:
        self.reset()

    def _check(self, request: GenRequest) -> None:
        """Everything that the library would meet with an assertion."""
        if not request.prompt:
            raise PromptError("The prompt is empty.", "invalid_value", "prompt")
        if not 0 <= min(request.prompt) <= max(request.prompt) < self.tokens.vocab_size:
            raise PromptError("A token id is outside the vocabulary.", "invalid_value", "prompt")
        if len(request.prompt) + request.max_tokens > self.info.context_tokens:
            raise PromptError("The prompt does not fit the context", "context_length_exceeded", "messages")
        # taking tokens back goes wrong in the library after a draft, and in a page that another request shares
        shares = self._loaded.is_paged or self._loaded.draft_tokens
        if request.banned and (request.schema is not None or shares):
            message = "Banned strings go with neither schema, draft nor paged attention."
            raise PromptError(message, "invalid_value", "banned_strings")

    def _end_at_once(self) -> Iterator[Event]:
        """Requests that need no forward pass any more."""
        while self._empty:
            yield Finished(self._empty.pop(0), Outcome.LENGTH, Usage())
        while self._over:
            running = self._running.get(self._over.pop(0))
            if running is None:
                continue
            self._drop(running)
            if running.is_begun:
                held = running.job.held_logits.torch() if running.job.held_logits else None
                ids = running.job.held_tokens.torch()[0].tolist()
                self._release(running, running.job.held_text, ids, held, is_last=True)
            yield from self._said(running, Outcome.CAPPED)

    def _take(self, running: Running, result: dict[str, Any]) -> None:
        """What a result releases; the last one releases what was held, too, up to a stop."""
        text, ids, logits = result.get("text", ""), _ids(result), result.get("logits")
        if "suppressed_tokens" in result:
            taken_back = result["suppressed_tokens"].shape[-1]
            running.suppressed_tokens += taken_back
            ids = ids[: len(ids) - taken_back]  # the library restores text and logits, not the ids
            checkpoint = running.job.checkpoint
            checkpoint["held_text"] = ""  # it was released just now, and would be again at the next attempt
            checkpoint["held_tokens"].clear()
        held = result.get("held", {})
        if result.get("eos_reason") == "stop_token":
            ids, logits = _ids(held)[:-1], held.get("logits")
            text = held.get("text", "").removesuffix(self._pieces[result["eos_triggering_token_id"]])
        elif result.get("eos_reason") == "stop_string":
            text += held.get("text", "")
        self._release(running, text, ids, logits, is_last=result["eos"])

    def _release(self, running: Running, text: str, ids: list[int], logits: Any, *, is_last: bool) -> None:
        request = running.request
        if is_last:
            if BROKEN in text and ids:  # the library puts bytes together only while it goes on
                text = self.tokens.decode(ids)
            text, running.is_stopped = cut_at(text, request.stop, request.banned)
        running.texts.append(text)
        if request.top_logprobs is not None and logits is not None:
            if is_last:
                ids = ids[: covering_tokens(text, ids, self.tokens.decode)]
            scores = logits[0, : len(ids), : self.tokens.vocab_size].numpy()
            for row, token in zip(scores, ids, strict=True):
                choice = likelihoods(row, token, request.top_logprobs, self._vocabulary.text_of)
                running.choices.append(choice)

    def _outcome(self, running: Running, result: dict[str, Any]) -> Outcome:
        if running.is_stopped:
            return Outcome.STOPPED
        if result["eos_reason"] != "max_new_tokens":
            return Outcome.FINISHED
        return Outcome.LENGTH if running.limit == running.request.max_tokens else Outcome.CAPPED

    def _said(self, running: Running, outcome: Outcome | None) -> Iterator[Event]:
        """What is new of a request, and that it ended, if it did."""
        request, usage = running.request, running.usage()
        if running.is_begun and not running.is_started:
            running.is_started = True
            yield Started(request.id, replace(usage, completion_tokens=0))
        is_stuck = any(one.is_stuck for one in running.job.filters)
        tokens = running.settled_tokens() if outcome is None and not is_stuck else usage.completion_tokens
        text = "" if is_stuck else "".join(running.texts)
        if tokens > running.told_tokens or text:
            yield Delta(request.id, text, tokens - running.told_tokens, tuple(running.choices))
        running.told_tokens = tokens
        running.texts.clear()
        running.choices.clear()
        if is_stuck:
            self._drop(running)
            yield Failed(request.id, str(AnswerStuck()), usage, AnswerStuck.code)
        elif outcome is not None:
            self._end(running)
            yield Finished(request.id, outcome, usage)

    def _drop(self, running: Running) -> None:
        """Take a request off the generator, in a step that ends it."""
        self._generator.cancel(running.job)
        self._end(running)

    def _end(self, running: Running) -> None:
        self._running.pop(running.request.id, None)
        self._ended[running.request.id] = running

    def _free_memory(self) -> None:
        """Give unused device memory back. A device that is lost says so here, and ends no accounting."""
        import torch

        if not torch.cuda.is_available():
            return
        try:
            torch.cuda.empty_cache()
            torch.cuda.synchronize()
        except RuntimeError as error:
            log.error("the GPU does not recover: restart the agent", problem=str(error))


def _ids(result: dict[str, Any]) -> list[int]:
    ids: list[int] = result["token_ids"][0].tolist() if "token_ids" in result else []
    return ids
