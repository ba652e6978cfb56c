"""The seam between the agent and whatever makes the tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class GenRequest:
    """One sequence to generate. `prompt` holds token ids; a temperature of 0 means greedy."""

    id: str
    prompt: Sequence[int]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


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
class Delta:
    """`tokens` more were sampled. `text` may be empty: half a character, or a stop string's beginning."""

    id: str
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last word on a request; its counts are the ones to bill."""

    id: str
    outcome: Outcome
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The request broke; what was used until then still counts."""

    id: str
    problem: str
    usage: Usage


Event = Started | Delta | Finished | Failed


class Tokens(Protocol):
    """Text to token ids. Safe to call from any thread."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a user's text: nothing in it becomes a special token."""
        ...

    def chat(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """Token ids of (role, content) pairs in the model's template, ready for the answer.

        Raises:
            PromptError: the template refuses these messages.
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
