"""The wheel, built once for all workers, and what it needs, lent by the environment that the tests run in.

To unpack and compile that anew is most of what an installation costs; with `MTOK_PROVE` it is done all the same.
"""

import email
import fcntl
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def build_wheel(temporary: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout; whichever worker asks first builds it."""
    base = temporary.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built-wheel"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("*.whl")):
            build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
            subprocess.run(build, check=True, capture_output=True, timeout=180)
    (wheel,) = folder.glob("*.whl")
    return wheel


def lend(folder: Path, wheel: Path, *extras: str) -> None:
    """Put into `folder` what the wheel says that it needs, and nothing else: as links into this environment."""
    for name in sorted(_needed(_requirements(wheel), frozenset(extras))):
        _link(distribution(name), folder)


def can_lend(python: str) -> bool:
    """Whether another interpreter, started by an ordinary user, can load what this environment holds."""
    asks = "import sys; print(sys.implementation.cache_tag)"
    done = subprocess.run([python, "-c", asks], capture_output=True, text=True, check=False)
    site = Path(str(distribution("pydantic").locate_file(""))).resolve()
    is_open = os.geteuid() != 0 or all(path.stat().st_mode & 0o005 == 0o005 for path in (site, *site.parents))
    return is_open and done.stdout.strip() == sys.implementation.cache_tag


def _requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = email.message_from_bytes(archive.read(path))
    return said.get_all("Requires-Dist", [])


def _needed(lines: Iterable[str], extras: frozenset[str]) -> set[str]:
    """Names of distributions, those that they need included."""
    seen: set[tuple[str, frozenset[str]]] = set()
    left = list(_wanted(lines, extras))
    while left:
        one = left.pop()
        if one not in seen:
            seen.add(one)
            left += _wanted(distribution(one[0]).requires or (), one[1])
    return {name for name, _ in seen}


def _wanted(lines: Iterable[str], extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for found in map(Requirement, lines):
        if found.marker is None or any(found.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield found.name, frozenset(found.extras)


def _link(found: Distribution, folder: Path) -> None:
    for file in found.files or ():
        name = str(file) if file.parts[0] == "__pycache__" else file.parts[0]
        if file.parts[0] != ".." and not (link := folder / name).is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(found.locate_file(name))).resolve())
