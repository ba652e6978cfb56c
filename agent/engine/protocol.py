"""The seam between the agent and whatever makes the tokens.

An adapter for another engine (exllamav3 keeps the generator's shape of exllamav2) implements `Engine` and
`Tokens`, and is named in `engine/open.py`. The thread, the queue, the ledger and both APIs stay as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself; `label` is the line that people read."""

    name: str
    version: str
    label: str
    model: str
    device: str
    quantisation: str
    attention: str | None
    context_tokens: int
    max_batch: int
    options: frozenset[str] = frozenset()


OPTIONS = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "min_p",
        "presence_penalty",
        "repetition_penalty",
        "response_format",
        "stop",
        "top_k",
    }
)
"""What an engine may lack of a request's parameters, by the names of the API: the others every engine has."""


@dataclass(frozen=True, slots=True)
class GenRequest:
    """One sequence to generate. `prompt` holds token ids; a temperature of 0 means greedy.

    `top_k` of 0 keeps every token. Frequency and presence penalties look at the answer, the repetition penalty at
    prompt and answer. `top_logprobs` asks for the likelihood of each token, and of so many others; None asks for
    none. `schema` is a JSON schema that the answer keeps to. `banned` are strings, in any case, that the answer
    may not hold; only ExLlamaV2 without paging knows them, and the API does not offer them.
    """

    id: str
    prompt: Sequence[int]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_k: int = 0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None
    schema: str | None = None
    banned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the engine worked on. `prompt_tokens` is 0 until the prompt is begun.

    `suppressed_tokens` were sampled and taken back, `draft_tokens` proposed by a draft and accepted.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    suppressed_tokens: int = 0
    draft_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.suppressed_tokens + other.suppressed_tokens,
            self.draft_tokens + other.draft_tokens,
        )


class Outcome(StrEnum):
    """How a request ended; also the ledger's word for it."""

    FINISHED = "finished"  # the model's own end-of-sequence token
    STOPPED = "stopped"  # a stop string of the request
    LENGTH = "length"  # the request's own limit
    CAPPED = "capped"  # cut by the agent: lease closed, or shutting down
    CANCELLED = "cancelled"  # the client went away
    FAILED = "failed"
    ABORTED = "aborted"  # the agent died in between


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is being worked on."""

    id: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A token, its bytes, and the logarithm of its probability by the raw logits: before any parameter."""

    token: int
    text: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The token that was sampled, and the likeliest ones in its place, best first."""

    sampled: Likelihood
    likeliest: tuple[Likelihood, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """`tokens` more were sampled. `text` may be empty: half a character, or a stop string's beginning.

    `choices`, if asked for, are of the tokens that `text` is made of, not of those sampled just now.
    """

    id: str
    text: str
    tokens: int
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The last word on a request; its counts are the ones to bill."""

    id: str
    outcome: Outcome
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The request broke; what was used until then still counts. `code` is that of the OpenAI error envelope."""

    id: str
    problem: str
    usage: Usage
    code: str = "engine_failed"


Event = Started | Delta | Finished | Failed


class Tokens(Protocol):
    """Text to token ids. Safe to call from any thread."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a user's text: nothing in it becomes a special token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text without special tokens; half a character is U+FFFD."""
        ...

    def chat(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """Token ids of (role, content) pairs in the model's template, ready for the answer.

        Raises:
            PromptError: the template refuses these messages.
        """
        ...

    def check_schema(self, schema: str) -> None:
        """Whether an answer can be held to this JSON schema.

        Raises:
            PromptError: it is no schema, or has parts that are not implemented.
        """
        ...

    @property
    def vocab_size(self) -> int: ...


class Engine(Protocol):
    """Everything but `info` and `tokens` is called from the engine thread alone."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def tokens(self) -> Tokens: ...

    def submit(self, request: GenRequest) -> None:
        """Queue a request.

        Raises:
            PromptError: it can never fit.
        """
        ...

    def step(self) -> list[Event]:
        """One forward pass over what is active; [] when there is nothing to do."""
        ...

    def cap(self, request_id: str, max_tokens: int) -> None:
        """Let a request end, as if by its own limit, once it has `max_tokens`. Unknown ids are ignored."""
        ...

    def cancel(self, request_id: str) -> Usage | None:
        """Drop a request at once; None when it is not known."""
        ...

    def reset(self) -> dict[str, Usage]:
        """After a failed step: drop everything, and say what each request had used."""
        ...

    def close(self) -> None: ...
