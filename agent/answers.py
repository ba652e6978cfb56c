"""What the OpenAI API answers: whole, or chunk by chunk. Chunks are rendered from parts made once an answer."""

import time
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Any

import orjson

from agent.engine.protocol import Choice, Failed, Likelihood, Outcome, Usage
from agent.openai import ApiError

FINISH = {
    Outcome.FINISHED: "stop",
    Outcome.STOPPED: "stop",
    Outcome.LENGTH: "length",
    Outcome.CAPPED: "length",
    Outcome.CANCELLED: "stop",
}
DONE = b"data: [DONE]\n\n"
# line ends to Python's str.splitlines, by which some clients read; JSON leaves them as they are
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def frame(body: Any) -> bytes:
    """One event. JSON has no raw line ends, so a body can never break out of its frame."""
    data = orjson.dumps(body)
    return b"data: " + (data if data.isascii() else _without_line_ends(data)) + b"\n\n"


def usage_body(usage: Usage) -> dict[str, Any]:
    """Usage as clients read it: the very counts of the ledger, summed over an answer's choices."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def failed(failure: Failed) -> ApiError:
    """The answer to a request that broke: by the engine's fault, or by what was asked of it."""
    return ApiError(500 if failure.code == "engine_failed" else 400, failure.problem, failure.code)


class Shape:
    """How an answer of one endpoint looks."""

    def __init__(
        self, *, chat: bool, request_id: str, model: str, choices: int = 1, with_usage: bool = False
    ) -> None:
        self._chat, self.choices, self.with_usage = chat, choices, with_usage
        self._kind = "chat.completion" if chat else "text_completion"
        self._head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{request_id}",
            "object": self._kind + (".chunk" if chat else ""),
            "created": int(time.time()),
            "model": model,
        }
        self._offsets = [0] * choices  # characters shown so far
        opened = orjson.dumps(self._head).decode()[:-1]
        before = '"delta":{"content":' if chat else '"text":'
        self._opened = [f'data: {opened},"choices":[{{"index":{index},{before}' for index in range(choices)]
        self._likely = ("}" if chat else "") + ',"logprobs":'
        self._closed = ',"finish_reason":null}]' + (',"usage":null' if with_usage else "") + "}\n\n"
        self._plain = self._likely + "null" + self._closed

    def whole(
        self, texts: Sequence[str], choices: Sequence[list[Choice] | None], ends: Sequence[Outcome], usage: Usage
    ) -> bytes:
        """A non-streaming answer; `choices` are None where likelihoods were not asked for."""
        found = []
        for index, (text, likely, outcome) in enumerate(zip(texts, choices, ends, strict=True)):
            content = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
            logprobs = None if likely is None else self._logprobs(index, likely)
            found.append({"index": index, **content, "logprobs": logprobs, "finish_reason": FINISH[outcome]})
        return orjson.dumps({**self._head, "object": self._kind, "choices": found, "usage": usage_body(usage)})

    def first(self) -> bytes:
        """The chunks that open a chat's choices: the role."""
        if not self._chat:
            return b""
        delta = {"delta": {"role": "assistant", "content": ""}}
        return b"".join(self._chunk(index, delta, None) for index in range(self.choices))

    def piece(self, index: int, text: str, choices: Sequence[Choice] = ()) -> bytes:
        """A chunk of text; nothing for none."""
        if not text and not choices:
            return b""
        quoted = encode_basestring(text)
        if not text.isascii():
            quoted = quoted.translate(_LINE_ENDS)
        if not choices:
            return f"{self._opened[index]}{quoted}{self._plain}".encode()
        logprobs = orjson.dumps(self._logprobs(index, choices)).decode().translate(_LINE_ENDS)
        return f"{self._opened[index]}{quoted}{self._likely}{logprobs}{self._closed}".encode()

    def last(self, index: int, outcome: Outcome) -> bytes:
        """The chunk that says why a choice ends."""
        return self._chunk(index, {"delta": {}} if self._chat else {"text": ""}, FINISH[outcome])

    def usage(self, usage: Usage) -> bytes:
        """The chunk with the usage, where it was asked for: it has no choices."""
        return frame({**self._head, "choices": [], "usage": usage_body(usage)}) if self.with_usage else b""

    def _chunk(self, index: int, content: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": index, **content, "logprobs": None, "finish_reason": finish}
        return frame({**self._head, "choices": [choice], **({"usage": None} if self.with_usage else {})})

    def _logprobs(self, index: int, choices: Sequence[Choice]) -> dict[str, Any]:
        if self._chat:
            return {"content": [_chat_logprobs(choice) for choice in choices], "refusal": None}
        tokens = [_text(choice.sampled) for choice in choices]
        offsets = []
        for token in tokens:
            offsets.append(self._offsets[index])
            self._offsets[index] += len(token)
        return {
            "tokens": tokens,
            "token_logprobs": [choice.sampled.logprob for choice in choices],
            "top_logprobs": [_by_text(choice) for choice in choices],
            "text_offset": offsets,
        }


def _without_line_ends(data: bytes) -> bytes:
    return data.decode().translate(_LINE_ENDS).encode()


def _chat_logprobs(choice: Choice) -> dict[str, Any]:
    return {**_likelihood(choice.sampled), "top_logprobs": [_likelihood(one) for one in choice.likeliest]}


def _likelihood(likelihood: Likelihood) -> dict[str, Any]:
    return {"token": _text(likelihood), "logprob": likelihood.logprob, "bytes": list(likelihood.text)}


def _by_text(choice: Choice) -> dict[str, float] | None:
    """The likeliest and the sampled one, as completions show them: by their text, the likelier first."""
    if not choice.likeliest:
        return None
    found: dict[str, float] = {}
    for one in (*choice.likeliest, choice.sampled):
        found.setdefault(_text(one), one.logprob)
    return found


def _text(likelihood: Likelihood) -> str:
    return likelihood.text.decode(errors="replace")
