"""A span for each request, with the attribute names of OpenTelemetry's GenAI conventions; never a word of its text.

Names: open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md, read on 2026-11-25 (Development).
They are a client's, and these spans the server's: hence of kind SERVER. The SDK is loaded only for `[otlp]`.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import structlog

from agent.answers import FINISH
from agent.engine.protocol import Outcome
from agent.entries import Entry
from agent.settings import AgentSettings
from store.addresses import split_address
from store.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from agent.job import Job
    from agent.trace_queue import SpanQueue

log = structlog.get_logger()
PROVIDER = "mtok"
OPERATIONS = {"chat.completions": "chat", "completions": "text_completion"}
_ERRORS = {Outcome.FAILED: "engine_failed", Outcome.CANCELLED: "client_disconnected"}
_IDS = {"chat.completions": "chatcmpl-", "completions": "cmpl-"}  # as a client reads them
_DELIVERS_WITHIN_S = 5.0
_STOPS_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, and when: what its span has beyond its entry in the ledger."""

    operation: str
    label: str
    began_ns: int
    parent: Mapping[str, str]
    is_stream: bool = False
    choices: int = 1
    max_tokens: int = 0

    def asking(self, *, is_stream: bool, choices: int, max_tokens: int) -> "Origin":
        """The same, once its body is understood."""
        return replace(self, is_stream=is_stream, choices=choices, max_tokens=max_tokens)


class Traces:
    """Makes spans and hands them to a queue."""

    def __init__(self, tracer: "Tracer", queue: "SpanQueue", server: tuple[str, int]) -> None:
        self._tracer, self._queue = tracer, queue
        self._server = {"server.address": server[0], "server.port": server[1]}

    @property
    def exported(self) -> int:
        """Spans that the receiver has taken."""
        return self._queue.exported

    @property
    def dropped(self) -> int:
        """Spans that were not delivered."""
        return self._queue.dropped

    def origin(self, endpoint: str, label: str, headers: Mapping[str, str]) -> Origin:
        """Of a request that has just come; its `traceparent` makes our span a child of the caller's."""
        parent = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        return Origin(OPERATIONS[endpoint], label, time.time_ns(), parent)

    def refused(self, origin: Origin, model: str, code: str) -> None:
        """A request that no engine saw."""
        self._span(origin, model, {}, time.time_ns(), code)

    def ended(self, job: "Job", origin: Origin) -> None:
        """A request whose last entry is on disk."""
        entry = job.entry()
        first_s = _since(origin, job.first_token_at) if origin.is_stream else None
        more: dict[str, Any] = {
            **_of_entry(entry),
            "gen_ai.response.finish_reasons": [FINISH.get(one, "error") for one in job.outcomes],
            **({} if first_s is None else {"gen_ai.response.time_to_first_chunk": first_s}),
        }
        end_ns = time.time_ns() if entry.ended_at is None else _ns(entry.ended_at)
        error = _ERRORS.get(entry.outcome) if entry.outcome else None
        self._span(origin, entry.model, more, end_ns, job.failure.code if job.failure is not None else error)

    def stop(self) -> None:
        """Deliver what waits, for two seconds at most."""
        self._queue.stop(_STOPS_WITHIN_S)

    def _span(self, origin: Origin, model: str, more: Mapping[str, Any], end_ns: int, error: str | None) -> None:
        try:
            self._make(origin, model, more, max(end_ns, origin.began_ns), error)
        except Exception:  # a span is no reason for a request to fail
            log.exception("span not made")

    def _make(self, origin: Origin, model: str, more: Mapping[str, Any], end_ns: int, error: str | None) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        attributes: dict[str, Any] = {**_of_origin(origin, model), **self._server, **more}
        span = self._tracer.start_span(
            f"{origin.operation} {model}",
            context=TraceContextTextMapPropagator().extract(origin.parent),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=origin.began_ns,
        )
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_ns)


def open_traces(settings: AgentSettings) -> Traces | None:
    """What the settings ask for; None where they ask for no traces.

    Raises:
        SettingsError: the headers cannot be read, or the packages are not installed.
    """
    otlp, where = settings.otlp, f"{settings.path}: otlp"
    if otlp.endpoint is None:
        return None
    headers = otlp.headers(f"{where}.headers", settings.path.parent)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import DEFAULT_ON

        from agent.trace_queue import SpanQueue
    except ImportError:
        raise SettingsError(where, "OpenTelemetry is not installed", "pip install 'mtok[otlp]'") from None
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)  # the queue says it once, not each second
    said = {
        "service.name": "mtok-agent",
        "service.version": version("mtok"),
        "service.instance.id": settings.name,
    }
    provider = TracerProvider(sampler=DEFAULT_ON, resource=Resource.create(said), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(otlp.url, headers=headers, timeout=_DELIVERS_WITHIN_S)
    queue = SpanQueue(exporter, otlp.most_queued)
    provider.add_span_processor(queue)
    return Traces(provider.get_tracer("mtok", version("mtok")), queue, split_address(settings.public_address))


def _of_origin(origin: Origin, model: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.operation.name": origin.operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model,
        "mtok.label": origin.label,
    }
    if origin.is_stream:
        found["gen_ai.request.stream"] = True
    if origin.choices != 1:
        found["gen_ai.request.choice.count"] = origin.choices
    if origin.max_tokens:
        found["gen_ai.request.max_tokens"] = origin.max_tokens
    return found


def _of_entry(entry: Entry) -> dict[str, Any]:
    counts = entry.counts
    return {
        "gen_ai.response.id": f"{_IDS.get(entry.endpoint, '')}{entry.id}",
        "gen_ai.response.model": entry.model,
        "gen_ai.usage.input_tokens": counts.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": counts.cached_tokens,
        "gen_ai.usage.output_tokens": counts.completion_tokens,
        "mtok.delivered_tokens": counts.delivered_tokens,
        "mtok.outcome": str(entry.outcome),
    }


def _since(origin: Origin, at: datetime | None) -> float | None:
    return None if at is None else max(_ns(at) - origin.began_ns, 0) / 10**9


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 10**6) * 1000
