"""`mtok init|doctor|completion` and `mtok store backup|restore`: running it for real."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from console.cli_options import Config, Json
from console.cli_records import store_app

_FILE = typer.Argument(metavar="FILE", help="A name that ends in .gz is compressed.")


Kind = Annotated[str | None, typer.Option(metavar="KIND", help="The kind of provider: see mtok provider list.")]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="What the provider is called in the file; else its kind.")
]
KeyEnv = Annotated[
    str | None, typer.Option(metavar="NAME", help="The environment variable that holds the API key.")
]
KeyFile = Annotated[Path | None, typer.Option(metavar="FILE", help="The file that holds the API key.")]
BaseUrl = Annotated[str | None, typer.Option(metavar="URL", help="Another address of its API.")]
DailyUsd = Annotated[str | None, typer.Option(metavar="USD", help="The limit per day, such as 200.")]
Daily = Annotated[
    list[str] | None,
    typer.Option("--daily", metavar="CUR=AMOUNT", help="The same in another currency, such as EUR=180; repeat it."),
]
Timezone = Annotated[str | None, typer.Option(metavar="ZONE", help="Where a day begins; else UTC.")]
SshUser = Annotated[str | None, typer.Option(metavar="USER", help="An agent a tier, reached by SSH as this user.")]
SshPort = Annotated[str, typer.Option(metavar="PORT", help="For --ssh-user.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the kind's own; repeat it.")
]
AskNothing = Annotated[bool, typer.Option("--yes", help="Ask nothing; take what is proposed.")]
Replace = Annotated[bool, typer.Option("--force", help="Though settings are there: they are kept beside the new.")]


class Shell(StrEnum):
    """The shells that Tab is answered in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def init(
    config: Config = None,
    kind: Kind = None,
    name: Name = None,
    api_key_env: KeyEnv = None,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
    daily_usd: DailyUsd = None,
    daily: Daily = None,
    timezone: Timezone = None,
    ssh_user: SshUser = None,
    ssh_port: SshPort = "22",
    set_: Set = None,
    yes: AskNothing = False,
    force: Replace = False,
) -> int:
    """Write mtok.toml. It asks, tries the key, lists what the account holds, and proposes a tier for each instance.

    What an option says is not asked for. The key is never printed and never in the file: the file names the
    environment variable or the file that holds it. Nothing is written before the key has worked.

    Without a terminal: mtok init --kind hyperstack --api-key-env CLOUD_KEY --daily-usd 200 --yes
    """
    from console.setup.command import Wish, run_init

    key = (api_key_env, api_key_file)
    ssh = (ssh_user, ssh_port)
    more = (tuple(set_ or ()), tuple(daily or ()))
    wish = Wish(kind, name, base_url, *key, daily_usd, timezone, *ssh, *more, yes, force)
    return run_init(config, wish)


def doctor(
    config: Config = None,
    send_test_alarm: Annotated[
        bool, typer.Option("--send-test-alarm", help="Tell every channel, for real.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no provider and no agent.")] = False,
    json: Json = False,
) -> int:
    """What works and what does not. One line each: ok, WARN or FAILED, what was found, and its remedy.

    Settings, rights of files, secrets, host keys, alarms, versions, the terminal, disk, store, collector, the age
    of the last tick; then every provider with its clock, and every agent. It only reads.

    Exit code 1 where something has FAILED.
    """
    from console.doctor.command import examine

    return examine(config, send_test_alarm=send_test_alarm, offline=offline, as_json=json)


def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
    """Print what lets a shell complete. Tab then knows commands, options, and the names of tiers and hosts.

    bash: mtok completion bash > ~/.local/share/bash-completion/completions/mtok

    zsh: mtok completion zsh > a folder of fpath, as _mtok

    fish: mtok completion fish > ~/.config/fish/completions/mtok.fish
    """
    from console.completion import script

    print(script(shell.value))


@store_app.command("backup")
def store_backup(file: Annotated[Path, _FILE], config: Config = None) -> int:
    """Write the store, as it is at one instant, to a new file. Collectors and consoles go on meanwhile.

    The file is proved before it appears: SQLite's own check, the rows of every table, and what mtok store check
    knows. It is its owner's alone (0600). A store in PostgreSQL becomes the same file of SQLite.

    Exit code 1 where an invariant does not hold in the store; the backup is there all the same.
    """
    from console.backup_commands import backup_store

    return backup_store(config, file)


@store_app.command("restore")
def store_restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of mtok store backup.")],
    config: Config = None,
    force: Annotated[
        bool, typer.Option("--force", help="Though a store is there: it is kept, under another name.")
    ] = False,
) -> int:
    """Put a backup in the store's place. It is proved and brought to this version first.

    Refused while a collector leads: stop each one, and each console that collects, before.
    """
    from console.backup_commands import restore_store

    return restore_store(config, file, force=force)
