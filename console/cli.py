"""The command line: `mtok …`. stdout is data, stderr is talk; errors are one line and an exit code."""

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated

import typer

from store.commandline import run_command
from store.errors import ExitCode

app = typer.Typer(
    name="mtok",
    help="Invoice-true cost per million tokens for GPU inference fleets that hibernate when idle.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
export_app = typer.Typer(help="Figures in files that other programs read.", no_args_is_help=True)
app.add_typer(export_app, name="export")

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="The settings file; else MTOK_CONFIG, ./mtok.toml, XDG."),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, in a stable shape.")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Nothing that a user can do ends in a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["agent"]:
        return agent(words[1:])
    return run_command(app, words)


def agent(words: Sequence[str]) -> int:
    """Hand over to the agent's own command line, found by name: console never imports agent."""
    found = [point for point in entry_points(group="mtok.commands") if point.name == "agent"]
    if not found:
        print("mtok: the agent is not installed here; pip install 'mtok[agent]'", file=sys.stderr)
        return int(ExitCode.USAGE)
    command: Callable[[Sequence[str]], int] = found[0].load()
    return command(words)


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        print(version("mtok"))
        raise typer.Exit


@app.command("agent", add_help_option=False)
def _agent() -> None:
    """The headless side on a GPU host: serve, check. See `mtok agent --help`."""


@app.command()
def console(
    config: Config = None,
    no_collect: Annotated[bool, typer.Option("--no-collect", help="Never lead; only show.")] = False,
) -> int:
    """The screen. It collects too when nobody else does and it holds every secret."""
    from console.commands import open_console

    return open_console(config, no_collect=no_collect)


@app.command()
def collect(config: Config = None) -> None:
    """The collector, headless: ticks, decides, leases, and carries operations out."""
    from console.commands import run_collector

    run_collector(config)


@app.command()
def status(config: Config = None, json: Json = False) -> None:
    """Every tier and the gate, once."""
    from console.commands import print_status

    print_status(config, as_json=json)


@app.command()
def explain(
    tier: Annotated[str, typer.Argument(help="The tier's name.")],
    config: Config = None,
    window: Annotated[str, typer.Option(help="5m, 1h, 24h, 7d, 30d, today or month.")] = "1h",
    start: Annotated[str | None, typer.Option("--from", help="An instant, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="An instant, RFC 3339.")] = None,
    json: Json = False,
) -> int:
    """The two samples behind each term of a figure."""
    from console.commands import print_explanation

    return print_explanation(config, tier, window, start, end, as_json=json)


@export_app.command("csv")
def export_csv(
    config: Config = None,
    output: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Else stdout.")] = None,
) -> None:
    """One row a tier and window, with a header; UTC instants, exact amounts."""
    from console.commands import export

    export(config, output)


@app.command()
def demo(
    headless: Annotated[bool, typer.Option(help="No screen.")] = False,
    duration: Annotated[str | None, typer.Option("--for", metavar="60s", help="End by itself.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print at the end what status --json prints.")] = False,
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep everything in DIR.")] = None,
) -> int:
    """A whole local world: simulated provider, three agents, a small load. No GPU, no keys, no network."""
    from console.demo.world import run_demo

    return run_demo(headless=headless, duration=duration, as_json=json, state=state)
