"""`mtok` as a test calls it: in this process, which has loaded everything already."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from console.cli import main


def mtok(*words: str, cwd: Path | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd or Path.cwd()):
        code = main(words)
    data, talk = (stream.buffer.getvalue().decode() for stream in (out, err))
    assert "Traceback" not in talk
    return code, data, talk


def mtok_json(*words: str) -> Any:
    """What a command prints as JSON."""
    code, out, err = mtok(*words)
    assert code == 0, err
    return json.loads(out)
