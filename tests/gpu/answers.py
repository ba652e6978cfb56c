"""Greedy answers of an engine, with how close each choice was; and whether two engines answered alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.engine.protocol import Delta, Engine, Event, Failed, Finished, GenRequest, Usage

STEPS_AT_MOST = 100_000


@dataclass
class Answer:
    """Token ids, and by how much each one's log-probability was above the next one's."""

    tokens: list[int] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)


class EngineBroke(Exception):
    """A request failed where none may."""


def greedy(engine: Engine, prompts: Sequence[Sequence[int]], tokens: int, tag: str = "g") -> list[Answer]:
    """What the engine says to each prompt, all at once, at temperature 0.

    Raises:
        EngineBroke: one of them fails, or they do not end.
    """
    found = {f"{tag}{place}": Answer() for place in range(len(prompts))}
    for id_, prompt in zip(found, prompts, strict=True):
        engine.submit(GenRequest(id_, prompt, tokens, temperature=0.0, top_logprobs=2))
    running = set(found)
    for _ in range(STEPS_AT_MOST):
        for event in engine.step():
            _take(found[event.id], event)
            if isinstance(event, Finished | Failed):
                running.discard(event.id)
        if not running:
            return [*found.values()]
    raise EngineBroke("it does not end")


def _take(answer: Answer, event: Event) -> None:
    if isinstance(event, Failed):
        raise EngineBroke(event.problem)
    if isinstance(event, Finished):
        answer.usage = event.usage
    if isinstance(event, Delta):
        for choice in event.choices:
            answer.tokens.append(choice.sampled.token)
            others = [one.logprob for one in choice.likeliest if one.token != choice.sampled.token]
            answer.margins.append(choice.sampled.logprob - max(others, default=float("-inf")))


def difference(one: Answer, other: Answer, near: float) -> str | None:
    """Where two answers part although it was no near-tie; None when they are alike, as far as they can be.

    After a choice that was closer than `near` (of log-probabilities) rounding may lead elsewhere, and the rest is
    not compared.
    """
    for place, (left, right) in enumerate(zip(one.tokens, other.tokens, strict=False)):
        if left != right:
            margin = min(one.margins[place], other.margins[place])
            return None if margin < near else f"token {place}: {left} and {right}, {margin:.3f} apart"
    return None if len(one.tokens) == len(other.tokens) else f"{len(one.tokens)} and {len(other.tokens)} tokens"


def common(one: Answer, other: Answer) -> int:
    """How many first tokens are the same."""
    parted = (
        place for place, (left, right) in enumerate(zip(one.tokens, other.tokens, strict=False)) if left != right
    )
    return next(parted, min(len(one.tokens), len(other.tokens)))
