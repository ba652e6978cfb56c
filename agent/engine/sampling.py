"""From logits to one token: temperature, top-p, and a seed of the request's own."""

import numpy as np
import numpy.typing as npt

GREEDY_BELOW = 0.01  # as ExLlamaV2: a lower temperature means the most likely token
MASK_64 = (1 << 64) - 1


def make_rng(seed: int | None) -> np.random.Generator:
    """Randomness of one request; a seed makes it repeat. Negative seeds are allowed."""
    return np.random.default_rng(None if seed is None else seed & MASK_64)


def sample(logits: npt.NDArray[np.float32], temperature: float, top_p: float, rng: np.random.Generator) -> int:
    """A token id from logits (vocab,). `top_p` of 0 leaves only the most likely token."""
    if temperature < GREEDY_BELOW or top_p <= 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) * np.float32(1 / temperature))
    if top_p >= 1:
        return _draw(np.cumsum(weights), rng)
    order = np.argsort(-weights)
    cumulative = np.cumsum(weights[order])
    kept = int(np.searchsorted(cumulative, top_p * cumulative[-1])) + 1
    return int(order[_draw(cumulative[:kept], rng)])


def _draw(cumulative: npt.NDArray[np.float32], rng: np.random.Generator) -> int:
    place = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    return min(place, len(cumulative) - 1)
