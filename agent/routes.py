"""The public API's endpoints: who may, whether serving is allowed, then the engine."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.answers import Shape, failed, usage_body
from agent.bodies import ChatBody, CompletionBody, DetokenizeBody, TokenizeBody
from agent.disconnect import UntilGone
from agent.engine.protocol import Choice, Delta, Engine, Finished, Outcome
from agent.generation import Wanted, chat_prompt, check, check_ids, encoded, unknown_model, wanted
from agent.job import Caller, Job
from agent.keys import Keys
from agent.lease import LeaseBook
from agent.meter import Meter
from agent.metrics import Metrics
from agent.openai import ApiError, parsed
from agent.openapi import document
from agent.quota import Refusal
from agent.scheduler import WEDGED_AFTER_S
from agent.settings import Limits
from agent.stream import PING_S, JobResponse
from agent.traces import Origin, Traces

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Public:
    """What the public API serves with."""

    engine: Engine
    meter: Meter
    leases: LeaseBook
    keys: Keys
    limits: Limits
    wedged_after_s: float = WEDGED_AFTER_S
    ping_s: float = PING_S
    metrics: Metrics = field(default_factory=Metrics)
    traces: Traces | None = None

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        posts = {
            "/v1/chat/completions": self.chat,
            "/v1/completions": self.completions,
            "/tokenize": self.tokenize,
            "/detokenize": self.detokenize,
        }
        gets = {
            "/v1/models": self.models,
            "/v1/models/{model:path}": self.one_model,
            "/health": self.health,
            "/ready": self.ready,
            "/metrics": self.measures,
            "/openapi.json": self.openapi,
        }
        return [
            *(Route(path, self._counted(endpoint), methods=["POST"]) for path, endpoint in posts.items()),
            *(Route(path, self._counted(endpoint), methods=["GET"]) for path, endpoint in gets.items()),
        ]

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        return await self._generate(request, ChatBody)

    async def completions(self, request: Request) -> Response:
        """`POST /v1/completions`."""
        return await self._generate(request, CompletionBody)

    async def tokenize(self, request: Request) -> Response:
        """`POST /tokenize`: the token ids of a text, or of messages in the model's template."""
        self._label(request)
        body = parsed(TokenizeBody, await self._raw(request))
        if body.prompt is not None:
            (ids,) = await encoded(self.engine, [body.prompt])
        else:
            ids = await chat_prompt(self.engine, body.messages or [])
        context = self.engine.info.context_tokens
        return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": context})

    async def detokenize(self, request: Request) -> Response:
        """`POST /detokenize`: the text of token ids; special ones have none."""
        self._label(request)
        body = parsed(DetokenizeBody, await self._raw(request))
        check_ids(self.engine, body.tokens, "tokens")
        return JSONResponse({"prompt": self.engine.tokens.decode(body.tokens)})

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`: the one model, and what runs it."""
        self._label(request)
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def one_model(self, request: Request) -> Response:
        """`GET /v1/models/{model}`."""
        self._label(request)
        name = request.path_params["model"]
        if name != self.engine.info.model:
            raise unknown_model(name, self.engine.info)
        return JSONResponse(self._model())

    async def health(self, _request: Request) -> Response:
        """`GET /health`: unhealthy when the engine's thread has not gone round for long."""
        body = {
            "status": "wedged" if self._is_wedged else "ok",
            "engine": self.engine.info.label,
            "attention": self.engine.info.attention,
            "heartbeat_age_s": round(self.meter.scheduler.heartbeat_age_s, 3),
        }
        return JSONResponse(body, 503 if self._is_wedged else 200)

    async def ready(self, _request: Request) -> Response:
        """`GET /ready`: whether a request would be taken now."""
        self._allowed()
        self._room(1)
        return JSONResponse({"status": "ready"})

    async def measures(self, request: Request) -> Response:
        """`GET /metrics`: for Prometheus, what concerns everybody and the key's own label."""
        label = self._label(request)
        return self.metrics.answer(request, self.meter, self.leases, label)

    async def openapi(self, _request: Request) -> Response:
        """`GET /openapi.json`: this API, described."""
        return JSONResponse(document(self.engine))

    async def _generate(self, request: Request, kind: type[ChatBody] | type[CompletionBody]) -> Response:
        label = self._label(request)
        if self.traces is None:
            return await self._served(request, kind, label)
        endpoint = "chat.completions" if kind is ChatBody else "completions"
        origin = self.traces.origin(endpoint, label, request.headers)
        try:
            return await self._served(request, kind, label, origin)
        except ApiError as error:
            self.traces.refused(origin, self.engine.info.model, error.code or str(error.status))
            raise

    async def _served(
        self,
        request: Request,
        kind: type[ChatBody] | type[CompletionBody],
        label: str,
        origin: Origin | None = None,
    ) -> Response:
        self._allowed()
        body = parsed(kind, await self._raw(request))
        check(self.engine, self.limits, body)
        self._room(body.choices)
        _refuse(self.meter.asks(label))  # before the prompts are tokenised: that may take long
        asked = await wanted(self.engine, self.limits, body)
        self._room(body.choices)
        self._allowed()  # the gate may have closed while the body was read
        _refuse(self.meter.refuses(label, asked.prompt_tokens))
        model = self.engine.info.model
        if origin is not None:
            sequences = asked.sequences
            most = max(one.max_tokens for one in sequences)
            origin = origin.asking(is_stream=asked.is_stream, choices=len(sequences), max_tokens=most)
        job = self.meter.begin(asked.sequences, Caller(label, asked.endpoint, model, origin))
        shape = Shape(
            chat=asked.is_chat,
            request_id=job.id,
            model=model,
            choices=len(asked.sequences),
            with_usage=asked.with_usage,
        )
        if asked.is_stream:
            return JobResponse(job, shape, self.ping_s)
        return await _whole(request, job, shape, asked)

    @property
    def _is_wedged(self) -> bool:
        return self.meter.scheduler.heartbeat_age_s >= self.wedged_after_s

    def _allowed(self) -> None:
        """Whether serving is allowed and possible at this instant."""
        closed = self.leases.closed()
        if closed is not None:
            raise ApiError(503, closed.message, closed.code, retry_after_s=closed.retry_after_s)
        if self._is_wedged:
            raise ApiError(503, "The engine does not answer; try another server.", "engine_wedged", None, 30)

    def _room(self, sequences: int) -> None:
        scheduler = self.meter.scheduler
        if scheduler.in_flight + sequences > self.limits.max_batch + self.limits.max_queue:
            raise ApiError(429, "Too many requests are waiting.", "queue_full", retry_after_s=1)

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

    def _model(self) -> dict[str, Any]:
        info = self.engine.info
        extras = {
            "engine": info.name,
            "engine_label": info.label,
            "quantisation": info.quantisation,
            "attention": info.attention,
            "context_tokens": info.context_tokens,
        }
        return {"id": info.model, "object": "model", "created": 0, "owned_by": "mtok", "mtok": extras}

    def _counted(self, endpoint: Endpoint) -> Endpoint:
        return guarded(endpoint, self.metrics.refuse)


def guarded(endpoint: Endpoint, refused: Callable[[str], None] = lambda _code: None) -> Endpoint:
    """An endpoint whose errors are answers in OpenAI's envelope; `refused` hears their codes."""

    async def guard(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ApiError as error:
            refused(error.code or str(error.status))
            headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
            return JSONResponse(error.body(), error.status, headers)
        except ClientDisconnect:
            return Response(status_code=499)

    return guard


def _refuse(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise ApiError(refusal.status, refusal.message, refusal.code, retry_after_s=refusal.retry_after_s)


async def _whole(request: Request, job: Job, shape: Shape, asked: Wanted) -> Response:
    """A job as one answer, its entry on disk first; a client that goes away ends it."""
    texts: list[list[str]] = [[] for _ in asked.sequences]
    likely: list[list[Choice]] = [[] for _ in asked.sequences]
    ends = [Outcome.FAILED for _ in asked.sequences]
    try:
        async with UntilGone(request.receive):
            async for events in job.batches():
                for event in events:
                    index = job.index(event)
                    if isinstance(event, Delta):
                        texts[index].append(event.text)
                        likely[index] += event.choices
                    elif isinstance(event, Finished):
                        ends[index] = event.outcome
            if job.failure is None:
                job.delivered_tokens = job.usage.completion_tokens
            await job.settle()
    finally:
        job.abandon()
    if job.failure is not None:
        error = failed(job.failure)
        return JSONResponse({**error.body(), "usage": usage_body(job.usage)}, error.status)
    with_likely = asked.sequences[0].top_logprobs is not None
    found = [one if with_likely else None for one in likely]
    body = shape.whole(["".join(text) for text in texts], found, ends, job.usage)
    return Response(body, media_type="application/json")
