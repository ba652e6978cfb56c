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
counter_app = typer.Typer(help="Bill counters: what figures are made of.", no_args_is_help=True)
store_app = typer.Typer(help="The store: its version, its size, its soundness.", no_args_is_help=True)
gate_app = typer.Typer(help="The gate: what allows serving.", no_args_is_help=True)
app.add_typer(gate_app, name="gate")
app.add_typer(counter_app, name="counter")
app.add_typer(store_app, name="store")
tier_app = typer.Typer(help="Tiers: what they do, hibernate, wake, and what past wakes took.", no_args_is_help=True)
app.add_typer(tier_app, name="tier")
export_app = typer.Typer(help="Figures in files that other programs read.", no_args_is_help=True)
app.add_typer(export_app, name="export")
host_app = typer.Typer(help="GPU hosts over SSH: check, install, logs, trust.", no_args_is_help=True)
app.add_typer(host_app, name="host")

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="The settings file; else MTOK_CONFIG, ./mtok.toml, XDG."),
]
WindowName = Annotated[str, typer.Option("--window", help="5m, 1h, 24h, 7d, 30d, today or month.")]
From = Annotated[str | None, typer.Option("--from", help="An instant, RFC 3339.")]
To = Annotated[str | None, typer.Option("--to", help="An instant, RFC 3339.")]
Every = Annotated[str, typer.Option(help="The step: 1m, 5m, 15m, 1h or 1d.")]
Output = Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Else stdout; .gz is compressed.")]
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


Why = Annotated[str, typer.Option(help="Why; it is journaled with your name.")]


TierName = Annotated[str, typer.Argument(metavar="TIER", help="The tier's name.")]
WhyOptional = Annotated[str, typer.Option("--reason", help="Why; it is journaled with your name.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it to its outcome; exit code 1 if that is not done.")]


@tier_app.command("list")
def tier_list(config: Config = None, json: Json = False) -> None:
    """Every tier, its state, and what is under way."""
    from console.tier_commands import list_tiers

    list_tiers(config, as_json=json)


@tier_app.command("hibernate")
def tier_hibernate(
    tier: TierName,
    config: Config = None,
    reason: WhyOptional = "",
    yes: Yes = False,
    wait: Wait = False,
    json: Json = False,
) -> int:
    """Drain it, store its last usage, and let the provider put it to sleep."""
    from console.tier_commands import operate
    from store.operations import OperationKind

    return operate(config, OperationKind.HIBERNATE, tier, reason, yes=yes, wait=wait, as_json=json)


@tier_app.command("wake")
def tier_wake(
    tier: TierName,
    config: Config = None,
    reason: WhyOptional = "",
    yes: Yes = False,
    wait: Wait = False,
    json: Json = False,
) -> int:
    """Bring it back to its first token. With --wait, one that serves already is fine: gateways call this."""
    from console.tier_commands import operate
    from store.operations import OperationKind

    return operate(config, OperationKind.WAKE, tier, reason, yes=yes, wait=wait, as_json=json)


@tier_app.command("history")
def tier_history(
    tier: TierName,
    config: Config = None,
    kind: Annotated[str, typer.Option(help="wake or hibernate.")] = "wake",
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many, newest first.")] = 20,
    json: Json = False,
) -> None:
    """Past wakes: each phase's time, the whole, the cost by the counters; median and worst."""
    from console.tier_commands import print_history

    print_history(config, tier, kind, count, as_json=json)


@gate_app.command("show")
def gate_show(config: Config = None, json: Json = False) -> None:
    """The decision, every input of it, and what may be spent beyond the limit."""
    from console.gate_commands import show_gate

    show_gate(config, as_json=json)


@gate_app.command("close")
def gate_close(reason: Why, config: Config = None) -> None:
    """Close the gate until somebody opens it: leases are revoked, running requests end."""
    from console.gate_commands import close_gate

    close_gate(config, reason)


@gate_app.command("open")
def gate_open(reason: Why, config: Config = None) -> None:
    """End a closing by hand. It opens nothing that is closed for another reason."""
    from console.gate_commands import open_gate

    open_gate(config, reason)


@gate_app.command("reset")
def gate_reset(
    amount: Annotated[str, typer.Option(help="USD added to today's limit, such as 50.")],
    reason: Why,
    config: Config = None,
    tier: Annotated[str | None, typer.Option(help="The own limit of a tier; else the whole account's.")] = None,
) -> None:
    """Add money to today's limit, when it is spent or reserved; refused while the gate is blind."""
    from console.gate_commands import reset_gate

    reset_gate(config, amount, reason, tier)


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


@export_app.command("csv")
def export_csv(
    config: Config = None,
    window: WindowName = "24h",
    start: From = None,
    end: To = None,
    every: Every = "1h",
    output: Output = None,
) -> None:
    """One row a tier and step, with a header; UTC instants, exact amounts."""
    from console.commands import Wanted, export

    export(config, output, Wanted("csv", window, start, end, every))


@export_app.command("json")
def export_json(
    config: Config = None,
    window: WindowName = "24h",
    start: From = None,
    end: To = None,
    every: Every = "1h",
    output: Output = None,
) -> None:
    """The same rows as an array of objects."""
    from console.commands import Wanted, export

    export(config, output, Wanted("json", window, start, end, every))


@export_app.command("focus")
def export_focus(
    config: Config = None,
    window: WindowName = "24h",
    start: From = None,
    end: To = None,
    every: Every = "1h",
    focus: Annotated[str, typer.Option(help="The version: 1.2 or 1.4.")] = "1.2",
    output: Output = None,
) -> None:
    """One row a resource, step and kind of charge, as FinOps tools read them; see focus.finops.org."""
    from console.commands import Wanted, export

    export(config, output, Wanted("focus", window, start, end, every, focus))


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


@counter_app.command("list")
def counter_list(config: Config = None, json: Json = False) -> None:
    """What each counter holds, how often it moves, how far it trails, and whether it is settled."""
    from console.store_commands import list_counters

    list_counters(config, as_json=json)


@counter_app.command("settle")
def counter_settle(
    counter: Annotated[int, typer.Argument(metavar="ID", help="As `mtok counter list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why; it is journaled.")],
    config: Config = None,
    total: Annotated[str | None, typer.Option(help="Its last bill, if it is known; else its last reading.")] = None,
) -> None:
    """Close a counter that its provider no longer knows, so that figures are known again."""
    from console.store_commands import settle_counter

    settle_counter(config, counter, reason, total)


@store_app.command("migrate")
def store_migrate(config: Config = None) -> None:
    """Bring the store to this version of mtok."""
    from console.store_commands import migrate_store

    migrate_store(config)


@store_app.command("thin")
def store_thin(config: Config = None) -> None:
    """Thin the history as the settings say, and report its size. The collector does so daily."""
    from console.store_commands import thin_store

    thin_store(config)


@store_app.command("check")
def store_check(config: Config = None, json: Json = False) -> int:
    """Verify the store's invariants; exit code 1 names what is broken."""
    from console.store_commands import check_store

    return check_store(config, as_json=json)


@store_app.command("copy")
def store_copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A store's address.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="An empty store's address.")],
) -> None:
    """Copy a whole history to another store: SQLite to PostgreSQL, and back."""
    from console.store_commands import copy_history

    copy_history(source, target)


Host = Annotated[str, typer.Argument(metavar="NAME", help="An agent's name, or its tier's.")]


@host_app.command("check")
def host_check(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="An agent or a tier; else all.")] = None,
    config: Config = None,
) -> int:
    """Reachable, host key, Python, disk, GPU and driver, clock, agent; exit code 1 names what is not right."""
    from console.host_commands import check_hosts

    return check_hosts(config, name)


@host_app.command("install")
def host_install(
    name: Host,
    config: Config = None,
    wheel: Annotated[Path | None, typer.Option(metavar="FILE", help="Else built from this checkout.")] = None,
    wheelhouse: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Wheels to copy along, for a host without internet.")
    ] = None,
    pip_args: Annotated[str, typer.Option(help="More words for pip install, such as --index-url URL.")] = "",
    python: Annotated[str, typer.Option(help="The interpreter there, 3.11 or newer.")] = "python3",
    home: Annotated[str, typer.Option(metavar="DIR", help="Where it lives there.")] = ".local/share/mtok",
    model_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the model lies there; else model, in its home.")
    ] = None,
    public_address: Annotated[str, typer.Option(help="Of the OpenAI-compatible API.")] = "127.0.0.1:8700",
    system: Annotated[bool, typer.Option("--system", help="A system unit, by sudo; root has one always.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> int:
    """Install an agent and its unit, start it, and see it serve. A second run changes nothing."""
    from console.host_commands import Wanted, install_host

    wanted = Wanted(wheel, wheelhouse, pip_args, python, home, model_dir, public_address, system, dry_run)
    return install_host(config, name, wanted)


@host_app.command("logs")
def host_logs(
    name: Host,
    config: Config = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Every new line too, until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many lines to begin with.")] = 100,
) -> None:
    """What an agent writes, from its host's journal."""
    from console.host_commands import follow_logs

    follow_logs(config, name, follow=follow, last=last)


@host_app.command("trust")
def host_trust(
    name: Host,
    config: Config = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(metavar="SHA256:…", help="As the machine itself says it: then its key is accepted."),
    ] = None,
) -> int:
    """Show the key of an unknown host, or accept it by its fingerprint."""
    from console.host_commands import trust_host

    return trust_host(config, name, fingerprint)


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
