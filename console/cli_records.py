"""`mtok export|counter|store …`: what is on record, and how it leaves."""

from typing import Annotated

import typer

from console.cli_options import Config, DayName, Every, From, Json, Output, To

export_app = typer.Typer(help="Figures in files that other programs read.", no_args_is_help=True)
counter_app = typer.Typer(help="Bill counters: what figures are made of.", no_args_is_help=True)
store_app = typer.Typer(help="The store: its version, its size, its soundness.", no_args_is_help=True)
_LARGEST = 2**63 - 1  # SQLite's integers end there


@export_app.command("csv")
def export_csv(
    config: Config = None,
    window: DayName = None,
    start: From = None,
    end: To = None,
    every: Every = "1h",
    output: Output = None,
) -> None:
    """One row a tier and step. With a header, UTC instants, exact amounts."""
    from console.commands import Wanted, export

    export(config, output, Wanted("csv", window, start, end, every))


@export_app.command("json")
def export_json(
    config: Config = None,
    window: DayName = None,
    start: From = None,
    end: To = None,
    every: Every = "1h",
    output: Output = None,
) -> None:
    """The same rows as an array of objects. Counts are integers; what is not known is {"unknown": reason}."""
    from console.commands import Wanted, export

    export(config, output, Wanted("json", window, start, end, every))


@export_app.command("focus")
def export_focus(
    config: Config = None,
    window: DayName = None,
    start: From = None,
    end: To = None,
    every: Every = "1h",
    focus: Annotated[str, typer.Option(help="The version: 1.2 or 1.4.")] = "1.2",
    output: Output = None,
) -> int:
    """One row a charge, as FinOps tools read it. By resource, step and kind; see focus.finops.org.

    Exit code 5 where something is left out, as stderr then says: what an unsettled counter was billed is not known.
    """
    from console.commands import Wanted, export

    return export(config, output, Wanted("focus", window, start, end, every, focus))


@export_app.command("prometheus")
def export_prometheus(
    config: Config = None,
    output: Output = None,
    openmetrics: Annotated[bool, typer.Option("--openmetrics", help="OpenMetrics, as /metrics offers it.")] = False,
) -> None:
    """What /metrics says, once. For node_exporter's textfile collector, in the format that it reads."""
    from console.commands import export_metrics

    export_metrics(config, output, openmetrics=openmetrics)


@counter_app.command("list")
def counter_list(config: Config = None, json: Json = False) -> None:
    """What each counter holds. Also how often it moves, how far it trails, and whether it is settled."""
    from console.store_commands import list_counters

    list_counters(config, as_json=json)


@counter_app.command("settle")
def counter_settle(
    counter: Annotated[
        int, typer.Argument(metavar="ID", min=1, max=_LARGEST, help="As `mtok counter list` shows it.")
    ],
    reason: Annotated[str, typer.Option(help="Why; it is journaled.")],
    config: Config = None,
    total: Annotated[str | None, typer.Option(help="Its last bill, if it is known; else its last reading.")] = None,
) -> None:
    """Close a counter that its provider has lost. Figures over it are known again."""
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
    """Copy a whole history to another store. SQLite to PostgreSQL, and back."""
    from console.store_commands import copy_history

    copy_history(source, target)
