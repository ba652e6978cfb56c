"""`mtok tier|gate|host …`: what acts on the fleet."""

from pathlib import Path
from typing import Annotated

import typer

from console.cli_options import Config, Host, Json, TierName, Wait, Why, WhyOptional, Yes
from console.completion import host_names

gate_app = typer.Typer(help="The gate: what allows serving.", no_args_is_help=True)
tier_app = typer.Typer(help="Tiers: their states, hibernate, wake, past wakes.", no_args_is_help=True)
host_app = typer.Typer(help="GPU hosts over SSH: check, install, logs, trust.", no_args_is_help=True)


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
    """Put a tier to sleep. It is drained and its last usage stored; then the provider is asked."""
    from console.tier_commands import operate
    from store.phases import OperationKind

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
    """Bring a tier back to its first token. With --wait, one that serves already is fine: gateways call this."""
    from console.tier_commands import operate
    from store.phases import OperationKind

    return operate(config, OperationKind.WAKE, tier, reason, yes=yes, wait=wait, as_json=json)


@tier_app.command("history")
def tier_history(
    tier: TierName,
    config: Config = None,
    kind: Annotated[str, typer.Option(help="wake or hibernate.")] = "wake",
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many, newest first.")] = 20,
    json: Json = False,
) -> None:
    """Past wakes. Each phase's time, the whole, the cost by the counters; median and worst."""
    from console.tier_commands import print_history

    print_history(config, tier, kind, count, as_json=json)


@gate_app.command("show")
def gate_show(config: Config = None, json: Json = False) -> None:
    """The decision and every input of it. Also what may be spent beyond the limit."""
    from console.gate_commands import show_gate

    show_gate(config, as_json=json)


@gate_app.command("close")
def gate_close(reason: Why, config: Config = None) -> None:
    """Close the gate until somebody opens it. Leases are revoked, running requests end."""
    from console.gate_commands import close_gate

    close_gate(config, reason)


@gate_app.command("open")
def gate_open(reason: Why, config: Config = None) -> None:
    """End a closing by hand. It opens nothing that is closed for another reason."""
    from console.gate_commands import open_gate

    open_gate(config, reason)


@gate_app.command("reset")
def gate_reset(
    amount: Annotated[str, typer.Option(help="What is added to today's limit, such as 50.")],
    reason: Why,
    config: Config = None,
    tier: Annotated[str | None, typer.Option(help="The own limit of a tier; else the whole account's.")] = None,
    currency: Annotated[str, typer.Option(help="The account's limit in this currency.")] = "USD",
) -> None:
    """Add money to today's limit. Only when it is spent or reserved; refused while the gate is blind."""
    from console.gate_commands import reset_gate

    reset_gate(config, amount, reason, tier, currency)


@host_app.command("check")
def host_check(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="An agent or a tier; else all.", autocompletion=host_names),
    ] = None,
    config: Config = None,
) -> int:
    """Whether hosts can serve. Way, host key, Python, disk, GPU and driver, clock, agent; else exit code 1."""
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
