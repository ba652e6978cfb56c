"""Whoever logs goes on, whatever has become of the log."""

import contextlib
import json
import os
from collections.abc import Iterator

import pytest
import structlog

from store.logs import configure_logs


@pytest.fixture(autouse=True)
def _configured_once() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def say(event: str) -> None:
    """One line of each kind."""
    log = structlog.get_logger()
    log.info(event)
    try:
        raise LookupError(event)
    except LookupError:
        log.exception(event)


def test_a_line_is_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    say("here")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"], second["level"]) == ("here", "info", "error")
    assert "LookupError: here" in second["exception"]


def test_a_line_that_nobody_can_read_any_more_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stderr = os.fdopen(writer, "w", buffering=1)
    monkeypatch.setattr("sys.stderr", stderr)
    configure_logs()
    say("towards nobody")
    with contextlib.suppress(BrokenPipeError):
        stderr.close()
    say("to a closed file")
