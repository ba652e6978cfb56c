"""What is rendered from parts is what a JSON encoder would have made, and frames survive any reader."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.answers import DONE, Shape, frame
from agent.engine.protocol import Choice, Likelihood, Outcome, Usage
from agent.stream import PING

text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inside: st.lists(inside) | st.dictionaries(text, inside),
    max_leaves=10,
)
likelihoods = st.builds(Likelihood, st.integers(0, 2047), st.binary(max_size=6), st.floats(-50, 0))
choices = st.lists(st.builds(Choice, likelihoods, st.lists(likelihoods, max_size=3).map(tuple)), max_size=3)


def shape(chat: bool, **changes: Any) -> Shape:
    return Shape(**{"chat": chat, "request_id": "1", "model": 'a "model"\n', "choices": 2, **changes})


@given(st.dictionaries(text, values))
def test_a_frame_is_one_line_to_every_reader_and_holds_its_body_whole(body: dict[str, Any]) -> None:
    data = frame(body).decode()
    assert data.endswith("\n\n")
    lines = data.splitlines()  # also at U+2028 and its like, as some clients read
    assert len(lines) == 2
    assert json.loads(lines[0].removeprefix("data: ")) == body


@pytest.mark.parametrize("chat", [True, False])
@given(st.lists(st.tuples(st.integers(0, 1), text, choices), max_size=5), st.booleans(), st.data())
def test_a_stream_split_anywhere_is_read_as_it_was_meant(
    chat: bool, pieces: list[tuple[int, str, list[Choice]]], with_usage: bool, data: st.DataObject
) -> None:
    from openai._streaming import SSEDecoder  # a second that few tests need
    from openai.types import Completion
    from openai.types.chat import ChatCompletionChunk

    made = shape(chat, with_usage=with_usage)
    frames = [made.first(), *(made.piece(*piece) for piece in pieces), PING, made.last(0, Outcome.LENGTH)]
    whole = b"".join([*frames, made.last(1, Outcome.STOPPED), made.usage(Usage(5, 2, 7)), DONE])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    events = [event.data for event in SSEDecoder().iter_bytes(iter(parts))]
    assert events[-1] == "[DONE]"
    kind: Any = ChatCompletionChunk if chat else Completion
    chunks = [kind.construct(**json.loads(event)) for event in events[:-1]]  # as the client does
    shown = ["", ""]
    for chunk in chunks:
        assert chunk.model == 'a "model"\n'
        for one in chunk.choices:
            shown[one.index] += (one.delta.content or "") if chat else one.text
    assert shown == ["".join(piece for index, piece, _ in pieces if index == place) for place in (0, 1)]
    if with_usage:
        assert chunks[-1].choices == []
        assert chunks[-1].usage.total_tokens == 12
    else:
        assert all(chunk.usage is None for chunk in chunks)


@given(st.lists(st.tuples(text, choices), min_size=1, max_size=4))
def test_completions_offsets_run_on_through_a_stream(pieces: list[tuple[str, list[Choice]]]) -> None:
    made, at = shape(False), 0
    for piece, some in pieces:
        for line in made.piece(0, piece, some).decode().splitlines():
            if line and some:
                logprobs = json.loads(line.removeprefix("data: "))["choices"][0]["logprobs"]
                for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
                    assert offset == at
                    at += len(token)


def test_a_likelihood_of_zero_is_null_and_not_broken_json() -> None:
    never = Likelihood(1, b"a", float("-inf"))
    line = shape(True).piece(0, "a", [Choice(never, (never,))]).decode()
    assert json.loads(line.removeprefix("data: "))["choices"][0]["logprobs"]["content"][0]["logprob"] is None
