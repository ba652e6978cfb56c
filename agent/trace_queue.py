"""Spans on their way out: a bounded queue and a thread of its own, so that no request ever waits for a receiver."""

import threading
from collections import deque

import structlog
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = structlog.get_logger()
_BATCH = 512
_EVERY_S = 1.0


class SpanQueue(SpanProcessor):
    """Hands spans on in batches. Whatever does not fit, or cannot be delivered, is dropped and counted."""

    def __init__(self, exporter: SpanExporter, most: int, every_s: float = _EVERY_S) -> None:
        self.exported = self.dropped = 0
        self._exporter, self._most, self._every_s = exporter, most, every_s
        self._waiting: deque[ReadableSpan] = deque()
        self._more = threading.Condition()
        self._is_stopping = False
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, if there is room."""
        with self._more:
            if self._is_stopping or len(self._waiting) >= self._most:
                self.dropped += 1
                return
            self._waiting.append(span)
            if len(self._waiting) >= _BATCH:
                self._more.notify()

    def stop(self, within_s: float) -> None:
        """Deliver what waits, but for no longer than so; the rest is dropped."""
        with self._more:
            self._is_stopping = True
            self._more.notify()
        self._thread.join(within_s)
        self._exporter.shutdown()

    def _run(self) -> None:
        while True:
            with self._more:
                if not self._is_stopping and len(self._waiting) < _BATCH:
                    self._more.wait(self._every_s)
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
                if not batch and self._is_stopping:
                    return
            if batch:
                self._deliver(batch)

    def _deliver(self, batch: list[ReadableSpan]) -> None:
        try:
            is_taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # whatever it is, serving goes on
            log.exception("traces failed")
            is_taken = False
        with self._more:
            if is_taken:
                self.exported += len(batch)
            else:
                self.dropped += len(batch)
        if is_taken is self._is_failing:
            self._is_failing = not is_taken
            log.warning("traces are not delivered" if self._is_failing else "traces are delivered again")
