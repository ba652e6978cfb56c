"""From logits to one token, as a request asks for it, with a seed of its own.

The order: logit bias, repetition penalty, frequency and presence penalties, the grammar; then temperature, top-k,
min-p, top-p, each on what the one before left. Likelihoods are taken before all of it, from the raw logits.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from agent.engine.grammar import Matcher
from agent.engine.protocol import Choice, GenRequest, Likelihood
from agent.errors import AnswerStuck

GREEDY_BELOW = 0.01  # as ExLlamaV2: a lower temperature means the most likely token
MASK_64 = (1 << 64) - 1

Logits = npt.NDArray[np.float32]


class Sampler:
    """Picks the tokens of one sequence, and keeps what its penalties and its grammar have to know."""

    def __init__(self, request: GenRequest, vocab: int, matcher: Matcher | None = None) -> None:
        self._request, self._matcher = request, matcher
        self._rng = make_rng(request.seed)
        self._bias_ids = np.fromiter(request.logit_bias.keys(), np.int64)
        self._bias = np.fromiter(request.logit_bias.values(), np.float32)
        self._is_seen = np.zeros(vocab, np.bool_)
        self._is_seen[np.asarray(request.prompt, np.int64)] = True
        self._counts = np.zeros(vocab, np.int32)
        self._penalises = bool(request.frequency_penalty or request.presence_penalty)
        self._repeats = request.repetition_penalty != 1.0

    def pick(self, logits: Logits) -> int:
        """The next token, from logits (vocab,), which stay as they are.

        Raises:
            AnswerStuck: the grammar leaves no token.
        """
        request = self._request
        wanted = self._wanted(logits)
        if request.temperature < GREEDY_BELOW or request.top_p <= 0 or request.top_k == 1:
            token = int(wanted.argmax())
        else:
            token = draw(wanted, request.temperature, request.top_k, request.min_p, request.top_p, self._rng)
        self._is_seen[token] = True
        self._counts[token] += 1
        if self._matcher is not None:
            self._matcher.take(token)
        return token

    def _wanted(self, logits: Logits) -> Logits:
        """Logits after bias, penalties and grammar."""
        request = self._request
        if not (self._bias_ids.size or self._repeats or self._penalises or self._matcher):
            return logits
        wanted = logits.copy()
        wanted[self._bias_ids] += self._bias
        if self._repeats:
            seen = wanted[self._is_seen]
            penalty = np.float32(request.repetition_penalty)
            wanted[self._is_seen] = np.where(seen > 0, seen / penalty, seen * penalty)
        if self._penalises:
            counts = self._counts.astype(np.float32)
            wanted -= counts * np.float32(request.frequency_penalty)
            wanted -= (counts > 0) * np.float32(request.presence_penalty)
        if self._matcher is not None:
            allowed = self._matcher.allowed()
            if not allowed.any():
                raise AnswerStuck
            wanted[~allowed] = -np.inf
        return wanted


def make_rng(seed: int | None) -> np.random.Generator:
    """Randomness of one request; a seed makes it repeat. Negative seeds are allowed."""
    return np.random.default_rng(None if seed is None else seed & MASK_64)


def draw(
    logits: Logits, temperature: float, top_k: int, min_p: float, top_p: float, rng: np.random.Generator
) -> int:
    """A token id from logits (vocab,). `top_k` of 0, `min_p` of 0 and `top_p` of 1 leave every token."""
    weights = np.exp((logits - logits.max()).astype(np.float64) / temperature)
    if top_k <= 0 and min_p <= 0 and top_p >= 1:
        return _drawn(np.cumsum(weights), rng)
    order = np.argsort(-weights, kind="stable")
    ranked = weights[order[: top_k if top_k > 0 else len(order)]]
    if min_p > 0:
        ranked = ranked[: int(np.count_nonzero(ranked >= min_p * ranked[0]))]
    cumulative = np.cumsum(ranked)
    if top_p < 1:
        cumulative = cumulative[: int(np.searchsorted(cumulative, top_p * cumulative[-1])) + 1]
    return int(order[_drawn(cumulative, rng)])


def likelihoods(logits: Logits, token: int, others: int, text_of: Callable[[int], bytes]) -> Choice:
    """The likelihood of a token and of the `others` likeliest, from raw logits (vocab,)."""
    exact = logits.astype(np.float64)
    exact -= exact.max()
    exact -= np.log(np.exp(exact).sum())
    best = np.argpartition(-exact, others - 1)[:others] if others else np.empty(0, np.int64)
    ranked = best[np.argsort(-exact[best], kind="stable")]

    def likelihood(index: int) -> Likelihood:
        return Likelihood(index, text_of(index), float(exact[index]))

    return Choice(likelihood(token), tuple(likelihood(int(index)) for index in ranked))


def _drawn(cumulative: npt.NDArray[np.float64], rng: np.random.Generator) -> int:
    place = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    return min(place, len(cumulative) - 1)
