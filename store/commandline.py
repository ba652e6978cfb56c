"""From what a command raised to one line on stderr and an exit code: both command lines end here."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

import typer

from store.errors import ExitCode, MtokError
from store.printable import printable, printable_lines

_OWN = ("agent", "console", "store")


def run_command(app: typer.Typer, words: Sequence[str], name: str = "mtok", obj: object = None) -> int:
    """Run `app`, called `name` in its help, with `words`; nothing that a user can do ends in a traceback.

    `obj`: what a command finds in its context.
    """
    stdout = sys.stdout  # None where it was closed; typer puts another in its place where a pipe breaks
    try:
        code = _run(app, words, name, obj)
        if stdout is not None:
            stdout.flush()  # what cannot be written fails here, and not as Python ends
        return code
    except BrokenPipeError:  # whoever read us has gone
        code = int(ExitCode.OK)
    except OSError as error:
        print(printable(f"mtok: {error}"), file=sys.stderr)
        code = int(ExitCode.FAILED)
    if stdout is not None:
        _let_go(stdout)
    return code


def _let_go(stdout: TextIO) -> None:
    """Python writes as it ends what is still in hand: to nowhere where it cannot be written."""
    sys.stdout = stdout
    try:
        stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())


def _run(app: typer.Typer, words: Sequence[str], name: str, obj: object) -> int:
    try:
        result = app(list(words), prog_name=name, standalone_mode=False, obj=obj)
    except MtokError as error:
        print(printable_lines(f"mtok: {error}"), file=sys.stderr)
        return int(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return int(ExitCode.INTERRUPTED)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OWN:
            raise
        extras = "pip install 'mtok[console]', or 'mtok[agent]' for what serves"
        print(f"mtok: the package {error.name} is not installed; {extras}", file=sys.stderr)
        return int(ExitCode.USAGE)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # typer's word for a group of commands, named alone
            print(printable_lines(str(error)), file=sys.stderr)
            return int(ExitCode.USAGE)
        print(printable(f"mtok: {str(error).rstrip('.')}; see --help"), file=sys.stderr)
        return int(ExitCode.USAGE)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # which typer makes this of
            raise ended.__context__ from None
        raise
    return result if isinstance(result, int) else int(ExitCode.OK)
