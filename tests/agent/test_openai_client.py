"""Every parameter as the official client sends it, and every answer as it reads it. What it reads is the ledger."""

import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.engine.tokenizer import ChatTokenizer
from tests.agent.conftest import KEY, RunningAgent

if TYPE_CHECKING:  # a second to import, and every worker reads this file
    import openai
    from openai.types.chat import ChatCompletion

pytestmark = pytest.mark.processes
MESSAGES: Any = [{"role": "user", "content": "Tell me about leases and ledgers."}]
SCHEMA: Any = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "size": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["colour", "size"],
    "additionalProperties": False,
}


@pytest.fixture
async def client(agent: RunningAgent) -> AsyncIterator["openai.AsyncOpenAI"]:
    """The official client, without retries of its own."""

    import openai

    async with openai.AsyncOpenAI(base_url=f"{agent.public}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def chat(client: "openai.AsyncOpenAI", agent: RunningAgent) -> Any:
    """Ask for a chat; the ledger must hold what the client was told."""
    model = agent.model

    async def ask(**parameters: Any) -> "ChatCompletion":
        before = agent.usage()
        wanted = {"messages": MESSAGES, "max_tokens": 8, "temperature": 0, **parameters}
        answer: ChatCompletion = await client.chat.completions.create(model=model, **wanted)
        check_ledger(before, agent.usage(), answer.usage)
        return answer

    return ask


def check_ledger(before: Any, after: Any, usage: Any) -> None:
    assert usage is not None
    assert after["requests"] - before["requests"] == 1
    for field in ("prompt_tokens", "completion_tokens"):
        assert after[field] - before[field] == getattr(usage, field)
    assert after["cached_tokens"] - before["cached_tokens"] == usage.prompt_tokens_details.cached_tokens
    assert after["delivered_tokens"] - before["delivered_tokens"] == usage.completion_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def text(answer: "ChatCompletion", index: int = 0) -> str:
    return answer.choices[index].message.content or ""


async def test_a_known_prompt_is_cached_and_says_so(chat: Any) -> None:
    await chat()
    usage = (await chat()).usage
    assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens


async def test_both_names_of_the_limit_limit(chat: Any) -> None:
    import openai

    for name in ("max_tokens", "max_completion_tokens"):
        answer = await chat(**{"max_tokens": openai.omit, name: 3})
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == 3


async def test_a_seed_repeats_and_another_differs(chat: Any) -> None:
    first, again, other = [await chat(temperature=1.5, seed=seed) for seed in (7, 7, 8)]
    assert text(first) == text(again) != text(other)


async def test_n_choices_are_counted_together_and_differ(chat: Any) -> None:
    one = (await chat(n=1)).usage
    answer = await chat(n=3, temperature=1.5, seed=7)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({text(answer, index) for index in range(3)}) == 3
    assert answer.usage.prompt_tokens == 3 * one.prompt_tokens  # as the engine worked on them
    assert text(answer) == text(await chat(temperature=1.5, seed=7))  # the first keeps the seed
    again = await chat(n=3, temperature=1.5, seed=7)
    assert [text(again, index) for index in range(3)] == [text(answer, index) for index in range(3)]


async def test_a_stop_string_is_not_shown(chat: Any) -> None:
    whole = text(await chat(max_tokens=20))
    stop = whole[6:9]
    answer = await chat(max_tokens=20, stop=["never so", stop])
    assert text(answer) == whole[: whole.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


async def test_logit_bias_forbids_and_forces(chat: Any, model_dir: Path) -> None:
    tokens = ChatTokenizer(model_dir)
    (forced,) = tokens.encode("a")
    assert text(await chat(logit_bias={str(forced): 100})) == "a" * 8
    first = (await chat(logprobs=True, max_tokens=1)).choices[0].logprobs.content[0]
    ids = [token for token in range(tokens.vocab_size) if tokens.decode([token]) == first.token]
    without = await chat(logprobs=True, max_tokens=1, logit_bias={str(token): -100 for token in ids})
    assert without.choices[0].logprobs.content[0].token != first.token


async def test_penalties_end_a_repetition(chat: Any, model_dir: Path) -> None:
    (loved,) = ChatTokenizer(model_dir).encode("a")
    bias = {str(loved): 2.5}
    assert text(await chat(logit_bias=bias)) == "a" * 8
    for penalty in ({"frequency_penalty": 2}, {"presence_penalty": 2}, {"extra_body": {"repetition_penalty": 9}}):
        assert text(await chat(logit_bias=bias, **penalty)) != "a" * 8, penalty


async def test_extensions_narrow_to_the_likeliest(chat: Any) -> None:
    likeliest = text(await chat())
    for extra in ({"top_k": 1}, {"min_p": 1}):
        assert text(await chat(temperature=2, extra_body=extra)) == likeliest
    assert text(await chat(temperature=2, top_p=0)) == likeliest
    assert text(await chat(temperature=2, seed=1)) != likeliest


async def test_logprobs_are_of_the_raw_logits(chat: Any) -> None:
    answer = await chat(logprobs=True, top_logprobs=20, temperature=0)
    content = answer.choices[0].logprobs.content
    assert len(content) == 8
    assert b"".join(bytes(one.bytes) for one in content).decode(errors="replace") == text(answer)
    for one in content:
        likeliest = [other.logprob for other in one.top_logprobs]
        assert likeliest == sorted(likeliest, reverse=True)
        assert one.logprob == likeliest[0] < 0
        assert sum(map(math.exp, likeliest)) < 1
    hot = await chat(logprobs=True, top_logprobs=1, temperature=2, seed=1, max_tokens=1)
    assert hot.choices[0].logprobs.content[0].top_logprobs[0].logprob == content[0].logprob


async def test_logprobs_stay_with_text_that_is_held_back(client: Any, agent: RunningAgent, chat: Any) -> None:
    whole = text(await chat(max_tokens=20))
    stops = [
        whole[3] + "\0",
        whole[8] + "\0",
        whole[12:15],
    ]  # two beginnings that come to nothing, and one that ends
    stream = await client.chat.completions.create(
        model=agent.model,
        messages=MESSAGES,
        max_tokens=20,
        temperature=0,
        stop=stops,
        logprobs=True,
        stream=True,
    )
    shown, tokens = "", b""
    async for chunk in stream:
        (choice,) = chunk.choices
        shown += choice.delta.content or ""
        tokens += b"".join(bytes(one.bytes) for one in (choice.logprobs.content if choice.logprobs else []))
        released = tokens.decode(errors="ignore")  # a token comes with the last of its text, or where it is cut
        assert shown.startswith(released) or released.startswith(shown)
    assert shown == whole[: whole.index(stops[2])]
    assert tokens.decode(errors="replace").startswith(shown)


async def test_a_json_schema_is_kept_to(chat: Any) -> None:
    for seed in range(5):
        wanted = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA, "strict": True}}
        answer = await chat(response_format=wanted, temperature=1, seed=seed, max_tokens=60)
        thing = json.loads(text(answer))
        assert answer.choices[0].finish_reason == "stop"
        assert thing["colour"] in ("red", "blue")
        assert 1 <= thing["size"] <= 9


async def test_json_mode_begins_an_object(chat: Any) -> None:
    assert text(await chat(response_format={"type": "json_object"}, temperature=1)).startswith("{")
    assert not text(await chat(response_format={"type": "text"}, seed=1)).startswith("{")


@pytest.mark.parametrize(
    "schema", [{"type": "colour"}, {"$ref": "https://example.com/x"}, {"type": "object", "if": {}}]
)
async def test_a_schema_that_cannot_be_kept_to_is_refused(chat: Any, schema: Any) -> None:
    import openai

    wanted = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    with pytest.raises(openai.BadRequestError, match="JSON schema cannot be used") as caught:
        await chat(response_format=wanted)
    assert caught.value.code == "invalid_schema"


@pytest.mark.parametrize("n", [1, 3])
async def test_a_stream_says_what_the_whole_says(client: Any, agent: RunningAgent, chat: Any, n: int) -> None:
    whole = await chat(n=n, temperature=1, seed=3)
    before = agent.usage()
    stream = await client.chat.completions.create(
        model=agent.model,
        messages=MESSAGES,
        max_tokens=8,
        temperature=1,
        seed=3,
        n=n,
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, ends, usage = [""] * n, [""] * n, None
    async for chunk in stream:
        if not chunk.choices:
            usage = chunk.usage
        for choice in chunk.choices:
            assert chunk.usage is None
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert texts == [text(whole, index) for index in range(n)]
    assert ends == [choice.finish_reason for choice in whole.choices]
    check_ledger(before, agent.usage(), usage)


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("One prompt", 1),
        (["One", "another", "a third"], 3),
        ([5, 6, 7], 1),
        ([[5, 6, 7], [8, 9]], 2),
    ],
    ids=["text", "texts", "tokens", "lists of tokens"],
)
async def test_completions_take_every_kind_of_prompt(
    client: Any, agent: RunningAgent, model_dir: Path, prompt: Any, choices: int
) -> None:
    before = agent.usage()
    answer = await client.completions.create(model=agent.model, prompt=prompt, max_tokens=4, n=2, temperature=0)
    assert [choice.index for choice in answer.choices] == list(range(2 * choices))
    assert answer.choices[0].text == answer.choices[1].text
    check_ledger(before, agent.usage(), answer.usage)
    tokens = ChatTokenizer(model_dir)
    prompts = [prompt] if choices == 1 else prompt
    counts = [len(tokens.encode(one)) if isinstance(one, str) else len(one) for one in prompts]
    assert answer.usage.prompt_tokens == 2 * sum(counts)


async def test_completions_have_logprobs_of_their_own_shape(client: Any, agent: RunningAgent) -> None:
    answer = await client.completions.create(
        model=agent.model, prompt="Once", max_tokens=6, logprobs=3, temperature=0
    )
    logprobs = answer.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == 6
    assert logprobs.text_offset == [len("".join(logprobs.tokens[:place])) for place in range(6)]
    assert all(3 <= len(one) <= 4 for one in logprobs.top_logprobs)
    assert "".join(logprobs.tokens) == answer.choices[0].text


async def test_an_answer_can_be_sent_back_as_it_came(client: Any, agent: RunningAgent, chat: Any) -> None:
    message = (await chat()).choices[0].message
    history = [*MESSAGES, message.model_dump(), {"role": "user", "content": [{"type": "text", "text": "Go on"}]}]
    assert await client.chat.completions.create(model=agent.model, messages=history, max_tokens=2)


async def test_models_are_listed_and_found(client: Any, agent: RunningAgent) -> None:
    import openai

    (model,) = [model async for model in client.models.list()]
    assert (await client.models.retrieve(model.id)).id == model.id == agent.model
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("some/other")
    assert caught.value.code == "model_not_found"


async def test_errors_are_the_clients_own(client: Any, agent: RunningAgent, chat: Any) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="maximum context length is 4096 tokens") as caught:
        await chat(max_tokens=5000)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.BadRequestError, match="Unknown parameter: 'colour'"):
        await chat(extra_body={"colour": "red"})
    with pytest.raises(openai.BadRequestError, match="'tools' is not supported"):
        await chat(tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="another").models.list()


async def test_a_history_with_an_answer_of_openais_own_server_is_taken(chat: Any) -> None:
    from openai.types.chat import ChatCompletionMessage

    asked = {"role": "user", "content": "Hello"}
    theirs = ChatCompletionMessage(role="assistant", content="Hi", annotations=[], tool_calls=[])
    ours = (await chat(metadata=None, store=False, tools=[], tool_choice="none")).choices[0].message
    for answer in (theirs, ours, theirs.model_dump(), ours.model_dump()):
        assert (await chat(messages=[asked, answer, asked])).usage.prompt_tokens > 10


async def test_without_a_limit_the_answer_fits_the_context(client: Any, agent: RunningAgent) -> None:
    answer = await client.completions.create(model=agent.model, prompt=[7] * 4090, temperature=0)
    assert answer.usage.completion_tokens <= 6
