"""`mtok agent bench`: through a running agent, or with the engine opened for it; then as a table or as JSON."""

import http.client
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop
from pydantic import ValidationError

from agent.bench import Bench, Plan
from agent.bench_stream import bench_lines
from agent.capacity import Capacity
from agent.engine.protocol import Engine
from agent.errors import BenchStopped, LedgerInUse
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.meter import Meter
from agent.scheduler import Scheduler
from agent.settings import AgentSettings
from store.addresses import split_address
from store.capacity import implied_nusd, per_kilosecond
from store.clock import SystemClock
from store.errors import AmountError, SettingsError
from store.money import display_usd, format_nusd, parse_nusd

_SILENT_S = 300.0  # a batch on a slow engine says nothing for its runs and the reading of its prompts
_OWN_LEASE_S = 86_400.0
_BY_A_RATE = "implied by a quoted rate, not a bill"


def planned(
    batches: list[int] | None,
    runs: int,
    seconds: float,
    prompt_tokens: int,
    completion_tokens: int,
    *,
    force: bool,
) -> Plan:
    """What the command's options ask for.

    Raises:
        SettingsError: more than can be asked for.
    """
    chosen = {"runs": runs, "seconds": seconds, "prompt_tokens": prompt_tokens, "force": force}
    try:
        return Plan(batches=tuple(batches or ()), completion_tokens=completion_tokens, **chosen)
    except ValidationError as error:
        fault = error.errors()[0]
        raise SettingsError(f"bench: {fault['loc'][0]}", fault["msg"], "ask for less") from None


def bench(
    settings: AgentSettings, plan: Plan, open_engine: Callable[[], Engine], say: Callable[[str], None]
) -> dict[str, Any]:
    """Run a benchmark wherever it can be run; `say` hears of its progress. Its result, as JSON has it.

    Raises:
        AgentError: others are served, no lease, no engine, or no ledger.
        SettingsError: bad secrets.
    """
    try:
        ledger = Ledger(settings.beside(settings.ledger))
    except LedgerInUse:
        say("the agent runs: measuring through its control API")
        lines = _asked(settings, plan)
        return _result(lines, say)
    say("no agent runs: opening the engine for this benchmark")
    try:
        return uvloop.run(_alone(settings, plan, open_engine, ledger, say))
    finally:
        ledger.close()


async def _alone(
    settings: AgentSettings,
    plan: Plan,
    open_engine: Callable[[], Engine],
    ledger: Ledger,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """With an engine and a lease of its own that end with it: nobody else is served, every token is on record."""
    leases, scheduler, limits = LeaseBook(SystemClock()), Scheduler(open_engine), settings.limits
    meter = Meter(ledger, scheduler, leases, limits.max_in_flight_s, limits.max_request_s)
    leases.take(leases.issue_nonce(), (0, 0), is_open=True, reasons=(), ttl_s=_OWN_LEASE_S)
    engine = await scheduler.start()
    meter.start()
    try:
        lines = bench_lines(Bench(engine, meter, leases, plan), Capacity(ledger.path))
        return _result([line async for line in _heard(lines, say)], lambda _text: None)
    finally:
        await meter.stop()
        scheduler.stop()


async def _heard(lines: AsyncIterator[bytes], say: Callable[[str], None]) -> AsyncIterator[bytes]:
    async for line in lines:
        if (progress := json.loads(line).get("progress")) is not None:
            say(progress)
        yield line


def _result(lines: Iterator[bytes] | list[bytes], say: Callable[[str], None]) -> dict[str, Any]:
    for line in lines:
        body = json.loads(line)
        if "error" in body:
            raise BenchStopped(body["error"]["message"], body["error"]["code"])
        if "result" in body:
            found: dict[str, Any] = body["result"]
            return found
        say(body["progress"])
    raise BenchStopped("the agent ended before it was over; its log has the reason", "cut_short")


def _asked(settings: AgentSettings, plan: Plan) -> Iterator[bytes]:
    """The lines of the running agent's answer."""
    headers = {"Authorization": f"Bearer {settings.control_secret()}", "Content-Type": "application/json"}
    connection = _connection(settings)
    try:
        connection.request("POST", "/control/bench", plan.model_dump_json(), headers)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise BenchStopped(*_refusal(answer))
        while line := answer.readline():
            yield line
    except (OSError, http.client.HTTPException) as error:
        problem = f"the agent's control API at {settings.control_address} does not answer: {error}"
        raise BenchStopped(problem, "unreachable") from None
    finally:
        connection.close()


def _refusal(answer: http.client.HTTPResponse) -> tuple[str, str]:
    try:
        error = json.loads(answer.read())["error"]
        return str(error["message"]), str(error["code"])
    except (ValueError, KeyError, TypeError):
        return f"the agent answers HTTP {answer.status}", "refused"


def _connection(settings: AgentSettings) -> http.client.HTTPConnection:
    path = settings.control_socket
    if path is not None:
        return _UnixConnection(path)
    host, port = split_address(settings.control_address)
    tls = settings.tls_files() if settings.control_public else None
    if tls is None:
        return http.client.HTTPConnection(host, port, timeout=_SILENT_S)
    context = ssl.create_default_context(cafile=tls[0])
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the very certificate that the agent has been given
    context.check_hostname = False
    return http.client.HTTPSConnection(host, port, timeout=_SILENT_S, context=context)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SILENT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to it."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SILENT_S)
        self.sock.connect(str(self._path))


def quoted_rate(usd_per_hour: str | None) -> int | None:
    """A rate in nano-dollars an hour, as it was typed.

    Raises:
        SettingsError: it is no amount above zero.
    """
    if usd_per_hour is None:
        return None
    try:
        rate = parse_nusd(usd_per_hour)
    except AmountError as error:
        raise SettingsError("--usd-per-hour", str(error), "write one such as 2.00") from None
    if rate <= 0:
        raise SettingsError(f"--usd-per-hour {usd_per_hour}", "is not above zero", "write one such as 2.00")
    return rate


def with_price(result: dict[str, Any], rate_nusd: int | None) -> dict[str, Any]:
    """The result, with what a quoted rate (nano-dollars an hour) implies at full load."""
    if rate_nusd is None:
        return result
    implied = implied_nusd(rate_nusd, per_kilosecond(result["capacity_tokens_per_s"]))
    said = {
        "usd_per_mtok_output": format_nusd(implied),
        "usd_per_hour": format_nusd(rate_nusd),
        "basis": _BY_A_RATE,
    }
    return {**result, "implied": said}


def table(result: dict[str, Any]) -> str:
    """The result for a person."""
    attention = result["attention"] or "plain"
    lines = [
        f"{result['model']}, {result['quantisation']}, attention {attention}, {result['device']}",
        f"{result['engine']} ({result['engine_version']}), mtok {result['mtok_version']}",
        f"prompts of {result['prompt_tokens']} tokens, answers of {result['completion_tokens']}; "
        f"{result['runs']} runs of {result['seconds']:g} s each, their median",
        "",
        f"{'batch':>8} {'tokens/s':>12} {'slowest':>12} {'fastest':>12}",
    ]
    lines += [_row(str(one["batch"]), one) for one in result["batches"]]
    lines += [f"{one['batch']:>8} left out: {one['why']}" for one in result["left_out"]]
    lines += [_row("prefill", result["prefill"]), ""]
    word = "best" if result["not_kept"] else "capacity"
    best = f"{result['capacity_tokens_per_s']:,.1f} completion tokens/s, at batch {result['capacity_batch']}"
    lines.append(f"{word} {best}")
    if result["not_kept"]:
        lines.append(f"not kept: {result['not_kept']}")
    if implied := result.get("implied"):
        price = display_usd(parse_nusd(implied["usd_per_mtok_output"]), 4)
        rate = display_usd(parse_nusd(implied["usd_per_hour"]))
        lines.append(f"{price} per Mtok output at full load, at {rate} an hour: {_BY_A_RATE}")
    return "\n".join(lines)


def _row(name: str, rate: dict[str, Any]) -> str:
    return f"{name:>8} {rate['tokens_per_s']:>12,.1f} {rate['slowest']:>12,.1f} {rate['fastest']:>12,.1f}"
