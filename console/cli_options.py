"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from console.completion import host_names, tier_names, window_names

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="The settings file; else MTOK_CONFIG, ./mtok.toml, XDG."),
]
_WINDOWS = "5m, 1h, 24h, 7d, 30d, today or month."
HourName = Annotated[
    str | None, typer.Option("--window", help=_WINDOWS, show_default="1h", autocompletion=window_names)
]
DayName = Annotated[
    str | None, typer.Option("--window", help=_WINDOWS, show_default="24h", autocompletion=window_names)
]
From = Annotated[str | None, typer.Option("--from", help="An instant, RFC 3339.")]
To = Annotated[str | None, typer.Option("--to", help="An instant, RFC 3339.")]
Every = Annotated[str, typer.Option(help="The step: 1m, 5m, 15m, 1h or 1d.")]
Output = Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Else stdout; .gz is compressed.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, in a stable shape.")]
Why = Annotated[str, typer.Option(help="Why; it is journaled with your name.")]


TierName = Annotated[str, typer.Argument(metavar="TIER", help="The tier's name.", autocompletion=tier_names)]
WhyOptional = Annotated[str, typer.Option("--reason", help="Why; it is journaled with your name.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it to its outcome; exit code 1 if that is not done.")]
Host = Annotated[
    str, typer.Argument(metavar="NAME", help="An agent's name, or its tier's.", autocompletion=host_names)
]
