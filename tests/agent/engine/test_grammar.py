"""Whatever a schema allows is what comes out, whichever tokens are picked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.engine.checkpoint import read_shape
from agent.engine.grammar import Vocabulary
from agent.engine.protocol import Delta, Finished, GenRequest, Outcome
from agent.engine.reference import ReferenceEngine
from agent.errors import PromptError

THING = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "sizes": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["kind", "sizes"],
    "additionalProperties": False,
}


@pytest.fixture
def vocabulary(model_dir: Path) -> Vocabulary:
    shape = read_shape(model_dir)
    return Vocabulary(model_dir / "tokenizer.json", shape.vocab, shape.eos)


@pytest.mark.parametrize("schema", [{"const": 1}, {"enum": ["x", None]}, THING])
@pytest.mark.parametrize("seed", range(5))
def test_random_walks_end_in_what_the_schema_allows(vocabulary: Vocabulary, schema: Any, seed: int) -> None:
    matcher, rng = vocabulary.matcher(json.dumps(schema)), np.random.default_rng(seed)
    data = b""
    for _ in range(200):
        token = int(rng.choice(np.flatnonzero(matcher.allowed())))
        matcher.take(token)
        if token in (2, 5):
            break
        data += vocabulary.text_of(token)
    found = json.loads(data)
    if schema is THING:
        assert found["kind"] in ("a", "b")
        assert len(found["sizes"]) <= 3
    else:
        assert found in (1, "x", None)


def test_the_bytes_of_tokens_make_up_the_text(vocabulary: Vocabulary, model_dir: Path) -> None:
    tokens = ReferenceEngine(model_dir, 1).tokens
    text = "wörld 你好 🐈"
    assert b"".join(vocabulary.text_of(token) for token in tokens.encode(text)).decode() == text


def test_what_cannot_be_kept_to_is_refused_in_one_line(vocabulary: Vocabulary) -> None:
    for schema in ("[]", '{"type":"colour"}', '{"$ref":"http://127.0.0.1:1/x"}', '{"unevaluatedProperties":false}'):
        with pytest.raises(PromptError, match="JSON schema cannot be used") as caught:
            vocabulary.check(schema)
        assert "\n" not in caught.value.message


def test_an_answer_ends_when_the_schema_does(model_dir: Path) -> None:
    engine = ReferenceEngine(model_dir, 2)
    for number in range(4):
        schema = json.dumps(THING) if number % 2 else None
        engine.submit(GenRequest(str(number), [7, 8], 60, seed=number, schema=schema))
    texts, ends = {str(number): "" for number in range(4)}, {}
    while len(ends) < 4:
        for event in engine.step():
            if isinstance(event, Delta):
                texts[event.id] += event.text
            elif isinstance(event, Finished):
                ends[event.id] = event.outcome
    for number in (1, 3):
        assert json.loads(texts[str(number)])["kind"] in ("a", "b")
        assert ends[str(number)] is Outcome.FINISHED
