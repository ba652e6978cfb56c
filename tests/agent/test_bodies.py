"""Whatever the official client can send is either implemented or refused by name; nothing is taken and ignored."""

import importlib
import json
import sys
import typing
from typing import Any

import pytest

from agent.bodies import ChatBody, CompletionBody, DetokenizeBody, Message, StreamOptions, TokenizeBody
from agent.openai import ApiError, parsed

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
TEXT = {"model": "m", "prompt": "x"}


def refused(kind: Any, body: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parsed(kind, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(("kind", "where"), [(ChatBody, "chat.completion"), (CompletionBody, "completion")])
@pytest.mark.xdist_group("openai")
def test_every_official_parameter_is_known(kind: Any, where: str) -> None:
    official = importlib.import_module(f"openai.types.{where}_create_params").CompletionCreateParamsBase
    assert set(official.__annotations__) <= set(kind.model_fields)


@pytest.mark.parametrize("who", ["developer", "system", "user", "assistant"])
@pytest.mark.xdist_group("openai")
def test_so_is_everything_of_a_message_and_of_a_streams_options(who: str) -> None:
    types = importlib.import_module("openai.types.chat")
    official = getattr(types, f"ChatCompletion{who.capitalize()}MessageParam")
    assert set(official.__annotations__) <= set(Message.model_fields)
    assert set(types.ChatCompletionStreamOptionsParam.__annotations__) <= set(StreamOptions.model_fields)


@pytest.mark.parametrize(("kind", "where"), [(ChatBody, "chat.completion"), (CompletionBody, "completion")])
@pytest.mark.xdist_group("openai")
def test_every_null_that_the_official_types_allow_is_taken(kind: Any, where: str) -> None:
    official = importlib.import_module(f"openai.types.{where}_create_params").CompletionCreateParamsBase
    hints = typing.get_type_hints(official)  # without `Required`
    nullable = [name for name, hint in hints.items() if type(None) in typing.get_args(hint)]
    assert len(nullable) >= 13
    start = CHAT if kind is ChatBody else TEXT
    for name in set(nullable) - {"prompt"}:  # of a prompt it asks for the beginning of a document
        parsed(kind, json.dumps({**start, name: None}).encode())


ASKS_FOR_NOTHING: list[tuple[Any, str, list[Any], Any]] = [
    (CHAT, "audio", [], {"voice": "a", "format": "wav"}),
    (CHAT, "function_call", ["none"], "auto"),
    (CHAT, "functions", [[]], [{"name": "a"}]),
    (CHAT, "metadata", [{}], {"a": "b"}),
    (CHAT, "modalities", [["text"], []], ["text", "audio"]),
    (CHAT, "moderation", [], {}),
    (CHAT, "parallel_tool_calls", [False], True),
    (CHAT, "prediction", [], {"type": "content", "content": "a"}),
    (CHAT, "prompt_cache_key", [], "a"),
    (CHAT, "prompt_cache_options", [], {}),
    (CHAT, "prompt_cache_retention", [], "24h"),
    (CHAT, "reasoning_effort", [], "none"),
    (CHAT, "safety_identifier", [], "a"),
    (CHAT, "service_tier", ["auto", "default"], "priority"),
    (CHAT, "store", [False], True),
    (CHAT, "tool_choice", ["none"], "auto"),
    (CHAT, "tools", [[]], [{"type": "function"}]),
    (CHAT, "verbosity", [], "low"),
    (CHAT, "web_search_options", [], {}),
    (TEXT, "best_of", [1], 2),
    (TEXT, "echo", [False], True),
    (TEXT, "suffix", [""], "a"),
]


@pytest.mark.parametrize(("start", "name", "nothing", "something"), ASKS_FOR_NOTHING, ids=lambda one: str(one)[:20])
def test_what_is_not_implemented_is_refused_by_name_when_it_is_asked_for(
    start: Any, name: str, nothing: list[Any], something: Any
) -> None:
    kind = ChatBody if start is CHAT else CompletionBody
    for value in [None, *nothing]:
        parsed(kind, json.dumps({**start, name: value}).encode())
    for value in (something, 0, [1] * 5000):
        error = refused(kind, {**start, name: value})
        assert (error.status, error.code, error.param) == (400, "unsupported_parameter", name)


@pytest.mark.parametrize(
    ("name", "something"),
    [
        ("name", "b"),
        ("refusal", "no"),
        ("annotations", [{"type": "url_citation"}]),
        ("audio", {"id": "a"}),
        ("function_call", {"name": "a", "arguments": ""}),
        ("tool_calls", [{"id": "a"}]),
        ("tool_call_id", "a"),
    ],
)
def test_a_history_may_hold_what_is_empty_and_nothing_else(name: str, something: Any) -> None:
    empty: dict[str, Any] = {
        "role": "assistant",
        "content": None,
        name: [] if isinstance(something, list) else None,
    }
    body = parsed(ChatBody, json.dumps({**CHAT, "messages": [*CHAT["messages"], empty]}).encode())
    assert body.messages[1].text == ""
    error = refused(ChatBody, {**CHAT, "messages": [*CHAT["messages"], {**empty, name: something}]})
    assert (error.code, error.param) == ("unsupported_parameter", f"messages.1.{name}")


def test_a_streams_options_may_be_null_or_off() -> None:
    for options in ({"include_usage": None}, {"include_obfuscation": False}):
        body = parsed(ChatBody, json.dumps({**CHAT, "stream": True, "stream_options": options}).encode())
        assert not body.wants_usage
    error = refused(ChatBody, {**CHAT, "stream": True, "stream_options": {"include_obfuscation": True}})
    assert (error.code, error.param) == ("unsupported_parameter", "stream_options.include_obfuscation")


@pytest.mark.parametrize(("prompt", "count"), [("a", 1), (["a", "b"], 2), ([1, 2], 1), ([[1], [2, 3]], 2)], ids=str)
def test_every_kind_of_prompt_is_a_list_of_prompts(prompt: Any, count: int) -> None:
    body = parsed(CompletionBody, json.dumps({**TEXT, "prompt": prompt}).encode())
    assert len(body.prompts) == count


@pytest.mark.parametrize(
    "prompt", [[], [[]], [1, "a"], [[1], "a"], [True], [1.5], {"a": 1}, None, 7, [["a"]]], ids=str
)
def test_anything_else_is_no_prompt(prompt: Any) -> None:
    assert refused(CompletionBody, {**TEXT, "prompt": prompt}).param == "prompt"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b'{"model":"\\ud800"}', b"[" * 100_000], ids=lambda raw: raw[:9].hex()
)
def test_what_is_no_json_is_said_to_be_none(raw: bytes) -> None:
    assert refused(ChatBody, raw).code == "invalid_json"


@pytest.mark.parametrize(
    ("kind", "body", "param"),
    [
        (ChatBody, {**CHAT, "messages": [1] * 5000}, "messages.0"),
        (ChatBody, {**CHAT, "messages": [{"role": "user", "content": [1] * 5000}]}, "messages.0.content"),
        (ChatBody, {**CHAT, "stop": [1] * 5000}, "stop"),
        (TokenizeBody, {"messages": [1] * 5000}, "messages.0"),
        (DetokenizeBody, {"tokens": ["a"] * 5000}, "tokens.0"),
    ],
    ids=str,
)
def test_the_first_fault_of_many_is_named(kind: Any, body: Any, param: str) -> None:
    assert refused(kind, body).param == param


def test_faults_without_number_are_counted_and_not_described() -> None:
    error = refused(ChatBody, {**CHAT, **{f"a{number}": 1 for number in range(5000)}})
    assert (error.code, error.message) == ("invalid_value", "The body has 5000 faults.")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_that_no_message_could_name_is_refused(name: str) -> None:
    digits = sys.get_int_max_str_digits()  # one more, as in a sum with the prompt's tokens, makes no text
    assert refused(ChatBody, {**CHAT, name: int("9" * digits)}).param == name


def test_the_schema_of_json_mode_is_an_object() -> None:
    wanted = {**CHAT, "response_format": {"type": "json_object"}}
    assert json.loads(parsed(ChatBody, json.dumps(wanted).encode()).schema_text or "") == {"type": "object"}
    assert parsed(ChatBody, json.dumps(CHAT).encode()).schema_text is None


@pytest.mark.parametrize("body", [{}, {"prompt": "a", "messages": [{"role": "user", "content": "x"}]}])
def test_one_thing_is_tokenised_at_a_time(body: Any) -> None:
    assert refused(TokenizeBody, body).status == 400
