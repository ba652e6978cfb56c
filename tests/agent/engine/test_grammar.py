"""Whatever a schema allows is what comes out, whichever tokens are picked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.engine.checkpoint import read_shape
from agent.engine.grammar import Vocabulary
from agent.engine.protocol import Delta, Failed, Finished, GenRequest, Outcome
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


def endless(name: str) -> dict[str, Any]:
    """What no answer of any depth is: each object has another one in it."""
    return {"type": "object", "properties": {name: {"$ref": f"#/properties/{name}"}}, "required": [name]}


ENDLESS = [{"$ref": "#"}, {"anyOf": [{"$ref": "#"}]}, endless("a")]
OPTIONAL = {"type": "object", "properties": {f"k{number}": {"type": "string"} for number in range(1000)}}


@pytest.mark.parametrize("schema", [*ENDLESS, OPTIONAL], ids=["itself", "a choice of itself", "inside", "optional"])
def test_what_no_answer_can_be_begun_by_is_refused(vocabulary: Vocabulary, schema: Any) -> None:
    with pytest.raises(PromptError, match=r"JSON schema cannot be used: (no token|Parser Error)") as caught:
        vocabulary.check(json.dumps(schema))
    assert (caught.value.code, caught.value.param) == ("invalid_schema", "response_format.json_schema.schema")


def test_what_leads_nowhere_later_ends_its_own_answer(model_dir: Path) -> None:
    engine = ReferenceEngine(model_dir, 2)
    for number in range(2):
        schema = json.dumps(endless("a" * 40)) if number else None
        engine.submit(GenRequest(str(number), [7, 8], 60, temperature=0, seed=1, schema=schema))
    ends: dict[str, Failed | Finished] = {}
    while len(ends) < 2:
        ends |= {event.id: event for event in engine.step() if isinstance(event, Failed | Finished)}
    assert isinstance(ends["0"], Finished)
    stuck = ends["1"]
    assert isinstance(stuck, Failed)
    assert stuck.code == "invalid_schema"
    assert stuck.problem == "The JSON schema cannot be used: no token can follow what the answer has"
    assert stuck.usage.completion_tokens > 0


def test_an_answer_ends_when_the_schema_does(model_dir: Path) -> None:
    engine = ReferenceEngine(model_dir, 2)
    for number in range(4):
        schema = json.dumps(THING) if number % 2 else None
        engine.submit(GenRequest(str(number), [7, 8], 60, seed=number, schema=schema))
    texts = {str(number): "" for number in range(4)}
    ends: dict[str, Outcome] = {}
    while len(ends) < 4:
        for event in engine.step():
            if isinstance(event, Delta):
                texts[event.id] += event.text
            elif isinstance(event, Finished):
                ends[event.id] = event.outcome
    for number in (1, 3):
        assert json.loads(texts[str(number)])["kind"] in ("a", "b")
        assert ends[str(number)] is Outcome.FINISHED
