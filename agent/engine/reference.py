"""The default engine: numpy on the CPU, running a real 4-bit checkpoint with continuous batching."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent.engine.checkpoint import Tensors, read_shape
from agent.engine.grammar import Matcher, Vocabulary
from agent.engine.llama import Cache, Llama, Slice
from agent.engine.make import ensure_model
from agent.engine.prefix import PrefixCache
from agent.engine.protocol import (
    OPTIONS,
    Choice,
    Delta,
    EngineInfo,
    Event,
    Failed,
    Finished,
    GenRequest,
    Outcome,
    Started,
    Usage,
)
from agent.engine.sampling import Sampler, likelihoods
from agent.engine.text import TextStream
from agent.engine.tokenizer import ChatTokenizer
from agent.errors import AnswerStuck, DamagedCheckpoint, PromptError

LABEL = "reference engine, random weights: its text is meaningless, its counts are real"
PREFILL_TOKENS = 256  # of prompts in one step: bounds how long running answers wait
VERSION = f"numpy {np.__version__}"

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class _Sequence:
    request: GenRequest
    prompt: Ids
    cache: Cache
    text: TextStream
    sampler: Sampler
    limit: int
    cached: int = 0
    generated: list[int] = field(default_factory=list)
    choices: deque[Choice] = field(default_factory=deque)  # of tokens whose text is held back

    def usage(self) -> Usage:
        return Usage(len(self.prompt), self.cached, len(self.generated))

    def delta(self, text: str, tokens: int) -> Delta:
        released = range(min(self.text.take_released(), len(self.choices)))
        return Delta(self.request.id, text, tokens, tuple(self.choices.popleft() for _ in released))


class ReferenceEngine:
    """Up to `max_batch` sequences step together; more wait their turn."""

    def __init__(self, model_dir: Path, max_batch: int) -> None:
        shape = read_shape(model_dir)
        self._vocabulary = Vocabulary(model_dir / "tokenizer.json", shape.vocab, shape.eos)
        self.tokens = ChatTokenizer(model_dir, self._vocabulary)
        if self.tokens.vocab_size > shape.vocab:
            problem = f"has {self.tokens.vocab_size} tokens, the model {shape.vocab}"
            raise DamagedCheckpoint(model_dir / "tokenizer.json", problem, "copy both from one source")
        self._model = Llama(shape, Tensors(model_dir))
        self._shape = shape
        self.info = EngineInfo(
            name="reference",
            version=VERSION,
            label=LABEL if shape.name.startswith("mtok-reference") else "reference engine, numpy on the CPU",
            model=shape.name,
            device="cpu",
            quantisation=shape.quantisation,
            attention=None,
            context_tokens=shape.context,
            max_batch=max_batch,
            options=OPTIONS,
        )
        self._waiting: deque[GenRequest] = deque()
        self._caps: dict[str, int] = {}  # of waiting requests
        self._matchers: dict[str, Matcher] = {}  # likewise
        self._active: dict[str, _Sequence] = {}
        self._ended: dict[str, _Sequence] = {}  # by the step under way, so that nobody has heard of it yet
        self._prefixes = PrefixCache()

    def submit(self, request: GenRequest) -> None:
        if len(request.prompt) + request.max_tokens > self._shape.context:
            raise PromptError("The prompt does not fit the context", "context_length_exceeded", "messages")
        if request.schema is not None:
            self._matchers[request.id] = self._vocabulary.matcher(request.schema)
        self._waiting.append(request)

    def step(self) -> list[Event]:
        events = self._stepped()
        self._ended.clear()
        return events

    def _stepped(self) -> list[Event]:
        events = list(self._admit())
        for sequence in list(self._active.values()):
            if len(sequence.generated) >= sequence.limit:
                events += self._finish(sequence, Outcome.CAPPED)
        parts, samplers = self._next_slices()
        if not parts:
            return events
        logits = self._model.forward(parts)
        for row, sequence in zip(logits, samplers, strict=True):
            try:
                events += self._take(sequence, self._sampled(sequence, row))
            except AnswerStuck as error:
                events += self._fail(sequence, error)
        return events

    def cap(self, request_id: str, max_tokens: int) -> None:
        if sequence := self._active.get(request_id):
            sequence.limit = min(sequence.limit, max_tokens)
            return
        for request in self._waiting:
            if request.id == request_id:
                self._caps[request_id] = min(self._caps.get(request_id, request.max_tokens), max_tokens)

    def cancel(self, request_id: str) -> Usage | None:
        if sequence := self._active.pop(request_id, None):
            self._remember(sequence)
            return sequence.usage()
        for request in self._waiting:
            if request.id == request_id:
                self._waiting.remove(request)
                self._caps.pop(request_id, None)
                self._matchers.pop(request_id, None)
                return Usage()
        return None

    def reset(self) -> dict[str, Usage]:
        dropped = {request_id: sequence.usage() for request_id, sequence in (self._active | self._ended).items()}
        dropped |= {request.id: Usage() for request in self._waiting}
        self._active.clear()
        self._ended.clear()
        self._waiting.clear()
        self._caps.clear()
        self._matchers.clear()
        self._prefixes.clear()
        return dropped

    def close(self) -> None:
        self.reset()

    def _admit(self) -> Iterator[Event]:
        for request_id in [name for name, cap in self._caps.items() if cap <= 0]:
            self.cancel(request_id)
            yield Finished(request_id, Outcome.CAPPED, Usage())
        while self._waiting and len(self._active) < self.info.max_batch:
            request = self._waiting.popleft()
            prompt = np.asarray(request.prompt, np.int64)
            sequence = _Sequence(
                request=request,
                prompt=prompt,
                cache=Cache(self._shape, len(prompt) + request.max_tokens),
                text=TextStream(self.tokens.decode, request.stop),
                sampler=Sampler(request, self._shape.vocab, self._matchers.pop(request.id, None)),
                limit=self._caps.pop(request.id, request.max_tokens),
            )
            sequence.cached = self._prefixes.fill(sequence.cache, prompt)
            self._active[request.id] = sequence
            yield Started(request.id, sequence.usage())

    def _next_slices(self) -> tuple[list[Slice], list[_Sequence]]:
        """What to run now, and the sequences that get a token from it, in the logits' order."""
        parts: list[Slice] = []
        samplers: list[_Sequence] = []
        room = PREFILL_TOKENS
        for sequence in self._active.values():
            if sequence.generated:
                parts.append(Slice(np.array(sequence.generated[-1:], np.int64), sequence.cache))
                samplers.append(sequence)
                continue
            chunk = sequence.prompt[sequence.cache.used : sequence.cache.used + room]
            if len(chunk):
                room -= len(chunk)
                is_last = sequence.cache.used + len(chunk) == len(sequence.prompt)
                parts.append(Slice(chunk, sequence.cache, wants_logits=is_last))
                samplers += [sequence] if is_last else []
        return parts, samplers

    def _sampled(self, sequence: _Sequence, logits: Floats) -> int:
        token = sequence.sampler.pick(logits)
        wanted = sequence.request.top_logprobs
        if wanted is not None and token not in self._shape.eos:
            sequence.choices.append(likelihoods(logits, token, wanted, self._vocabulary.text_of))
        return token

    def _take(self, sequence: _Sequence, token: int) -> Iterator[Event]:
        sequence.generated.append(token)
        if token in self._shape.eos:
            yield sequence.delta(sequence.text.flush(), 1)
            yield from self._finish(sequence, Outcome.STOPPED if sequence.text.stopped else Outcome.FINISHED)
            return
        text = sequence.text.push(token)
        if not sequence.text.stopped and len(sequence.generated) >= sequence.limit:
            text += sequence.text.flush()
        yield sequence.delta(text, 1)
        if sequence.text.stopped:
            yield from self._finish(sequence, Outcome.STOPPED)
        elif len(sequence.generated) >= sequence.limit:
            is_own = sequence.limit == sequence.request.max_tokens
            yield from self._finish(sequence, Outcome.LENGTH if is_own else Outcome.CAPPED)

    def _finish(self, sequence: _Sequence, outcome: Outcome) -> Iterator[Event]:
        self._drop(sequence)
        if outcome is Outcome.CAPPED and (text := sequence.text.flush()):
            yield sequence.delta(text, 0)
        yield Finished(sequence.request.id, outcome, sequence.usage())

    def _fail(self, sequence: _Sequence, error: AnswerStuck) -> list[Event]:
        self._drop(sequence)
        return [Failed(sequence.request.id, str(error), sequence.usage(), error.code)]

    def _drop(self, sequence: _Sequence) -> None:
        self._ended[sequence.request.id] = self._active.pop(sequence.request.id)
        self._remember(sequence)

    def _remember(self, sequence: _Sequence) -> None:
        ids = np.concatenate([sequence.prompt, np.asarray(sequence.generated, np.int64)])
        self._prefixes.keep(ids[: sequence.cache.used], sequence.cache)


def open_reference(model_dir: Path, max_batch: int) -> ReferenceEngine:
    """The reference engine on `model_dir`, whose model is made first if there is none."""
    ensure_model(model_dir)
    return ReferenceEngine(model_dir, max_batch)
