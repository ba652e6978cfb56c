"""Whatever happens to requests on ExLlamaV2, what was told of each one's tokens is what its last word says."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.engine.protocol import Outcome, Usage
from tests.agent.engine.exllamav2_double import World, make_world

EXAMPLES = 3000 if os.environ.get("MTOK_PROVE") else 20
pytestmark = pytest.mark.xdist_group("torch")
ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            st.fixed_dictionaries(
                {
                    "max_tokens": st.integers(0, 24),
                    "seed": st.integers(-3, 3),
                    "stop": st.sampled_from([(), ("e",), ("the", " s")]),
                    "banned": st.sampled_from([(), ("a",), ("in", "or")]),
                    "prompt_tokens": st.sampled_from([1, 5, 255, 256, 257, 600]),
                    "top_logprobs": st.sampled_from([None, 2]),
                }
            ),
        ),
        st.tuples(st.just("step"), st.integers(1, 6)),
        st.tuples(st.just("cap"), st.tuples(st.integers(0, 5), st.integers(0, 12))),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("fault"), st.just(0)),
    ),
    max_size=14,
)


@pytest.fixture(scope="module")
def worlds(model_dir: Path) -> dict[str, World]:
    """Engines that live through all examples: nothing may be left over from one."""
    return {
        "paged": make_world(model_dir),
        "unpaged": make_world(model_dir, is_paged=False),
        "healing": make_world(model_dir, heals=True),
        "drafting": make_world(model_dir, draft_tokens=3),
    }


@pytest.mark.parametrize("kind", ["paged", "unpaged", "healing", "drafting"])
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(actions=ACTIONS)
def test_what_was_told_is_what_was_used(
    kind: str, actions: list[tuple[str, Any]], worlds: dict[str, World]
) -> None:
    world = worlds[kind]
    world.told.clear()
    submitted: list[tuple[str, int, int]] = []
    for what, how in actions:
        if what == "submit":
            given_ = dict(how)
            count, most = given_.pop("prompt_tokens"), given_.pop("max_tokens")
            id_ = f"r{len(submitted)}"
            if kind != "unpaged":
                given_["banned"] = ()  # it would be refused
            world.submit(id_, most, prompt=(world.prompt * 2)[:count], **given_)
            submitted.append((id_, count, most))
        elif what == "step":
            for _ in range(how):
                world.step()
        elif what == "cap":
            world.engine.cap(f"r{how[0]}", how[1])
        elif what == "cancel":
            settle(world, f"r{how}", world.engine.cancel(f"r{how}"))
        else:
            break_once(world)
    world.finish()
    for id_, count, most in submitted:
        told = world.told[id_]
        assert told.usage.prompt_tokens in (0, count)
        assert told.usage.cached_tokens <= count
        assert told.usage.completion_tokens <= most
        if told.outcome is Outcome.LENGTH:
            assert told.usage.completion_tokens == most
    assert not world.engine._running
    assert world.engine.step() == []
    assert world.engine._generator.num_remaining_jobs() == 0
    assert not world.engine._generator.referenced_pages


def settle(world: World, id_: str, usage: Usage | None) -> None:
    """A request that ended otherwise than by an event: it may have used more than was told, never less."""
    if usage is None:
        return
    told = world.told[id_]
    assert usage.completion_tokens >= told.tokens
    told.usage, told.outcome, told.tokens = usage, Outcome.CANCELLED, usage.completion_tokens


def break_once(world: World) -> None:
    def fault() -> None:
        raise RuntimeError("CUDA out of memory")

    world.model.fault = fault
    try:
        world.step()
    except RuntimeError:
        for id_, usage in world.engine.reset().items():
            settle(world, id_, usage)
    finally:
        world.model.fault = lambda: None
