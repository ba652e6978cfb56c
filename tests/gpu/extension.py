"""The long form of ExLlamaV2's tests: the same ones over the library's real extension, instead of our double.

It needs nvcc, and makes an environment of its own, since torch must be the build for CUDA: gigabytes, and minutes
of compiling the first time. No GPU is needed: what the tests call runs on the CPU. `make prove` runs it.
"""

import os
import subprocess
import sys
from pathlib import Path

from agent.engine.extension import COMMAND, build, build_environment
from agent.engine.probe import Machine, cuda_version, extension_check
from agent.errors import BuildFailed

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv" / "cuda"
ARCHITECTURE = "9.0"
BUILD_WITHIN_S = 5400.0
TORCH = "torch===2.13.0"  # exactly: `==` would also take a build for the CPU
NEEDS = (
    *("numpy", "tokenizers", "safetensors", "rich", "pillow", "ninja", "setuptools"),
    *("pytest", "pytest-asyncio", "pytest-xdist", "hypothesis", "httpx"),
)
TESTS = ("test_exllamav2.py", "test_exllamav2_sampling.py", "test_exllamav2_server.py", "test_gpu_checkpoints.py")


def main() -> int:
    """Make the environment, compile, test; 0 also when there is no nvcc, which is said."""
    machine = Machine()
    if machine.cuda_home is None:
        print("ExLlamaV2's tests over its own extension: not run: nvcc is not found")
        return 0
    python = _environment()
    return subprocess.run([python, "-m", "tests.gpu.extension", "inside"], cwd=ROOT, check=False).returncode


def inside() -> int:
    """In the environment: compile, and test."""
    machine = Machine().with_extensions(HOME / "extensions")
    check = extension_check(machine, None)
    if check.found is None:
        print(f"ExLlamaV2's tests over its own extension: not run: {check.line()}")
        return 0
    key = f"torch-{machine.version_of('torch')}-cu{cuda_version(machine)}-{sys.implementation.cache_tag}"
    built = HOME / "extensions" / key / "exllamav2_ext.so"
    print(f"the extension: {built}")
    try:
        build(built, COMMAND, build_environment(machine, [ARCHITECTURE]), BUILD_WITHIN_S)
    except BuildFailed as error:
        print(error)
        return 1
    tests = [str(ROOT / "tests" / "agent" / "engine" / name) for name in TESTS]
    environment = {**os.environ, "MTOK_EXLLAMAV2_EXT": str(built.parent)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], cwd=ROOT, env=environment
    ).returncode


def _environment() -> str:
    """The Python of an environment with torch for CUDA and the lean library, made unless it is there."""
    python, done = HOME / "bin" / "python", HOME / ".installed"
    if not done.exists():
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pinned = ["--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
        subprocess.run([*install, TORCH], check=True)
        subprocess.run([*install, "--no-deps", "exllamav2==0.3.2"], check=True)
        subprocess.run([*install, *pinned, "--editable", f"{ROOT}[agent]", *NEEDS], check=True)
        done.touch()
    return str(python)


if __name__ == "__main__":
    sys.exit(inside() if sys.argv[1:] == ["inside"] else main())
