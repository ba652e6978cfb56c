"""The control API, for the collector alone: usage, lease, status. On its own address, with its own secret."""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.engine.protocol import Engine
from agent.lease import LeaseBook
from agent.ledger import Counts
from agent.meter import Meter
from agent.openai import ApiError
from agent.routes import guarded

_LONGEST_LEASE_S = 86_400.0


class LeaseBody(BaseModel):
    """`PUT /control/lease`. `ttl_s` counts from when this agent issued `nonce`."""

    model_config = ConfigDict(extra="forbid")

    nonce: str
    seq: tuple[int, int]
    verdict: Literal["open", "closed"]
    reasons: tuple[str, ...] = ()
    ttl_s: float = Field(ge=0, le=_LONGEST_LEASE_S, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Control:
    """What the control API answers from."""

    name: str
    engine: Engine
    meter: Meter
    leases: LeaseBook
    secret: str

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [
            Route("/control/usage", guarded(self.usage), methods=["GET"]),
            Route("/control/lease", guarded(self.lease), methods=["PUT"]),
            Route("/control/status", guarded(self.status), methods=["GET"]),
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
                "ledger_created_at": _instant(ledger.created_at),
                "as_of": _instant(datetime.now(UTC)),
                "nonce": self.leases.issue_nonce(),
                **_counts(sum(labels.values(), Counts())),
                "busy_ms": ledger.busy_ms,
                "in_flight": self.meter.in_flight,
                "last_token_at": None if last is None else _instant(last),
                "labels": {label: _counts(counts) for label, counts in labels.items()},
            }
        )

    async def lease(self, request: Request) -> Response:
        """Take a lease, or answer 409 with the one in force."""
        self._authorise(request)
        try:
            body = LeaseBody.model_validate_json(await request.body())
        except ValidationError as error:
            fault = error.errors()[0]
            param = ".".join(str(part) for part in fault["loc"])
            raise ApiError(400, f"{param}: {fault['msg']}", "invalid_lease", param) from None
        taken = self.leases.take(
            body.nonce, body.seq, is_open=body.verdict == "open", reasons=body.reasons, ttl_s=body.ttl_s
        )
        return JSONResponse(self._lease_body(), 200 if taken else 409)

    async def status(self, request: Request) -> Response:
        """What this agent is and how it does."""
        self._authorise(request)
        info, ledger = self.engine.info, self.meter.ledger
        scheduler = self.meter.scheduler
        return JSONResponse(
            {
                "name": self.name,
                "version": version("mtok"),
                "engine": {"name": info.name, "version": info.version, "label": info.label},
                "device": info.device,
                "attention": info.attention,
                "model": info.model,
                "quantisation": info.quantisation,
                "context_tokens": info.context_tokens,
                "max_batch": info.max_batch,
                "lease": self._lease_body(),
                "queue": max(scheduler.in_flight - info.max_batch, 0),
                "in_flight": self.meter.in_flight,
                "heartbeat_age_s": round(scheduler.heartbeat_age_s, 3),
                "gpu": {"unknown": "this engine uses no GPU"},
                "ledger": {"uuid": ledger.uuid, "path": str(ledger.path), "aborted_at_start": ledger.aborted},
            }
        )

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


def _counts(counts: Counts) -> dict[str, int]:
    return {
        "prompt_tokens": counts.prompt_tokens,
        "cached_tokens": counts.cached_tokens,
        "completion_tokens": counts.completion_tokens,
        "delivered_tokens": counts.delivered_tokens,
        "requests": counts.requests,
    }


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
