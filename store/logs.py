"""Logs on stderr: one line an event, for a person on a terminal and as JSON for everything else."""

import contextlib
import sys
from functools import partial

import structlog

from store.printable import printable_lines


def configure_logs() -> None:
    """Send structlog's events to stderr, with UTC instants."""
    is_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *(
                [_harmless, structlog.dev.ConsoleRenderer(colors=False)]
                if is_terminal
                else [structlog.processors.JSONRenderer()]
            ),
        ],
        logger_factory=partial(_Lines, sys.stderr),
    )


class _Lines(structlog.PrintLogger):
    """Loses a line that cannot be written: on a full disk, or when its reader has gone. Whoever logs goes on."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def _harmless(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """An event whose texts a terminal does not obey."""
    return {key: printable_lines(value) if isinstance(value, str) else value for key, value in event.items()}


def silence_logs() -> None:
    """Drop every event: for a process whose terminal is a screen."""
    structlog.configure(processors=[_drop])


def _drop(_logger: object, _method: str, _event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent
