"""The extension is compiled in a process of its own: once, with a log, in its time, never half published."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agent.engine.extension import build, build_environment
from agent.engine.probe import Machine
from agent.errors import BuildFailed

MAKES_IT = 'mkdir -p "$TORCH_EXTENSIONS_DIR/exllamav2_ext"; echo built > "$TORCH_EXTENSIONS_DIR/exllamav2_ext/{}"'
MAKES_IT = MAKES_IT.format("exllamav2_ext.so")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    return tmp_path / "extensions" / "a-key" / "exllamav2_ext.so"


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def environment() -> dict[str, str]:
    return dict(os.environ)


def log_of(built: Path) -> Path:
    return built.parent.with_name("a-key.building") / "build.log"


def test_what_is_compiled_is_kept_and_not_compiled_again(built: Path) -> None:
    build(built, shell(f"echo compiling; {MAKES_IT}"), environment(), 20)
    assert built.read_text(encoding="utf-8") == "built\n"
    assert log_of(built).read_text(encoding="utf-8") == "compiling\n"
    assert [path.name for path in built.parent.iterdir()] == ["exllamav2_ext.so"]
    build(built, shell("exit 1"), environment(), 20)


def test_a_failure_names_the_log_and_its_last_error(built: Path) -> None:
    script = "echo '[3/47] nvcc'; echo 'q.cu:3: fatal error: cusparse.h: No such file'; echo ninja: stopped; exit 3"
    with pytest.raises(BuildFailed) as failed:
        build(built, shell(script), environment(), 20)
    assert "fatal error: cusparse.h: No such file" in str(failed.value)
    assert "exit code 3" in str(failed.value)
    assert str(log_of(built)) in str(failed.value)
    assert not built.exists()


def test_a_log_without_an_error_says_its_last_line_and_no_escapes(built: Path) -> None:
    with pytest.raises(BuildFailed, match=r"Killed\?\[31m \(exit"):
        build(built, shell("echo one; printf 'Killed\\033[31m\\n'; exit 9"), environment(), 20)
    with pytest.raises(BuildFailed, match="without a word"):
        build(built, shell("exit 9"), environment(), 20)


def test_a_build_that_leaves_nothing_failed(built: Path) -> None:
    with pytest.raises(BuildFailed, match="ended without"):
        build(built, shell("true"), environment(), 20)


def test_a_build_over_its_time_is_ended_with_all_its_processes(built: Path, tmp_path: Path) -> None:
    script = f"set -m; sleep 300 & echo $! > {tmp_path}/child; wait"  # a group of its own, as ninja gives it
    with pytest.raises(BuildFailed, match="longer than build_within_s"):
        build(built, shell(script), environment(), 0.5)
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    for _ in range(100):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(child)], capture_output=True, text=True).stdout
        if not state.strip() or state.startswith("Z"):
            break
        time.sleep(0.02)
    else:
        pytest.fail("a compiler lives on")


def test_what_was_compiled_before_a_failure_is_there_the_next_time(built: Path) -> None:
    folder = '"$TORCH_EXTENSIONS_DIR/exllamav2_ext"'
    with pytest.raises(BuildFailed):
        build(built, shell(f"mkdir {folder}; touch {folder}/one.o {folder}/lock; exit 1"), environment(), 20)
    stale = f"test -f {folder}/one.o && test ! -e {folder}/lock && {MAKES_IT}"
    build(built, shell(stale), environment(), 20)
    assert built.is_file()


def test_of_two_at_once_one_compiles(built: Path, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/times; sleep 0.3; {MAKES_IT}"
    threads = [threading.Thread(target=build, args=(built, shell(script), environment(), 20)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "times").read_text(encoding="utf-8") == "x\n"
    assert built.is_file()


def test_waiting_for_another_build_has_an_end_too(built: Path) -> None:
    going = threading.Thread(target=build, args=(built, shell(f"sleep 1.2; {MAKES_IT}"), environment(), 20))
    going.start()
    time.sleep(0.2)
    with pytest.raises(BuildFailed, match="another process"):
        build(built, shell("true"), environment(), 0.3)
    going.join()


def test_the_child_finds_what_nobody_put_on_its_path(tmp_path: Path) -> None:
    home, packages = tmp_path / "cuda", tmp_path / "site"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "nvcc").touch()
    (packages / "nvidia" / "cu13" / "include").mkdir(parents=True)
    machine = Machine(
        environment={"PATH": "/usr/bin", "CPATH": "/own", "HOME": "/h"}, cuda_homes=(home,), packages=packages
    )
    found = build_environment(machine, ["8.0", "9.0"])
    assert found["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert found["PATH"].endswith(str(home / "bin"))
    assert found["CPATH"] == f"{home}/include:{packages}/nvidia/cu13/include:/own"
    assert found["TORCH_CUDA_ARCH_LIST"] == "8.0;9.0"
    assert found["CUDA_HOME"] == str(home)
    assert int(found["MAX_JOBS"]) >= 1
    assert found["HOME"] == "/h"
    assert build_environment(Machine(environment={"MAX_JOBS": "7", "PATH": ""}), ["9.0"])["MAX_JOBS"] == "7"
