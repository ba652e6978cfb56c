"""What a request asks of ExLlamaV2's sampler, over the real generator: penalties, likelihoods, schemas."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.engine.protocol import Choice, Outcome
from agent.engine.sampling import likelihoods
from tests.agent.engine.exllamav2_double import World, make_world

pytestmark = pytest.mark.xdist_group("torch")


@pytest.fixture
def world(model_dir: Path) -> World:
    return make_world(model_dir)


def first_tokens(world: World, times: int, **given: object) -> Counter[str]:
    """What comes first after one prompt, over many seeds."""
    found: Counter[str] = Counter()
    for seed in range(times):
        found[world.run(f"{seed}", 1, prompt=[40], seed=seed, **given).text] += 1
    return found


def weights(world: World, chances: dict[int, float]) -> None:
    """Give the model these probabilities after token 40, and no others."""
    world.model.table[40] = -100.0
    for token, chance in chances.items():
        world.model.table[40, token] = float(np.log(chance))


def test_without_parameters_sampling_is_neutral(world: World) -> None:
    weights(world, {300: 0.6, 301: 0.25, 302: 0.15})
    found = first_tokens(world, 400)
    shares = [found[world.engine.tokens.decode([token])] / 400 for token in (300, 301, 302)]
    assert shares == pytest.approx([0.6, 0.25, 0.15], abs=0.07)


@pytest.mark.parametrize(
    "given", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_k": 1}, {"min_p": 1.0}, {"top_p": 0.5}, {"min_p": 0.5}]
)
def test_parameters_that_leave_the_likeliest_alone(world: World, given: dict[str, Any]) -> None:
    weights(world, {300: 0.6, 301: 0.25, 302: 0.15})
    assert len(first_tokens(world, 20, **given)) == 1


def test_more_than_the_vocabulary_has_is_all_of_it(world: World) -> None:
    weights(world, {300: 0.6, 301: 0.4})
    texts = [world.run(str(top_k), 9, seed=1, top_k=top_k).text for top_k in (0, 2**31, 10**99)]
    assert texts[0] == texts[1] == texts[2]


def test_a_negative_seed_repeats_and_is_its_own(world: World) -> None:
    texts = [world.run(str(place), 9, seed=seed).text for place, seed in enumerate((-1, -1, 1))]
    assert texts[0] == texts[1] != texts[2]


def test_logit_bias_moves_tokens(world: World) -> None:
    weights(world, {300: 0.6, 301: 0.4})
    told = world.run(prompt=[40], max_tokens=1, logit_bias={300: -100.0, 301: 0.0})
    assert told.text == world.engine.tokens.decode([301])


@pytest.mark.parametrize("given", [{"frequency_penalty": 2.0}, {"presence_penalty": 2.0}])
def test_penalties_look_at_the_answer_and_not_at_the_prompt(world: World, given: dict[str, Any]) -> None:
    world.model.table[300] = world.model.table[301] = -100.0
    for before in (300, 301):
        world.model.table[before, 300], world.model.table[before, 301] = 1.0, 0.0
    told = world.run(prompt=[300, 300, 301], max_tokens=4, temperature=0.0, **given)
    both = [world.engine.tokens.decode([token]) for token in (300, 301)]
    assert told.text.startswith(both[0] + both[1])
    assert world.run("b", prompt=[300], max_tokens=3, temperature=0.0).text == both[0] * 3


def test_a_repetition_penalty_looks_at_the_prompt_too(world: World) -> None:
    world.model.table[301] = -100.0
    world.model.table[301, 300], world.model.table[301, 302] = 3.0, 2.5
    told = world.run(prompt=[300, 301], max_tokens=1, temperature=0.0, repetition_penalty=1.5)
    assert told.text == world.engine.tokens.decode([302])


def choices(world: World, **given: Any) -> tuple[str, list[Choice]]:
    told = world.run(f"{len(world.told)}", **({"max_tokens": 6, "top_logprobs": 3} | given))
    return told.text, [choice for delta in told.deltas for choice in delta.choices]


def test_likelihoods_are_those_of_the_raw_logits(world: World) -> None:
    given = {"temperature": 0.3, "top_k": 5, "logit_bias": {300: 3.0}, "repetition_penalty": 1.3, "seed": 4}
    text, found = choices(world, prompt=[40, 41], presence_penalty=1.0, **given)
    assert len(found) == 6
    assert b"".join(choice.sampled.text for choice in found).decode(errors="replace") == text
    before = 41
    for choice in found:
        raw = world.model.table[before].numpy()
        assert choice == likelihoods(raw, choice.sampled.token, 3, world.engine._vocabulary.text_of)
        before = choice.sampled.token


def test_likelihoods_are_of_the_text_that_is_shown(world: World) -> None:
    ids = world.engine.tokens.encode(" alpha beta gamma")
    world.model.say(461, [*ids, 5])
    shown = [choice.sampled.token for choice in choices(world, max_tokens=40)[1]]
    assert shown == ids
    text, found = choices(world, max_tokens=40, stop=("beta",))
    kept = [choice.sampled.token for choice in found]
    assert kept == ids[: len(kept)]
    assert text == " alpha " == world.engine.tokens.decode(kept)[: len(text)]
    assert len(world.engine.tokens.decode(kept[:-1])) < len(text)


def test_likelihoods_without_what_a_banned_string_took_back(model_dir: Path) -> None:
    world = make_world(model_dir, is_paged=False)
    ids = world.engine.tokens.encode(" alpha beta gamma")
    world.model.say(461, [*ids, 5])
    text, found = choices(world, temperature=0.0, max_tokens=8, banned=(" beta",))
    assert world.engine.tokens.decode([choice.sampled.token for choice in found]) == text
    assert len(found) == 8


def test_an_answer_keeps_to_its_schema(world: World) -> None:
    of_one = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    schema = json.dumps(of_one | {"additionalProperties": False})
    tolds = [world.submit(str(seed), 200, prompt=[40, 41], seed=seed, schema=schema) for seed in range(3)]
    world.finish()
    for told in tolds:
        assert told.outcome is Outcome.FINISHED
        assert isinstance(json.loads(told.text)["a"], bool)


def test_a_schema_holds_with_drafts(model_dir: Path) -> None:
    world = make_world(model_dir, draft_tokens=3)
    told = world.run(schema='{"enum": ["alpha", "beta"]}', max_tokens=50)
    assert json.loads(told.text) in ("alpha", "beta")


def test_a_schema_that_no_token_can_follow_fails_that_request_alone(world: World) -> None:
    other = world.submit("b", 9)
    told = world.submit(schema='{"type": "string"}', max_tokens=50)
    world.steps(lambda: told.tokens > 0)
    world.engine._running["a"].job.filters[0].matcher._matcher.consume_token(5)  # out of turn: it is in error now
    world.finish()
    assert told.outcome is Outcome.FAILED
    assert told.problem == "The JSON schema cannot be used: no token can follow what the answer has"
    assert other.usage.completion_tokens == 9
