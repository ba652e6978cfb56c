"""The wheel, built once and installed into an empty environment, runs a demo."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.processes
def test_an_installed_wheel_gives_a_working_demo(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=180)
    (wheel,) = tmp_path.glob("*.whl")
    home = tmp_path / "env"
    venv.create(home)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "--no-compile", "--constraint", str(ROOT / "constraints.txt")]
    install += [f"{wheel}[console,agent]"]  # a demo compiles what it loads: a fifth of what pip would compile
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    demo = [str(home / "bin" / "mtok"), "demo", "--headless", "--for", "8s", "--json"]
    done = subprocess.run(demo, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tiers = json.loads(done.stdout)["tiers"]
    assert [tier["state"] for tier in tiers] == ["serving"] * 3
    assert all(tier["windows"]["1h"]["completion_tokens"] > 0 for tier in tiers)
