"""The wheel, installed into an environment of its own, runs a demo."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.wheels import ROOT, build_wheel, lend

IN_FULL = bool(os.environ.get("MTOK_PROVE"))


@pytest.mark.processes
def test_an_installed_wheel_gives_a_working_demo(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    wheel, home, state = build_wheel(tmp_path_factory), tmp_path / "env", tmp_path / "state"
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    venv.create(home)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "--no-compile", "--constraint", str(ROOT / "constraints.txt")]
    if not IN_FULL:  # all that it needs is there already: pip compares what the wheel asks for, and takes it alone
        lend(Path(sysconfig.get_path("purelib", vars={"base": str(home)})), wheel, "console", "agent")
        install.append("--no-index")
    install += [f"{wheel}[console,agent]"]  # a demo compiles what it loads: a fifth of what pip would compile
    subprocess.run(install, check=True, capture_output=True, timeout=300, env=alone)
    demo = [str(home / "bin" / "mtok"), "demo", "--headless", "--json", "--state", str(state)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(demo, cwd=tmp_path, env=alone, **pipes) as process:
        until_every_tier_serves(state, process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    tiers = json.loads(out)["tiers"]
    assert [tier["state"] for tier in tiers] == ["serving"] * 3
    assert all(tier["windows"]["1h"]["completion_tokens"] > 0 for tier in tiers)
    asks = [str(home / "bin" / "python"), "-c", "import agent, console, store; print(console.__file__)"]
    located = subprocess.run(asks, capture_output=True, text=True, check=True, cwd=tmp_path, env=alone)
    assert Path(located.stdout.strip()).is_relative_to(home)


def until_every_tier_serves(state: Path, demo: "subprocess.Popen[str]") -> None:
    """Until the demo's clients have had an answer of each tier, or it has ended by itself."""
    end_s = time.monotonic() + 120
    while time.monotonic() < end_s and demo.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            tiers = json.loads((state / "load.json").read_text(encoding="utf-8"))["tiers"].values()
            if tiers and all(tier["answers"] for tier in tiers):
                return
        time.sleep(0.1)
