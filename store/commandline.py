"""From what a command raised to one line on stderr and an exit code: both command lines end here."""

import os
import sys
from collections.abc import Sequence

import typer

from store.errors import ExitCode, MtokError
from store.printable import printable, printable_lines


def run_command(app: typer.Typer, words: Sequence[str]) -> int:
    """Run `app` with `words`; nothing that a user can do ends in a traceback."""
    try:
        result = app(list(words), standalone_mode=False)
    except MtokError as error:
        print(printable_lines(f"mtok: {error}"), file=sys.stderr)
        return int(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return int(ExitCode.INTERRUPTED)
    except typer.TyperException as error:
        print(printable(f"mtok: {str(error).rstrip('.')}; see --help"), file=sys.stderr)
        return int(ExitCode.USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has gone
        return int(ExitCode.OK)
    return result if isinstance(result, int) else int(ExitCode.OK)
