"""How a command ends whose stdout takes nothing: in one line at most, and never in a traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

_MTOK = [sys.executable, "-c", "import sys; from console.cli import main; sys.exit(main())"]
WORDS = pytest.mark.parametrize("words", ["--help", "completion bash"])  # typer prints one, we the other


def ended(words: str, stdout: int | IO[bytes]) -> tuple[int, str]:
    command = [*_MTOK, *words.split()]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@WORDS
def test_whoever_reads_no_further_is_no_failure(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert ended(words, writer) == (0, "")
    finally:
        os.close(writer)


@WORDS
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="not run: no /dev/full here")
def test_a_full_disk_is_said_in_one_line(words: str) -> None:
    with Path("/dev/full").open("wb") as full:
        assert ended(words, full) == (1, "mtok: [Errno 28] No space left on device\n")
