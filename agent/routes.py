"""The public API's endpoints: who may, whether serving is allowed, then the engine."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.engine.protocol import Delta, Engine, Failed, Finished, GenRequest
from agent.errors import PromptError
from agent.keys import Keys
from agent.lease import LeaseBook
from agent.meter import Caller, Job, Meter, new_request_id
from agent.openai import ApiError, ChatBody, CompletionBody, Shape, parsed
from agent.scheduler import WEDGED_AFTER_S
from agent.settings import Limits
from agent.stream import JobResponse

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Public:
    """What the public API serves with."""

    engine: Engine
    meter: Meter
    leases: LeaseBook
    keys: Keys
    limits: Limits

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [
            Route("/v1/chat/completions", guarded(self.chat), methods=["POST"]),
            Route("/v1/completions", guarded(self.completions), methods=["POST"]),
            Route("/v1/models", guarded(self.models), methods=["GET"]),
            Route("/health", guarded(self.health), methods=["GET"]),
        ]

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        label = self._admitted(request)
        body: ChatBody = parsed(ChatBody, await self._raw(request))
        messages = [(message.role, message.text) for message in body.messages]
        prompt = _prompt(lambda: self.engine.tokens.chat(messages))
        return await self._generate(request, body, prompt, label, is_chat=True)

    async def completions(self, request: Request) -> Response:
        """`POST /v1/completions`."""
        label = self._admitted(request)
        body: CompletionBody = parsed(CompletionBody, await self._raw(request))
        given = body.prompt
        prompt = _prompt(lambda: self.engine.tokens.encode(given)) if isinstance(given, str) else given
        if not prompt:
            raise ApiError(400, "The prompt is empty.", "invalid_value", "prompt")
        if any(not 0 <= token < self.engine.tokens.vocab_size for token in prompt):
            raise ApiError(400, "A token id is outside the vocabulary.", "invalid_value", "prompt")
        return await self._generate(request, body, prompt, label, is_chat=False)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`: the one model, and what runs it."""
        self._label(request)
        info = self.engine.info
        model = {"id": info.model, "object": "model", "created": 0, "owned_by": "mtok"}
        extras = {
            "engine": info.name,
            "engine_label": info.label,
            "quantisation": info.quantisation,
            "context_tokens": info.context_tokens,
        }
        return JSONResponse({"object": "list", "data": [{**model, "mtok": extras}]})

    async def health(self, _request: Request) -> Response:
        """`GET /health`: unhealthy when the engine's thread has not gone round for long."""
        age_s = self.meter.scheduler.heartbeat_age_s
        body = {
            "status": "ok" if age_s < WEDGED_AFTER_S else "wedged",
            "engine": self.engine.info.label,
            "heartbeat_age_s": round(age_s, 3),
        }
        return JSONResponse(body, 200 if age_s < WEDGED_AFTER_S else 503)

    def _admitted(self, request: Request) -> str:
        label = self._label(request)
        self._allowed()
        return label

    def _allowed(self) -> None:
        """Whether serving is allowed at this instant."""
        closed = self.leases.closed()
        if closed is not None:
            raise ApiError(503, closed.message, closed.code, retry_after_s=closed.retry_after_s)

    def _label(self, request: Request) -> str:
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        label = self.keys.label(key.strip()) if kind.lower() == "bearer" else None
        if label is None:
            raise ApiError(401, "The API key is missing or unknown.", "invalid_api_key")
        return label

    async def _raw(self, request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self.limits.max_body_bytes:
                raise ApiError(413, f"The body is over {self.limits.max_body_bytes} bytes.", "body_too_large")
        return bytes(body)

    async def _generate(
        self,
        request: Request,
        body: ChatBody | CompletionBody,
        prompt: list[int],
        label: str,
        *,
        is_chat: bool,
    ) -> Response:
        info = self.engine.info
        if body.model != info.model:
            message = f"The model {body.model!r} is not here; this server has {info.model!r}."
            raise ApiError(404, message, "model_not_found", "model")
        wanted = self._wanted(body, prompt, info.context_tokens, is_chat=is_chat)
        if self.meter.in_flight >= self.limits.max_batch + self.limits.max_queue:
            raise ApiError(429, "Too many requests are waiting.", "queue_full", retry_after_s=1)
        self._allowed()  # the gate may have closed while the body was read
        if (refusal := self.meter.refuses(label, len(prompt))) is not None:
            raise ApiError(refusal.status, refusal.message, refusal.code, retry_after_s=refusal.retry_after_s)
        endpoint = "chat.completions" if is_chat else "completions"
        job = self.meter.begin(wanted, Caller(label, endpoint, info.model))
        shape = Shape(chat=is_chat, request_id=job.id, model=info.model)
        if body.stream:
            return JobResponse(job, shape, wants_usage=body.wants_usage)
        return JSONResponse(await _whole(request, job, shape))

    def _wanted(
        self, body: ChatBody | CompletionBody, prompt: list[int], context: int, *, is_chat: bool
    ) -> GenRequest:
        max_tokens = body.limit(self.limits.default_max_tokens)
        longest = self.limits.max_prompt_tokens
        if longest is not None and len(prompt) > longest:
            raise ApiError(400, f"The prompt has {len(prompt)} tokens, over {longest}.", "prompt_too_long")
        if len(prompt) + max_tokens > context:
            message = (
                f"This model's context is {context} tokens; the prompt has {len(prompt)} "
                f"and {max_tokens} more are asked for."
            )
            param = "messages" if is_chat else "prompt"
            raise ApiError(400, message, "context_length_exceeded", param)
        return GenRequest(
            id=new_request_id(),
            prompt=prompt,
            max_tokens=max_tokens,
            temperature=1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            seed=body.seed,
            stop=body.stops,
        )


def guarded(endpoint: Endpoint) -> Endpoint:
    """An endpoint whose errors are answers in OpenAI's envelope."""

    async def guard(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ApiError as error:
            headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
            return JSONResponse(error.body(), error.status, headers)
        except ClientDisconnect:
            return Response(status_code=499)

    return guard


def _prompt(encode: Callable[[], list[int]]) -> list[int]:
    try:
        return encode()
    except PromptError as error:
        raise ApiError(400, error.message, error.code, error.param) from None


async def _whole(request: Request, job: Job, shape: Shape) -> dict[str, Any]:
    """A job as one answer, its entry on disk first; a client that goes away ends it."""
    watch = asyncio.create_task(_gone(request))
    collect = asyncio.create_task(_collect(job))
    try:
        await asyncio.wait({watch, collect}, return_when=asyncio.FIRST_COMPLETED)
        if not collect.done():
            raise ClientDisconnect
        text, last = collect.result()
        if isinstance(last, Failed):
            await job.settle()
            raise ApiError(500, last.problem, "engine_failed")
        job.delivered_tokens = last.usage.completion_tokens
        await job.settle()
        return shape.whole(text, last.outcome, last.usage)
    finally:
        watch.cancel()
        collect.cancel()
        job.abandon()


async def _collect(job: Job) -> tuple[str, Finished | Failed]:
    pieces: list[str] = []
    async for event in job.events():
        if isinstance(event, Delta):
            pieces.append(event.text)
        elif isinstance(event, Finished | Failed):
            return "".join(pieces), event
    raise AssertionError


async def _gone(request: Request) -> None:
    with contextlib.suppress(RuntimeError):
        while (await request.receive())["type"] != "http.disconnect":
            pass
