"""The bodies of the OpenAI API that are accepted: chats and completions.

Source: OpenAI API reference, chat completions and completions (2026).
"""

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from agent.openai import UNSERVED, ApiError

MOST_STOPS = 4


def _asks_for_nothing(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(value)
    except ValidationError:
        raise PydanticCustomError(UNSERVED, "is not supported by this server") from None


def _off(value: bool) -> bool:
    if value:
        msg = "not here"
        raise ValueError(msg)
    return value


Harmless = TypeVar("Harmless")
Unserved = Annotated[Harmless | None, WrapValidator(_asks_for_nothing)]
"""A parameter of OpenAI's API that this server has not: null is taken, and values that ask for nothing."""
Off = Annotated[bool, AfterValidator(_off), WithJsonSchema({"const": False})]
NoItems = Annotated[list[Any], Field(max_length=0)]
NoKeys = Annotated[dict[str, Any], Field(max_length=0)]


def prompt_schema(token: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a completion's prompt; `token` is that of one token id."""
    text = {"type": "string", "minLength": 1}
    ids = {"type": "array", "items": token, "minItems": 1}
    several = [{"type": "array", "items": one, "minItems": 1} for one in (text, ids)]
    return {"anyOf": [text, ids, *several]}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(_Body):
    """What a stream carries besides its text."""

    include_usage: bool | None = None
    include_obfuscation: Unserved[Off] = None


class TextFormat(_Body):
    """Free text."""

    type: Literal["text"]


class JsonFormat(_Body):
    """A JSON object of any kind."""

    type: Literal["json_object"]


class JsonSchema(_Body):
    """A schema and its name. Whatever `strict` says, the answer is held to the schema."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(_Body):
    """JSON after a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


def _few(stop: str | list[str] | None) -> str | list[str] | None:
    if stop == "" or (isinstance(stop, list) and (len(stop) > MOST_STOPS or not all(stop))):
        msg = f"give at most {MOST_STOPS} stop strings, none of them empty"
        raise ValueError(msg)
    return stop


Penalty = Annotated[float, Field(ge=-2, le=2)]
StopStrings = Annotated[
    str | Annotated[list[str], Field(fail_fast=True)] | None,
    AfterValidator(_few),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MOST_STOPS},
                {"type": "null"},
            ]
        }
    ),
]
TokenCount = Annotated[int, Field(ge=1, le=2**31 - 1)]  # no context is longer
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]


class Generation(_Body):
    """What chats and completions have in common. `top_k`, `min_p` and `repetition_penalty` are extensions."""

    model: str
    max_tokens: TokenCount | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    n: int | None = Field(default=None, ge=1, le=128)
    seed: int | None = None
    stop: StopStrings = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[TokenId, Annotated[float, Field(ge=-100, le=100)]] | None = None
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _of_a_stream(self) -> "Generation":
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "'stream_options' needs 'stream'.", "invalid_value", "stream_options")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        if not self.stop:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that has the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def limit(self) -> int | None:
        """The most tokens to generate, if said."""
        return self.max_tokens

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return self.n or 1

    @property
    def likeliest(self) -> int | None:
        """Of how many tokens each place's likelihood is asked for; None when of none."""
        return None

    @property
    def schema_text(self) -> str | None:
        """The JSON schema that the answer keeps to."""
        return None


class TextPart(_Body):
    """One part of a message's content."""

    type: Literal["text"]
    text: str


class Message(_Body):
    """One message of a chat; also an answer that a client sends back, of ours or of OpenAI's own server."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(fail_fast=True)] | None
    name: Unserved[None] = None
    refusal: Unserved[None] = None
    annotations: Unserved[NoItems] = None
    audio: Unserved[None] = None
    function_call: Unserved[None] = None
    tool_calls: Unserved[NoItems] = None
    tool_call_id: Unserved[None] = None

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or ())


class _UnservedOfChats(_Body):
    """Of a chat's parameters those that this server has not."""

    audio: Unserved[None] = None
    function_call: Unserved[Literal["none"]] = None
    functions: Unserved[NoItems] = None
    metadata: Unserved[NoKeys] = None
    modalities: Unserved[Annotated[list[Literal["text"]], Field(fail_fast=True)]] = None
    moderation: Unserved[None] = None
    parallel_tool_calls: Unserved[Off] = None
    prediction: Unserved[None] = None
    prompt_cache_key: Unserved[None] = None
    prompt_cache_options: Unserved[None] = None
    prompt_cache_retention: Unserved[None] = None
    reasoning_effort: Unserved[None] = None
    safety_identifier: Unserved[None] = None
    service_tier: Unserved[Literal["auto", "default"]] = None
    store: Unserved[Off] = None
    tool_choice: Unserved[Literal["none"]] = None
    tools: Unserved[NoItems] = None
    verbosity: Unserved[None] = None
    web_search_options: Unserved[None] = None


class ChatBody(Generation, _UnservedOfChats):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1, fail_fast=True)
    max_completion_tokens: TokenCount | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: Annotated[TextFormat | JsonFormat | JsonSchemaFormat, Field(discriminator="type")] | None = (
        None
    )

    @model_validator(mode="after")
    def _in_agreement(self) -> "ChatBody":
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(400, "'top_logprobs' needs 'logprobs' to be true.", "invalid_value", "top_logprobs")
        if None not in (self.max_tokens, self.max_completion_tokens):
            message = "Give 'max_tokens' or 'max_completion_tokens', not both."
            raise ApiError(400, message, "invalid_value", "max_tokens")
        return self

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def likeliest(self) -> int | None:
        return self.top_logprobs or 0 if self.logprobs else None

    @property
    def schema_text(self) -> str | None:
        if isinstance(self.response_format, JsonFormat):
            return '{"type":"object"}'
        if isinstance(self.response_format, JsonSchemaFormat):
            return json.dumps(self.response_format.json_schema.schema_)
        return None


def _promptlike(prompt: Any) -> Any:
    """Text, token ids, or a list of either."""
    if isinstance(prompt, str) or _are(prompt, str) or _are(prompt, int):
        return prompt
    if isinstance(prompt, list) and prompt and all(_are(one, int) for one in prompt):
        return prompt
    msg = "give a text, a list of texts, token ids, or a list of lists of token ids"
    raise ValueError(msg)


def _are(values: Any, kind: type) -> bool:
    return isinstance(values, list) and bool(values) and all(type(value) is kind for value in values)


class CompletionBody(Generation):
    """`POST /v1/completions`: one text or several, or their token ids."""

    prompt: Annotated[
        Any, AfterValidator(_promptlike), WithJsonSchema(prompt_schema({"type": "integer", "minimum": 0}))
    ]
    logprobs: int | None = Field(default=None, ge=0, le=5)
    best_of: Unserved[Annotated[int, Field(ge=1, le=1)]] = None
    echo: Unserved[Off] = None
    suffix: Unserved[Literal[""]] = None

    @property
    def likeliest(self) -> int | None:
        return self.logprobs

    @property
    def choices(self) -> int:
        return len(self.prompts) * super().choices

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """Every prompt, each of which gets `n` answers."""
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            return [self.prompt]
        found: list[str] | list[list[int]] = self.prompt
        return found


class TokenizeBody(_Body):
    """`POST /tokenize`: a text as it stands, or messages in the model's template."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = Field(default=None, min_length=1, fail_fast=True)

    @model_validator(mode="after")
    def _one(self) -> "TokenizeBody":
        if (self.prompt is None) == (self.messages is None):
            raise ApiError(400, "Give either 'prompt' or 'messages'.", "invalid_value", "prompt")
        return self


class DetokenizeBody(_Body):
    """`POST /detokenize`."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0)]] = Field(fail_fast=True)
