"""What a shell's Tab key is answered: commands, options, and names from the settings; quickly, or nothing.

The protocol is typer's: the shell calls `mtok` with `_MTOK_COMPLETE` and the words so far in its environment.
"""

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from console.settings_place import find_settings

VARIABLE = "_MTOK_COMPLETE"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # whatever else is in the file, a shell evaluates this


def script(shell: str) -> str:
    """What the shell has to read at its start."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    text: str = get_completion_script(prog_name="mtok", complete_var=VARIABLE, shell=shell)
    return text


def answer(app: typer.Typer) -> int:
    """Say what could come next, on stdout. Whatever goes wrong is silence: a prompt is being typed on."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    with contextlib.redirect_stderr(None):
        try:
            completion_init()
            app([], standalone_mode=False, prog_name="mtok", complete_var=VARIABLE)
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 1
        except Exception:  # noqa: BLE001 - other packages' commands are asked too
            return 1
    return 0


def without_first_word() -> None:
    """Make `mtok agent …` in the environment what the agent's own command line is asked."""
    words, place = os.environ.get("COMP_WORDS"), os.environ.get("COMP_CWORD", "")
    if words is not None and place.isdecimal():
        os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = words.split(maxsplit=1)[1], str(int(place) - 1)
    line = os.environ.get("_TYPER_COMPLETE_ARGS", "")
    if len(line.split(maxsplit=1)) > 1:
        os.environ["_TYPER_COMPLETE_ARGS"] = line.split(maxsplit=1)[1]


def asks_the_agent() -> bool:
    """Whether the words so far are `mtok agent` and something after it."""
    words = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    parts = words.split()
    return len(parts) >= 2 and parts[1] == "agent" and (len(parts) > 2 or words[-1:].isspace())


def tier_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The tiers of the settings."""
    return [name for name in _names(ctx, agents=False) if name.startswith(incomplete)]


def host_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The agents of the settings, and their tiers."""
    return [name for name in _names(ctx, agents=True) if name.startswith(incomplete)]


def window_names(incomplete: str) -> list[str]:
    """The windows that figures are shown for."""
    from store.window import WINDOWS  # time zones, that only this word waits for

    return [name for name in WINDOWS if name.startswith(incomplete)]


def _names(ctx: typer.Context, *, agents: bool) -> Iterator[str]:
    """Read off the file without the checks that make loading it slow."""
    given = ctx.params.get("config")
    path = find_settings(Path(given) if given else None)
    body = tomllib.loads(path.read_text(encoding="utf-8"))
    for tier in _tables(body.get("tiers")):
        rows = (*_tables(tier.get("agents")), tier) if agents else (tier,)
        names = (row.get("name") for row in rows)
        yield from (name for name in names if isinstance(name, str) and _NAME.fullmatch(name))


def _tables(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
