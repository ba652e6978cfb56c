"""The bodies of the OpenAI API: what is accepted, what is answered, and every error in its envelope.

Parameters that are not implemented are a 400, never ignored. Source: OpenAI API reference, chat completions
and completions (2026).
"""

import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agent.engine.protocol import Outcome, Usage

FINISH = {
    Outcome.FINISHED: "stop",
    Outcome.STOPPED: "stop",
    Outcome.LENGTH: "length",
    Outcome.CAPPED: "length",
    Outcome.CANCELLED: "stop",
}


class ApiError(Exception):
    """An answer that is an error. `retry_after_s` becomes the header of that name."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """The envelope."""
        kinds = {401: "authentication_error", 429: "rate_limit_error", 503: "service_unavailable"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(_Body):
    """What a stream carries besides its text."""

    include_usage: bool = False


class _Generation(_Body):
    model: str
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    n: Literal[1] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    @field_validator("stop")
    @classmethod
    def _few(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if isinstance(stop, list) and (len(stop) > 4 or not all(stop)):
            msg = "give at most 4 stop strings, none of them empty"
            raise ValueError(msg)
        return stop

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        if not self.stop:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that has the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def limit(self, default: int) -> int:
        """The most tokens to generate."""
        return self.max_tokens or default


class TextPart(_Body):
    """One part of a message's content."""

    type: Literal["text"]
    text: str


class Message(_Body):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatBody(_Generation):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)

    def limit(self, default: int) -> int:
        """The most tokens to generate; the newer name wins."""
        return self.max_completion_tokens or self.max_tokens or default


class CompletionBody(_Generation):
    """`POST /v1/completions`: a text, or token ids."""

    prompt: str | list[int]


def parsed(kind: type[ChatBody] | type[CompletionBody], raw: bytes) -> Any:
    """A request's body.

    Raises:
        ApiError: 400, naming the first parameter at fault.
    """
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        if fault["type"] == "json_invalid":
            raise ApiError(400, "The body is not valid JSON.", "invalid_json") from None
        param = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("list[", "function-")))
        if fault["type"] == "extra_forbidden":
            message = f"{param!r} is not supported by this server."
            raise ApiError(400, message, "unsupported_parameter", param) from None
        text = fault["msg"].removeprefix("Value error, ")
        raise ApiError(400, f"{param}: {text}" if param else text, "invalid_value", param or None) from None


def usage_body(usage: Usage) -> dict[str, Any]:
    """Usage as clients read it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


class Shape:
    """How an answer of one endpoint looks, whole and in chunks."""

    def __init__(self, *, chat: bool, request_id: str, model: str) -> None:
        self._chat = chat
        self._head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{request_id}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, text: str, outcome: Outcome, usage: Usage) -> dict[str, Any]:
        """A non-streaming answer."""
        content = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": FINISH[outcome]}
        kind = "chat.completion" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice], "usage": usage_body(usage)}

    def first(self) -> dict[str, Any] | None:
        """The chunk that opens a chat's stream: the role."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}, None) if self._chat else None

    def piece(self, text: str) -> dict[str, Any]:
        """A chunk of text."""
        return self._chunk({"delta": {"content": text}} if self._chat else {"text": text}, None)

    def last(self, outcome: Outcome) -> dict[str, Any]:
        """The chunk that says why the text ends."""
        return self._chunk({"delta": {}} if self._chat else {"text": ""}, FINISH[outcome])

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The chunk with the usage: it has no choices."""
        return {**self._head, "object": self._kind, "choices": [], "usage": usage_body(usage)}

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _chunk(self, content: dict[str, Any], finish: str | None) -> dict[str, Any]:
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish}
        return {**self._head, "object": self._kind, "choices": [choice]}
