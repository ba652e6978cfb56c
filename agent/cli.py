"""`mtok agent …`: the headless side, on a GPU host."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from agent.engine.protocol import Engine
from agent.settings import AgentSettings
from store.commandline import run_command

app = typer.Typer(
    name="mtok agent",
    help="The headless side: serves a model, counts every token, stops without a lease.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys = typer.Typer(help="Keys of the public API: shown once, stored as SHA-256.", no_args_is_help=True)
app.add_typer(keys, name="key")
Config = Annotated[Path, typer.Option("--config", metavar="PATH", help="The agent's settings file.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; every error is one line on stderr and an exit code."""
    return run_command(app, sys.argv[1:] if argv is None else argv, "mtok agent")


@app.command()
def serve(config: Config = Path("agent.toml")) -> None:
    """Serve until SIGTERM. The OpenAI API is on one address, the control API on another."""
    _one_thread()
    import uvloop

    from agent.ledger import Ledger
    from agent.loading import Loading
    from agent.server import serve
    from agent.settings import load_agent_settings
    from agent.sockets import Sockets, allow_connections
    from agent.traces import open_traces
    from store.logs import configure_logs

    configure_logs()
    settings = load_agent_settings(config)
    settings.control_secret()
    settings.keys()
    settings.tls_files()
    sockets = Sockets(settings)
    allow_connections(settings.limits.max_connections)
    ledger, loading = Ledger(settings.beside(settings.ledger)), Loading()
    try:
        traces = open_traces(settings)
        opened = partial(_opened, settings, loading.say)
        uvloop.run(serve(settings, opened, ledger, sockets, loading, traces))
    finally:
        ledger.close()


@app.command()
def check(
    config: Config = Path("agent.toml"),
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="Only what this engine needs; no settings.")
    ] = None,
) -> None:
    """Whether it could serve. A line each: settings, secrets, addresses, storage, ledger, model."""
    from agent.check import check_agent, check_engine

    if engine is not None:
        check_engine(engine)
    else:
        check_agent(config)


@app.command()
def bench(
    config: Config = Path("agent.toml"),
    batch: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Only these; not kept then.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=20, help="Of each batch; their median counts.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.01, max=60, help="How long a run takes.")] = 3.0,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Of each prompt.")] = 128,
    completion_tokens: Annotated[int, typer.Option(min=2, help="Of each answer, at most.")] = 256,
    force: Annotated[bool, typer.Option("--force", help="Also while others are served; not kept then.")] = False,
    usd_per_hour: Annotated[str | None, typer.Option(metavar="USD", help="A quoted rate: what it implies.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Measure prefill and throughput by batch. The capacity that follows is kept, for the figure `load`.

    A running agent is asked through its control API: it needs an open lease, and refuses while others are served;
    a request that comes in meanwhile is served, and ends the benchmark. Where no agent runs, the engine is opened
    for it. Either way each token is really generated and on record in the ledger, under the label `mtok.bench`.
    The result lies beside the ledger, and holds while engine, model, quantisation, attention, device and the most
    sequences at once stay as they are.
    """
    _one_thread()
    from agent import bench_command
    from agent.settings import load_agent_settings

    settings, rate = load_agent_settings(config), bench_command.quoted_rate(usd_per_hour)
    plan = bench_command.planned(batch, runs, seconds, prompt_tokens, completion_tokens, force=force)
    said = bench_command.bench(
        settings, plan, partial(_opened, settings), lambda text: print(text, file=sys.stderr)
    )
    result = bench_command.with_price(said, rate)
    print(json.dumps(result) if as_json else bench_command.table(result))


@app.command()
def requests(
    config: Config = Path("agent.toml"),
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the newest.")] = 20,
    tail: Annotated[bool, typer.Option("--tail", help="Go on: each request as it ends.")] = False,
    as_json: Json = False,
) -> None:
    """The newest entries of the ledger, also beside a running agent."""
    from agent.requests import HEADING, RequestLine, follow_requests, newest_requests
    from agent.settings import load_agent_settings

    def show(line: RequestLine) -> None:
        print(json.dumps(line.body()) if as_json else line.text(), flush=tail)

    settings = load_agent_settings(config)
    path = settings.beside(settings.ledger)
    lines = newest_requests(path, last)
    if not as_json:
        print(HEADING)
    for line in lines:
        show(line)
    if tail:
        for line in follow_requests(path):
            show(line)


@keys.command("create")
def create(
    label: Annotated[str, typer.Argument(help="Whose usage it is; several keys may share one.")],
    config: Config = Path("agent.toml"),
    tokens_per_day: Annotated[int | None, typer.Option(min=1, help="Prompt and completion, a UTC day.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Make a key and print it: it is stored nowhere. A running agent takes it at once."""
    from agent.keys import create_key
    from agent.settings import load_agent_settings

    settings = load_agent_settings(config)
    path = settings.beside(settings.keys_file)
    print(create_key(path, label, tokens_per_day=tokens_per_day, requests_per_minute=requests_per_minute))


@keys.command("list")
def list_(config: Config = Path("agent.toml"), as_json: Json = False) -> None:
    """Every key's label, the beginning of its SHA-256, and its limits."""
    from agent.keys import read_keys
    from agent.settings import load_agent_settings

    settings = load_agent_settings(config)
    for key in read_keys("keys", settings.beside(settings.keys_file)):
        limits = {"tokens_per_day": key.tokens_per_day, "requests_per_minute": key.requests_per_minute}
        if as_json:
            print(json.dumps({"label": key.label, "sha256": key.sha256, **limits}))
        else:
            given = ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None)
            print(f"{key.label:<24} {key.sha256[:12]}  {given or 'no limits'}")


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="A label: all its keys. Or the beginning of one key's SHA-256.")],
    config: Config = Path("agent.toml"),
) -> None:
    """Remove keys. A running agent refuses them at once; what they have under way goes on."""
    from agent.keys import revoke_key
    from agent.settings import load_agent_settings

    settings = load_agent_settings(config)
    gone = revoke_key(settings.beside(settings.keys_file), name)
    print(f"revoked {gone} {'key' if gone == 1 else 'keys'}", file=sys.stderr)


def _one_thread() -> None:
    """Called before numpy is loaded: its matrices are small, and several agents share the cores of one machine."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _opened(settings: AgentSettings, say: Callable[[str], None] = lambda _doing: None) -> Engine:
    """The engine that the settings name, with its journal where they ask for one."""
    from agent.engine.open import open_engine

    engine = open_engine(settings, say)
    if settings.engine_journal is None:
        return engine
    from agent.engine.journal import JournaledEngine

    return JournaledEngine(engine, settings.beside(settings.engine_journal))
