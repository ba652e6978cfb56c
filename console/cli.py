"""The command line: `mtok …`. stdout is data, stderr is talk; errors are one line and an exit code."""

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated

import typer

from console.cli_fleet import gate_app, host_app, tier_app
from console.cli_options import Config, From, Json, To, WindowName
from console.cli_provider import provider_app
from console.cli_records import counter_app, export_app, store_app
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
    once: Annotated[bool, typer.Option("--once", help="What `mtok status` prints, and end.")] = False,
    web: Annotated[bool, typer.Option("--web", help="To a browser here, read-only, without a password.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of loopback, for --web.")] = 8000,
    json: Json = False,
) -> int:
    """The screen. It collects too when nobody else does and it holds every secret."""
    from console.commands import instant_of, print_status
    from console.screen import Wish, open_console, serve_console

    if once or json:
        print_status(config, as_json=json)
        return 0
    wish = Wish(
        no_collect=no_collect,
        read_only=read_only,
        at=instant_of("--at", at) if at is not None else None,
        theme=theme,
        is_ascii=ascii_,
        no_mouse=no_mouse,
        plain_output=plain_output,
        is_plain=plain,
    )
    return serve_console(config, wish, port) if web else open_console(config, wish)


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
    window: WindowName = "1h",
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
    json: Json = False,
) -> int:
    """Figures against the provider's windowed bill; exit code 1 where something is not explained."""
    from console.store_commands import reconcile as run

    return run(config, day, start, end, invoice, as_json=json)


@app.command()
def doctor(
    config: Config = None,
    send_test_alarm: Annotated[
        bool, typer.Option("--send-test-alarm", help="Tell every channel, for real.")
    ] = False,
) -> int:
    """Whether the settings, the secrets and the store can be used; exit code 1 names what cannot."""
    from console.doctor import examine

    return examine(config, send_test_alarm=send_test_alarm)


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
