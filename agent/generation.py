"""From a body that is sound to the sequences that the engine is asked for, or to a clear 400."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from agent.bodies import ChatBody, CompletionBody, Generation, Message
from agent.engine.protocol import OPTIONS, Engine, EngineInfo, GenRequest
from agent.errors import PromptError
from agent.job import new_request_id
from agent.openai import ApiError
from agent.settings import Limits

_AT_ONCE_CHARACTERS = 20_000  # tokenised in a millisecond or a few; more would hold up every stream
_EACH_CHARACTERS = 100  # a message or a text costs as much as so many, however short it is
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one HTTP request asks of the engine. The answer's choices are in the order of `sequences`."""

    endpoint: str
    sequences: Sequence[GenRequest]
    is_stream: bool
    with_usage: bool

    @property
    def is_chat(self) -> bool:
        """Whether it is answered as a chat."""
        return self.endpoint == "chat.completions"

    @property
    def prompt_tokens(self) -> int:
        """Of all sequences."""
        return sum(len(one.prompt) for one in self.sequences)


def check(engine: Engine, limits: Limits, body: Generation) -> None:
    """Whether a body can be served here, as far as that is known before its prompts are tokenised.

    Raises:
        ApiError: 400 or 404, naming the parameter at fault.
    """
    info = engine.info
    if body.model != info.model:
        raise unknown_model(body.model, info)
    _check_options(body, info)
    _check_bias(body, engine.tokens.vocab_size)
    most = limits.max_batch + limits.max_queue
    if body.choices > most:
        raise ApiError(400, f"At most {most} answers to one request are possible here.", "invalid_value", "n")


async def wanted(engine: Engine, limits: Limits, body: ChatBody | CompletionBody) -> Wanted:
    """What a body that was checked asks for.

    Raises:
        ApiError: 400, naming the parameter at fault.
    """
    is_chat = isinstance(body, ChatBody)
    prompts = (
        [await chat_prompt(engine, body.messages)]
        if isinstance(body, ChatBody)
        else await text_prompts(engine, body)
    )
    if body.schema_text is not None:
        await _engine_said(lambda: engine.tokens.check_schema(body.schema_text or ""), is_long=True)
    param = "messages" if is_chat else "prompt"
    sequences = [_sequence(body, prompt, param, limits, engine.info) for prompt in prompts]
    return Wanted(
        endpoint="chat.completions" if is_chat else "completions",
        sequences=_repeated(sequences, body),
        is_stream=bool(body.stream),
        with_usage=body.wants_usage,
    )


async def chat_prompt(engine: Engine, messages: Sequence[Message]) -> list[int]:
    """The prompt of a chat.

    Raises:
        ApiError: 400; as OpenAI's, only an assistant's message may have no content.
    """
    for place, message in enumerate(messages):
        if message.content is None and message.role != "assistant":
            param = f"messages.{place}.content"
            raise ApiError(400, f"{param}: give a text", "invalid_value", param)
    pairs = [(message.role, message.text) for message in messages]
    return await _engine_said(lambda: engine.tokens.chat(pairs), is_long=_are_long([text for _, text in pairs]))


async def text_prompts(engine: Engine, body: CompletionBody) -> list[list[int]]:
    """Every prompt of a completion."""
    prompts = [prompt for prompt in body.prompts if not isinstance(prompt, str)]
    prompts += await encoded(engine, [prompt for prompt in body.prompts if isinstance(prompt, str)])
    for ids in prompts:
        if not ids:
            raise ApiError(400, "The prompt is empty.", "invalid_value", "prompt")
        check_ids(engine, ids, "prompt")
    return prompts


async def encoded(engine: Engine, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text; long ones are worked on beside the event loop."""
    return await _engine_said(lambda: [engine.tokens.encode(text) for text in texts], is_long=_are_long(texts))


def check_ids(engine: Engine, ids: Sequence[int], param: str) -> None:
    """Whether they are tokens of this model.

    Raises:
        ApiError: 400.
    """
    if ids and not 0 <= min(ids) <= max(ids) < engine.tokens.vocab_size:
        raise ApiError(400, "A token id is outside the vocabulary.", "invalid_value", param)


def unknown_model(name: str, info: EngineInfo) -> ApiError:
    """The answer to whoever asks for another model."""
    message = f"The model {name!r} is not here; this server has {info.model!r}."
    return ApiError(404, message, "model_not_found", "model")


def _are_long(texts: Sequence[str]) -> bool:
    return sum(len(text) + _EACH_CHARACTERS for text in texts) > _AT_ONCE_CHARACTERS


async def _engine_said(work: Callable[[], Result], *, is_long: bool) -> Result:
    try:
        return await asyncio.to_thread(work) if is_long else work()
    except PromptError as error:
        raise ApiError(400, error.message, error.code, error.param) from None


def _check_options(body: Generation, info: EngineInfo) -> None:
    given = {name for name in body.model_fields_set if getattr(body, name) not in (None, False)}
    lacking = sorted((given & OPTIONS) - info.options)
    if lacking:
        message = f"{lacking[0]!r} is not supported by this server's engine, {info.name}."
        raise ApiError(400, message, "unsupported_parameter", lacking[0])


def _check_bias(body: Generation, vocab_size: int) -> None:
    if body.logit_bias and max(map(int, body.logit_bias)) >= vocab_size:
        raise ApiError(400, "A token id is outside the vocabulary.", "invalid_value", "logit_bias")


def _sequence(
    body: ChatBody | CompletionBody, prompt: list[int], param: str, limits: Limits, info: EngineInfo
) -> GenRequest:
    return GenRequest(
        id=new_request_id(),
        prompt=prompt,
        max_tokens=_limit(body, len(prompt), param, limits, info.context_tokens),
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed,
        stop=body.stops,
        top_k=body.top_k or 0,
        min_p=body.min_p or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        repetition_penalty=body.repetition_penalty or 1.0,
        logit_bias={int(token): bias for token, bias in (body.logit_bias or {}).items()},
        top_logprobs=body.likeliest,
        schema=body.schema_text,
    )


def _limit(body: ChatBody | CompletionBody, prompt_tokens: int, param: str, limits: Limits, context: int) -> int:
    """The most tokens to generate: what was asked for, or the default as far as the context has room."""
    longest = limits.max_prompt_tokens
    if longest is not None and prompt_tokens > longest:
        message = f"The prompt has {prompt_tokens} tokens, over {longest}."
        raise ApiError(400, message, "prompt_too_long", param)
    asked = body.limit or min(limits.default_max_tokens, max(context - prompt_tokens, 1))
    if prompt_tokens + asked > context:
        message = (
            f"This model's maximum context length is {context} tokens. However, you requested "
            f"{prompt_tokens + asked} tokens ({prompt_tokens} in the {param}, {asked} in the completion). "
            f"Please reduce the length of the {param} or completion."
        )
        raise ApiError(400, message, "context_length_exceeded", param)
    return asked


def _repeated(sequences: list[GenRequest], body: Generation) -> list[GenRequest]:
    """Each sequence `n` times. The seed counts up, so that answers to one prompt differ and still repeat."""
    times = body.n or 1
    if times == 1:
        return sequences
    return [
        replace(one, id=new_request_id(), seed=None if one.seed is None else one.seed + place)
        for one in sequences
        for place in range(times)
    ]
