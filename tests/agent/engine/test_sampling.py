"""Each parameter does to the logits what it says, in the order that is said, and likelihoods know nothing of it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.protocol import GenRequest
from agent.engine.sampling import Sampler, draw, likelihoods, make_rng

LOGITS = np.array([1.0, 3.0, 2.0, -1.0, 0.5], np.float32)
PLAIN = GenRequest("1", [0], 8, seed=1)
GREEDY = replace(PLAIN, temperature=0)


def picks(request: GenRequest, times: int = 4, logits: np.ndarray = LOGITS) -> list[int]:
    sampler = Sampler(request, len(logits))
    return [sampler.pick(logits) for _ in range(times)]


def drawn(temperature: float = 1, top_k: int = 0, min_p: float = 0, top_p: float = 1) -> Counter[int]:
    rng = make_rng(5)
    return Counter(draw(LOGITS, temperature, top_k, min_p, top_p, rng) for _ in range(20_000))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    expected = np.exp(LOGITS / temperature)
    expected /= expected.sum()
    found = drawn(temperature)
    assert np.abs(np.array([found[token] for token in range(5)]) / 20_000 - expected).max() < 0.01


def test_top_k_leaves_so_many() -> None:
    assert set(drawn(top_k=2)) == {1, 2}
    assert set(drawn(top_k=99)) == set(range(5))


def test_min_p_leaves_what_is_likely_beside_the_likeliest() -> None:
    assert set(drawn(min_p=np.exp(-1.01))) == {1, 2}
    assert set(drawn(min_p=np.exp(-0.99))) == {1}


def test_top_p_is_of_what_min_p_and_top_k_left() -> None:
    # of 1 and 2 alone, 1 has 0.73; of all, it has 0.60
    assert set(drawn(top_p=0.65)) == {1, 2}
    assert set(drawn(top_p=0.65, top_k=2)) == {1}
    assert set(drawn(top_p=0.65, min_p=0.3)) == {1}


def test_temperature_comes_before_the_cuts() -> None:
    assert set(drawn(temperature=0.2, top_p=0.95)) == {1}
    assert len(drawn(temperature=2, top_p=0.95)) > 2


def test_greedy_is_the_likeliest_and_needs_no_seed() -> None:
    assert picks(replace(GREEDY, seed=None)) == [1, 1, 1, 1]
    assert picks(replace(PLAIN, top_p=0)) == picks(replace(PLAIN, top_k=1)) == [1, 1, 1, 1]


def test_a_bias_is_added_and_a_sampled_token_pays() -> None:
    assert picks(replace(GREEDY, logit_bias={3: 5.0})) == [3, 3, 3, 3]
    assert picks(replace(GREEDY, frequency_penalty=0.6)) == [1, 1, 2, 1]  # 3, 2.4, then 1.8 below 2
    assert picks(replace(GREEDY, presence_penalty=1.5)) == [1, 2, 1, 1]  # once only: 3 becomes 1.5, 2 becomes 0.5


def test_the_repetition_penalty_knows_the_prompt_and_divides_or_multiplies() -> None:
    assert picks(replace(GREEDY, prompt=[1], repetition_penalty=2.0), 1) == [2]
    negative = np.array([-1.0, -1.5], np.float32)
    assert picks(replace(GREEDY, prompt=[0], repetition_penalty=2.0), 1, negative) == [1]


def test_the_logits_stay_as_they_are() -> None:
    before = LOGITS.copy()
    picks(replace(PLAIN, logit_bias={3: 5.0}, frequency_penalty=1, presence_penalty=1, repetition_penalty=1.3))
    assert (before == LOGITS).all()


def test_likelihoods_are_logarithms_of_the_softmax() -> None:
    choice = likelihoods(LOGITS, 3, 3, lambda token: bytes([65 + token]))
    exact = LOGITS - np.log(np.exp(LOGITS.astype(np.float64)).sum())
    assert choice.sampled.logprob == pytest.approx(exact[3], abs=1e-6)
    assert [one.token for one in choice.likeliest] == [1, 2, 0]
    assert [one.text for one in choice.likeliest] == [b"B", b"C", b"A"]
    assert likelihoods(LOGITS, 3, 0, lambda _token: b"").likeliest == ()


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=40),
    st.floats(0.02, 2),
    st.integers(0, 50),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.integers(0, 2**64 - 1),
)
def test_whatever_is_asked_for_a_token_comes_and_the_seed_repeats_it(
    values: list[float], temperature: float, top_k: int, min_p: float, top_p: float, seed: int
) -> None:
    logits = np.array(values, np.float32)
    first, again = (draw(logits, temperature, top_k, min_p, top_p, make_rng(seed)) for _ in range(2))
    assert first == again
    assert 0 <= first < len(values)
    if top_k:
        assert (logits > logits[first]).sum() < top_k
