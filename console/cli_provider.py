"""`mtok provider list|check`."""

from typing import Annotated

import typer

from console.cli_options import Json

provider_app = typer.Typer(help="Kinds of provider: ours and other packages'.", no_args_is_help=True)


@provider_app.command("list")
def provider_list(json: Json = False) -> None:
    """Every kind that can be opened here. And what is known of its bills."""
    from console.provider_commands import list_kinds

    list_kinds(as_json=json)


@provider_app.command("check")
def provider_check(
    kind: Annotated[str, typer.Argument(help="As `mtok provider list` shows it.")], json: Json = False
) -> int:
    """Try an adapter against its own simulator. On loopback; exit code 1 names each promise not kept."""
    from console.provider_commands import check

    return check(kind, as_json=json)
