"""Where `mtok` begins: a screen's second process is made before anything is imported that it does not need."""

import gc
import os
import sys
from collections.abc import Sequence


def main() -> int:
    """Run one command: that of `sys.argv`. Nothing that a user can do ends in a traceback."""
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:  # while something was imported; a command that has begun answers for itself
        from store.errors import ExitCode

        return int(ExitCode.INTERRUPTED)


def _run(words: Sequence[str]) -> int:
    if words[:1] != ["console"]:
        from console.cli import main as command_line

        return command_line(words)
    gc.disable()  # to look for garbage while importing is a tenth of the start; what runs on switches it on again
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would read every package's metadata for them
    from console.first_look import looked, warm
    from console.read_ahead import read_ahead

    try:
        with read_ahead(warm, looked) as ahead:
            from console.cli import main as command_line

            return command_line(words, ahead)
    finally:
        gc.enable()
