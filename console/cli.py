"""The command line: `mtok …`. stdout is data, stderr is talk; errors are one line and an exit code."""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console import cli_ops
from console.cli_fleet import gate_app, host_app, tier_app
from console.cli_options import Config, From, HourName, Json, TierName, To
from console.cli_provider import provider_app
from console.cli_records import counter_app, export_app, store_app
from console.completion import VARIABLE, answer, asks_the_agent, without_first_word
from store.commandline import run_command
from store.errors import ExitCode

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from console.read_ahead import Ahead

_EPILOG = """\
\b
First: mtok demo, a whole fleet without keys; or mtok init, then mtok doctor.
Settings: --config, else MTOK_CONFIG, ./mtok.toml, ~/.config/mtok/mtok.toml.
Output: stdout is data, stderr is talk; --json is stable.
Exit codes: 0 ok, 1 failed, 2 usage or settings, 3 provider, 4 store,
            5 unknown figure, 130 interrupted.
"""

app = typer.Typer(
    name="mtok",
    help="Invoice-true cost per million tokens for GPU inference fleets that hibernate when idle.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, commands in (
    ("gate", gate_app),
    ("tier", tier_app),
    ("host", host_app),
    ("provider", provider_app),
    ("counter", counter_app),
    ("store", store_app),
    ("export", export_app),
):
    app.add_typer(commands, name=name)
for name, command in (("init", cli_ops.init), ("doctor", cli_ops.doctor), ("completion", cli_ops.completion)):
    app.command(name)(command)


def main(argv: Sequence[str] | None = None, ahead: "Ahead | None" = None) -> int:
    """Run one command; `ahead` reads for a screen. Nothing that a user can do ends in a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    if VARIABLE in os.environ:
        return complete()
    if words[:1] == ["agent"]:
        return agent(words[1:])
    return run_command(app, words, obj=ahead)


def complete() -> int:
    """Answer a shell's Tab key; what follows `mtok agent` is the agent's own to answer."""
    found = _agent_entry_points()
    if found and asks_the_agent():
        without_first_word()
        return answer(sys.modules[found[0].load().__module__].app)
    return answer(app)


def agent(words: Sequence[str]) -> int:
    """Hand over to the agent's own command line, found by name: console never imports agent."""
    found = _agent_entry_points()
    if not found:
        print("mtok: the agent is not installed here; pip install 'mtok[agent]'", file=sys.stderr)
        return int(ExitCode.USAGE)
    command: Callable[[Sequence[str]], int] = found[0].load()
    return command(words)


def _agent_entry_points() -> list["EntryPoint"]:
    from importlib.metadata import entry_points  # 20 ms that no other command pays

    return [point for point in entry_points(group="mtok.commands") if point.name == "agent"]


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        from importlib.metadata import version

        print(version("mtok"))
        raise typer.Exit


@app.command("agent", add_help_option=False)
def _agent() -> None:
    """The headless side on a GPU host: serve, check. See `mtok agent --help`."""


@app.command()
def console(
    context: typer.Context,
    config: Config = None,
    no_collect: Annotated[bool, typer.Option("--no-collect", help="Never lead; only show.")] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Nothing can be changed from this screen.")
    ] = False,
    at: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Replay a past minute, such as 2026-11-20T03:10Z.")
    ] = None,
    theme: Annotated[str, typer.Option(help="auto, dark, light, ansi or ansi-light; auto asks the terminal.")] = "",
    ascii_: Annotated[bool, typer.Option("--ascii", help="Signs of ASCII alone.")] = False,
    no_mouse: Annotated[bool, typer.Option("--no-mouse", help="Leave the mouse to the terminal.")] = False,
    plain_output: Annotated[
        bool, typer.Option("--plain-output", help="Send what Textual sends, not only the cells that changed.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines that are only added: screen readers, logs.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="What `mtok status` prints, and end; with --at, of then.")
    ] = False,
    web: Annotated[bool, typer.Option("--web", help="To a browser here, read-only, without a password.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of loopback, for --web.")] = 8000,
    json: Json = False,
) -> int:
    """The screen. It collects too when nobody else does and it holds every secret."""
    from console.instants import past_instant_of

    past = None if at is None else past_instant_of("--at", at, datetime.now(UTC))
    ahead: Ahead | None = context.obj
    if ahead is not None and (past is not None or once or json or plain or web):
        ahead.close()  # what it reads is not what is asked
    from console.screen import Wish, look_once, open_console, serve_console

    wish = Wish(
        may_collect=not no_collect,
        is_read_only=read_only,
        at=past,
        theme=theme,
        is_ascii=ascii_,
        has_mouse=not no_mouse,
        is_thin=not plain_output,
        is_plain=plain,
    )
    if once or json:
        look_once(config, wish, as_json=json)
        return 0
    return serve_console(config, wish, port) if web else open_console(config, wish, ahead)


@app.command()
def collect(config: Config = None) -> None:
    """The collector, headless. It ticks, decides, leases, and carries operations out."""
    from console.commands import run_collector

    run_collector(config)


@app.command()
def status(config: Config = None, json: Json = False) -> None:
    """Every tier and the gate, once."""
    from console.commands import print_status

    print_status(config, as_json=json)


@app.command()
def explain(
    tier: TierName,
    config: Config = None,
    window: HourName = None,
    start: From = None,
    end: To = None,
    json: Json = False,
) -> int:
    """The two samples behind each term of a figure."""
    from console.commands import print_explanation

    return print_explanation(config, tier, window, start, end, as_json=json)


@app.command()
def reconcile(
    config: Config = None,
    day: Annotated[str | None, typer.Option(help="A day that has ended: 2026-11-23; else yesterday.")] = None,
    start: From = None,
    end: To = None,
    invoice: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An invoice: CSV, own columns or FOCUS.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="This one alone; else an invoice is over all.")
    ] = None,
    json: Json = False,
) -> int:
    """Figures against the provider's own bill. Exit code 1 where something is not explained."""
    from console.store_commands import Bill
    from console.store_commands import reconcile as run

    return run(config, Bill(day, start, end, provider, invoice), as_json=json)


@app.command()
def demo(
    headless: Annotated[bool, typer.Option(help="No screen.")] = False,
    duration: Annotated[str | None, typer.Option("--for", metavar="60s", help="End by itself.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print at the end what status --json prints.")] = False,
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep everything in DIR.")] = None,
    provider: Annotated[
        str,
        typer.Option(metavar="KIND", help="Whose simulator: hyperstack, runpod, vast, or mixed: one tier each."),
    ] = "hyperstack",
) -> int:
    """A whole local world, simulated. Providers, three agents, a small load: no GPU, no keys, no network."""
    from console.demo.world import run_demo

    return run_demo(headless=headless, duration=duration, as_json=json, state=state, provider=provider)
