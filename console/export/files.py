"""Where an export goes: to stdout, or to a file that is there whole or not at all; `.gz` is compressed."""

import gzip
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from store.errors import MtokError
from store.file_modes import fresh


class ExportFailed(MtokError):
    """A file could not be written; nothing was left behind."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"export to {path}: {reason}; choose another place with -o")
        self.path, self.reason = path, reason


def write_export(path: Path | None, chunks: Iterable[str], mode: int = 0o600) -> None:
    """Write text, piece by piece in constant memory; readable by its owner alone, unless `mode` says otherwise.

    Raises:
        ExportFailed: it could not be written; what was there before is still there.
    """
    if path is None:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk.encode())  # as it is: print would change the line ends
        return
    if not path.name:
        raise ExportFailed(path, "is no name of a file")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(fresh(draft), "wb") as file, _packed(path, file) as out:
            draft.chmod(mode)
            for chunk in chunks:
                out.write(chunk.encode())
        draft.replace(path)
    except OSError as error:
        raise ExportFailed(path, error.strerror or str(error)) from None
    finally:
        draft.unlink(missing_ok=True)


def _packed(path: Path, file: IO[bytes]) -> "gzip.GzipFile | io.BufferedWriter":
    if path.suffix == ".gz":
        return gzip.GzipFile(path.name.removesuffix(".gz"), "wb", fileobj=file, mtime=0)
    return io.BufferedWriter(io.FileIO(os.dup(file.fileno()), "wb"))
