"""Other terminal programs to measure beside the console, each installed by itself into `.venv-peers/`.

Installing happens once. What cannot be installed or does not run is said, and stops nothing else.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.probe.measure import Wanted

_ROOT = Path(__file__).parents[2] / ".venv-peers"
_INSTALL_WITHIN_S = 300


@dataclass(frozen=True)
class Peer:
    """A program: its packages on PyPI (none: it is the system's), how it is called, and which keys move in it."""

    name: str
    packages: Sequence[str]
    command: Sequence[str]
    keys: Sequence[str]
    quit_keys: str

    def found(self) -> Sequence[str] | str:
        """How to run it here, or why it cannot be run."""
        path = self._path() if self.packages else shutil.which(self.command[0])
        if path is None:
            return "it is not installed (Debian: htop)"
        return path if path.startswith("not ") else [path, *self.command[1:]]

    def wanted(self) -> Wanted:
        """What is measured of it."""
        label = f"{self.name}, idle" if self.packages else " ".join(self.command)
        return Wanted(
            runs=3,
            duration_s=8,
            keys=self.keys,
            key_count=12,
            quit_keys=self.quit_keys,
            exit_limit_s=1,
            label=label,
        )

    def _path(self) -> str:
        folder = _ROOT / self.name
        path = folder / "bin" / self.command[0]
        if not path.exists():
            folder.parent.mkdir(exist_ok=True)
            pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *self.packages]
            try:
                for step in ([sys.executable, "-m", "venv", str(folder)], pip):
                    subprocess.run(step, check=True, capture_output=True, timeout=_INSTALL_WITHIN_S)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                return f"not installed: {' '.join(self.packages)} failed"
        return str(path)


PEERS = (
    Peer("htop", (), ("htop", "-d", "10"), ("down", "up"), "q"),
    # a newer tree-sitter than it was built for makes it crash
    Peer("posting", ("posting==2.11.1", "tree-sitter<0.26"), ("posting",), ("tab", "shift+tab"), "ctrl+c"),
    Peer(
        "harlequin",
        ("harlequin==2.17.0",),
        ("harlequin", "-a", "sqlite", ":memory:"),
        ("tab", "shift+tab"),
        "ctrl+q",
    ),
    Peer("nvitop", ("nvitop==1.7.2",), ("nvitop",), ("down", "up"), "q"),
)
