"""Figures for Prometheus: the ledger's totals as counters, by label, and how the agent does."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CLASSIC
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from agent.gpu import GpuFigures
from agent.lease import LeaseBook
from agent.machine import Machine
from agent.meter import Meter
from agent.traces import Traces
from store.unknown import Unknown

_COUNTS = {
    "requests": "Requests that reached the engine, by the ledger.",
    "prompt_tokens": "Tokens of prompts, cached ones among them.",
    "cached_tokens": "Tokens of prompts that were known already.",
    "completion_tokens": "Tokens generated.",
    "delivered_tokens": "Tokens sent to clients.",
}


_GPU: dict[str, tuple[str, Callable[[GpuFigures], float | None]]] = {
    "utilisation_ratio": ("Share of time with work.", lambda one: _over(one.utilisation_percent, 100)),
    "memory_used_bytes": ("Memory in use.", lambda one: one.memory_used_bytes),
    "memory_bytes": ("Memory there is.", lambda one: one.memory_total_bytes),
    "power_watts": ("Power drawn.", lambda one: _over(one.power_mw, 1000)),
    "temperature_celsius": ("Temperature.", lambda one: one.temperature_c),
}


_UNITS = frozenset({"tokens", "seconds", "ratio", "bytes", "watts", "celsius"})


class Metrics:
    """What is counted beside the ledger, and the text of it all."""

    def __init__(self, machine: Machine | None = None, traces: Traces | None = None) -> None:
        self._machine, self._traces = machine, traces
        self._refused: Counter[str] = Counter()

    def refuse(self, code: str) -> None:
        """Count a request that was answered with an error, by its code."""
        self._refused[code] += 1

    def answer(self, request: Request, meter: Meter, leases: LeaseBook, label: str | None = None) -> Response:
        """Everything as it stands now, in the format that was asked for; totals of `label`, or of all with None."""
        registry = CollectorRegistry()
        registry.register(_Now(meter, leases, label, self._refused, self._machine))
        registry.register(_Spans(self._traces))
        is_open = "application/openmetrics-text" in request.headers.get("Accept", "")
        encoded: Callable[[CollectorRegistry], bytes] = generate_openmetrics if is_open else generate_latest
        return Response(encoded(registry), headers={"Content-Type": OPENMETRICS if is_open else CLASSIC})


class _Now(Collector):
    """The state at this instant."""

    def __init__(
        self,
        meter: Meter,
        leases: LeaseBook,
        label: str | None,
        refused: Counter[str],
        machine: Machine | None,
    ) -> None:
        self._meter, self._leases, self._label, self._refused = meter, leases, label, refused
        self._machine = machine

    def collect(self) -> Iterator[Metric]:
        """Every figure."""
        yield from self._totals()
        scheduler = self._meter.scheduler
        what = "Time with at least one active sequence."
        busy = CounterMetricFamily("mtok_agent_busy_seconds", what, unit="seconds")
        busy.add_metric([], self._meter.ledger.busy_ms / 1000)
        yield busy
        refused = CounterMetricFamily("mtok_agent_refused", "Requests answered with an error.", labels=["code"])
        for code, times in self._refused.items():
            refused.add_metric([code], times)
        yield refused
        gauges = {
            "in_flight": ("Requests whose entry is not ended.", self._meter.in_flight),
            "sequences": ("Sequences that the engine has not finished.", scheduler.in_flight),
            "heartbeat_age_seconds": ("Since the engine's thread last went round.", scheduler.heartbeat_age_s),
            "lease_seconds": ("For how long serving is still allowed.", self._leases.left_s),
        }
        for name, (what, value) in gauges.items():
            gauge = GaugeMetricFamily(f"mtok_agent_{name}", what, unit=_unit(name))
            gauge.add_metric([], value)
            yield gauge
        if self._machine is not None:
            yield from self._of_machine(self._machine)

    def _of_machine(self, machine: Machine) -> Iterator[Metric]:
        """What is not known has no sample."""
        engine = self._meter.scheduler.engine
        found = machine.capacity.now(None if engine is None else engine.info)
        what = "Completion tokens per second that a benchmark has sustained."
        capacity = GaugeMetricFamily("mtok_agent_capacity_tokens_per_second", what, labels=())
        if not isinstance(found, Unknown):
            capacity.add_metric([], found.capacity_tokens_per_s)
        yield capacity
        gpus = machine.gpus.now()
        gpus = () if isinstance(gpus, Unknown) else gpus
        for name, (what, figure) in _GPU.items():
            gauge = GaugeMetricFamily(f"mtok_agent_gpu_{name}", what, labels=["gpu", "name"], unit=_unit(name))
            for gpu in gpus:
                if (value := figure(gpu)) is not None:
                    gauge.add_metric([str(gpu.index), gpu.name], value)
            yield gauge

    def _totals(self) -> Iterator[Metric]:
        totals = self._meter.ledger.totals()
        for name, what in _COUNTS.items():
            family = CounterMetricFamily(f"mtok_agent_{name}", what, labels=["label"], unit=_unit(name))
            for label, counts in totals.items():
                if self._label in (None, label):
                    family.add_metric([label], getattr(counts, name))
            yield family


class _Spans(Collector):
    """Traces on their way out; both are zero where nothing is traced."""

    def __init__(self, traces: Traces | None) -> None:
        self._traces = traces

    def collect(self) -> Iterator[Metric]:
        """What became of the spans."""
        exported, dropped = (self._traces.exported, self._traces.dropped) if self._traces else (0, 0)
        yield CounterMetricFamily("mtok_agent_spans_exported", "Spans that the receiver has taken.", exported)
        yield CounterMetricFamily("mtok_agent_spans_dropped", "Spans that were not delivered.", dropped)


def _unit(name: str) -> str:
    """The unit that a name ends with, if it ends with one."""
    unit = name.rpartition("_")[2]
    return unit if unit in _UNITS else ""


def _over(value: int | None, unit: int) -> float | None:
    return None if value is None else value / unit
