"""The wheel that is installed on a host: given, or built from the checkout that this mtok runs from."""

import subprocess
import sys
from pathlib import Path

from store.errors import SettingsError

_BUILDS_WITHIN_S = 300


def find_wheel(given: Path | None, scratch: Path) -> Path:
    """The wheel to install; one that is built lies in `scratch`.

    Raises:
        SettingsError: no such file, no wheel of mtok, or nothing to build from.
    """
    if given is not None:
        if given.is_file() and given.name.startswith("mtok-") and given.suffix == ".whl":
            return given
        raise SettingsError(
            f"--wheel {given}", "is no wheel of mtok", "name a file such as mtok-0.1.0-py3-none-any.whl"
        )
    root = Path(__file__).parents[2]
    if not (root / "pyproject.toml").is_file():
        remedy = "give --wheel FILE, which `pip wheel --no-deps --wheel-dir dist .` makes in a checkout"
        raise SettingsError("--wheel", "this mtok runs from no checkout, so none can be built", remedy)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(scratch), str(root)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILDS_WITHIN_S, check=False)
        problem = (done.stderr or done.stdout).strip().splitlines()[-1:] if done.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = [str(error)]
    built = sorted(scratch.glob("mtok-*.whl"))
    if problem or not built:
        why = problem[0] if problem else "nothing was built"
        raise SettingsError("--wheel", f"building one failed: {why}", "pip install build, or give --wheel FILE")
    return built[-1]
