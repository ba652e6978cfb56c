"""The control API: usage, lease, status, probe and benchmark. On its own address, with its own secret.

It answers from the first moment, while the engine is still being loaded.
"""

import hmac
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated, Any, Literal, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.bench import Bench, Plan
from agent.bench_stream import NDJSON, bench_lines
from agent.engine.protocol import Delta, EngineInfo, Failed, Finished, GenRequest
from agent.entries import Counts
from agent.errors import BenchStopped
from agent.job import Caller, Job, new_request_id
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.loading import Loading
from agent.machine import Machine
from agent.meter import LOST_AT_MOST_S, Meter
from agent.metrics import Metrics
from agent.openai import ApiError
from agent.routes import guarded
from store.clock import rfc3339

log = structlog.get_logger()
PROBE_LABEL = "mtok.probe"  # in the totals, under a label that no key may have
PROBE_TEXT = "Hello"
_LONGEST_LEASE_S = 86_400.0
_MOST_BYTES = 65_536  # of a body: the largest that is asked for has a few hundred
_Number = Annotated[int, Field(ge=0, lt=2**63)]
Body = TypeVar("Body", bound=BaseModel)


class LeaseBody(BaseModel):
    """`PUT /control/lease`. `ttl_s` counts from when this agent issued `nonce`."""

    model_config = ConfigDict(extra="forbid")

    nonce: str = Field(max_length=256)
    seq: tuple[_Number, _Number]
    verdict: Literal["open", "closed"]
    reasons: tuple[Annotated[str, Field(max_length=64)], ...] = Field(default=(), max_length=32)
    ttl_s: float = Field(ge=0, le=_LONGEST_LEASE_S, allow_inf_nan=False)


class ProbeBody(BaseModel):
    """`POST /control/probe`."""

    model_config = ConfigDict(extra="forbid")

    max_tokens: int = Field(default=1, ge=1, le=1024)


@dataclass(frozen=True, slots=True)
class Control:
    """What the control API answers from."""

    name: str
    engine_name: str
    meter: Meter
    leases: LeaseBook
    secret: str
    machine: Machine
    metrics: Metrics = field(default_factory=Metrics)
    loading: Loading = field(default_factory=Loading)

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [
            Route("/control/usage", guarded(self.usage), methods=["GET"]),
            Route("/control/lease", guarded(self.lease), methods=["PUT"]),
            Route("/control/status", guarded(self.status), methods=["GET"]),
            Route("/control/metrics", guarded(self.measures), methods=["GET"]),
            Route("/control/probe", guarded(self.probe), methods=["POST"]),
            Route("/control/bench", guarded(self.bench), methods=["POST"]),
        ]

    async def usage(self, request: Request) -> Response:
        """The ledger's totals, which only rise, and a nonce for the next lease."""
        self._authorise(request)
        ledger = self.meter.ledger
        labels = ledger.totals()
        last = self.meter.last_token_at
        return JSONResponse(
            {
                "ledger": ledger.uuid,
                "ledger_created_at": rfc3339(ledger.created_at),
                "as_of": rfc3339(self.meter.counted_at),
                "nonce": self.leases.issue_nonce(),
                **_counts(sum(labels.values(), Counts())),
                "busy_ms": ledger.busy_ms,
                "in_flight": self.meter.in_flight,
                "last_token_at": None if last is None else rfc3339(last),
                **self.machine.body(self._info),
                "labels": {label: _counts(counts) for label, counts in labels.items()},
            }
        )

    async def lease(self, request: Request) -> Response:
        """Take a lease, or answer 409 with the one in force."""
        self._authorise(request)
        body = _parsed(LeaseBody, await _body(request), "invalid_lease")
        before = self.leases.lease
        taken = self.leases.take(
            body.nonce, body.seq, is_open=body.verdict == "open", reasons=body.reasons, ttl_s=body.ttl_s
        )
        if taken and (before is None or before.is_open != (body.verdict == "open")):
            log.info("lease", verdict=body.verdict, reasons=body.reasons, seq=body.seq)
        return JSONResponse(self._lease_body(), 200 if taken else 409)

    async def status(self, request: Request) -> Response:
        """What this agent is and how it does."""
        self._authorise(request)
        ledger, scheduler = self.meter.ledger, self.meter.scheduler
        info = self._info
        return JSONResponse(
            {
                "name": self.name,
                "version": version("mtok"),
                "loaded": info is not None,
                **_engine_body(self.engine_name, self.loading.text, info),
                "lease": self._lease_body(),
                "queue": max(scheduler.in_flight - info.max_batch, 0) if info else 0,
                "in_flight": self.meter.in_flight,
                "heartbeat_age_s": round(scheduler.heartbeat_age_s, 3),
                **self.machine.body(info),
                "ledger": _ledger_body(ledger),
            }
        )

    async def measures(self, request: Request) -> Response:
        """What `/metrics` of the public API says, with the totals of every label."""
        self._authorise(request)
        return self.metrics.answer(request, self.meter, self.leases)

    async def probe(self, request: Request) -> Response:
        """Generate a token or a few under a reserved label: is the first one there, and after how long?"""
        self._authorise(request)
        raw = await _body(request)
        body = _parsed(ProbeBody, raw, "invalid_probe") if raw else ProbeBody()
        engine = self.meter.scheduler.engine
        if engine is None:
            raise ApiError(503, "The model is being loaded.", "loading", retry_after_s=5)
        if self.leases.closed() is not None:
            return JSONResponse(self._lease_body(), 409)
        wanted = GenRequest(new_request_id(), engine.tokens.encode(PROBE_TEXT), body.max_tokens, temperature=0)
        job = self.meter.begin([wanted], Caller(PROBE_LABEL, "probe", engine.info.model))
        return JSONResponse(await _first_token(job))

    async def bench(self, request: Request) -> Response:
        """Measure the engine; a line of JSON for each step, the result in the last one."""
        self._authorise(request)
        raw = await _body(request)
        plan = _parsed(Plan, raw, "invalid_bench") if raw else Plan()
        engine = self.meter.scheduler.engine
        if engine is None:
            raise ApiError(503, "The model is being loaded.", "loading", retry_after_s=5)
        bench = Bench(engine, self.meter, self.leases, plan)
        try:
            bench.check()
        except BenchStopped as error:
            raise ApiError(409, error.problem, error.code) from None
        return StreamingResponse(bench_lines(bench, self.machine.capacity), media_type=NDJSON)

    @property
    def _info(self) -> EngineInfo | None:
        """What the engine says of itself, once it is loaded."""
        engine = self.meter.scheduler.engine
        return None if engine is None else engine.info

    def _authorise(self, request: Request) -> None:
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(secret.encode(), self.secret.encode()):
            raise ApiError(401, "The control secret is missing or wrong.", "invalid_control_secret")

    def _lease_body(self) -> dict[str, Any]:
        lease = self.leases.lease
        if lease is None:
            return {
                "seq": None,
                "verdict": "closed",
                "reasons": ["no_lease"],
                "expires_in_s": 0.0,
                "age_s": None,
            }
        return {
            "seq": list(lease.seq),
            "verdict": "open" if lease.is_open else "closed",
            "reasons": list(lease.reasons),
            "expires_in_s": round(self.leases.left_s, 3),
            "age_s": round(self.leases.age_s or 0.0, 3),
        }


async def _first_token(job: Job) -> dict[str, int]:
    """Run a probe to its end; its entry is on disk before the answer."""
    began_s = time.monotonic()
    first_s: float | None = None
    try:
        async for event in job.events():
            if isinstance(event, Delta) and event.tokens and first_s is None:
                first_s = time.monotonic()
            elif isinstance(event, Failed):
                await job.settle()
                raise ApiError(500, event.problem, "engine_failed")
            elif isinstance(event, Finished):
                job.delivered_tokens = event.usage.completion_tokens
                await job.settle()
                first_token_ms = round(((first_s or time.monotonic()) - began_s) * 1000)
                return {"completion_tokens": event.usage.completion_tokens, "first_token_ms": first_token_ms}
        raise AssertionError
    finally:
        job.abandon()


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise ApiError(413, f"The body is over {_MOST_BYTES} bytes.", "body_too_large")
    return bytes(body)


def _parsed(kind: type[Body], raw: bytes, code: str) -> Body:
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        fault = error.errors()[0]
        param = ".".join(str(part) for part in fault["loc"])
        raise ApiError(400, f"{param}: {fault['msg']}", code, param) from None


def _engine_body(name: str, doing: str, info: EngineInfo | None) -> dict[str, Any]:
    """What the engine says of itself; only its name is known until it is loaded."""
    return {
        "engine": {
            "name": info.name if info else name,
            "version": info.version if info else None,
            "label": info.label if info else f"{name} engine, {doing}",
        },
        "device": info.device if info else None,
        "attention": info.attention if info else None,
        "model": info.model if info else None,
        "quantisation": info.quantisation if info else None,
        "context_tokens": info.context_tokens if info else None,
        "max_batch": info.max_batch if info else None,
    }


def _ledger_body(ledger: Ledger) -> dict[str, Any]:
    """Which ledger it is, and what its agent's deaths may have cost: of each request, its last second at most."""
    deaths = ledger.deaths
    return {
        "uuid": ledger.uuid,
        "path": str(ledger.path),
        "aborted_at_start": ledger.aborted,
        "deaths": {
            "times": deaths.times,
            "requests": deaths.requests,
            "last_found_at": deaths.last_found_at,
            "lost_at_most_s": LOST_AT_MOST_S,
        },
    }


def _counts(counts: Counts) -> dict[str, int]:
    return {
        "prompt_tokens": counts.prompt_tokens,
        "cached_tokens": counts.cached_tokens,
        "completion_tokens": counts.completion_tokens,
        "delivered_tokens": counts.delivered_tokens,
        "suppressed_tokens": counts.suppressed_tokens,
        "draft_tokens": counts.draft_tokens,
        "requests": counts.requests,
    }
