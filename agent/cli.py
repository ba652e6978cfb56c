"""`mtok agent …`: the headless side, on a GPU host."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from store.commandline import run_command

app = typer.Typer(
    name="mtok agent",
    help="The headless side: serves a model, counts every token, stops without a lease.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Config = Annotated[Path, typer.Option("--config", metavar="PATH", help="The agent's settings file.")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; every error is one line on stderr and an exit code."""
    return run_command(app, sys.argv[1:] if argv is None else argv)


@app.callback()
def _root() -> None:
    """Keep `serve` a command of its own, however few there are."""


@app.command()
def serve(config: Config = Path("agent.toml")) -> None:
    """Serve until SIGTERM: the OpenAI API on one address, the control API on another."""
    # before numpy: its matrices are small, and several agents share the cores of one machine
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import uvloop

    from agent.engine.open import open_engine
    from agent.ledger import Ledger
    from agent.server import serve
    from agent.settings import load_agent_settings
    from agent.sockets import Sockets
    from store.logs import configure_logs

    configure_logs()
    settings = load_agent_settings(config)
    settings.control_secret()
    settings.keys()
    settings.tls_files()
    sockets = Sockets(settings)
    ledger = Ledger(settings.beside(settings.ledger))
    try:
        uvloop.run(serve(settings, lambda: open_engine(settings), ledger, sockets))
    finally:
        ledger.close()


@app.command()
def check(config: Config = Path("agent.toml")) -> None:
    """Whether it could serve: settings, secrets, addresses, model, ledger; one line each."""
    from agent.engine.open import open_engine
    from agent.ledger import Ledger
    from agent.settings import load_agent_settings
    from agent.sockets import Sockets

    settings = load_agent_settings(config)
    settings.control_secret()
    settings.keys()
    print(f"settings  ok: {settings.path}")
    Sockets(settings)
    print(f"addresses ok: {settings.public_address}, {settings.control_address}")
    ledger = Ledger(settings.beside(settings.ledger))
    try:
        print(f"ledger    ok: {ledger.uuid}, totals are the sum of its entries")
    finally:
        ledger.close()
    engine = open_engine(settings)
    print(f"model     ok: {engine.info.model}; {engine.info.label}")
