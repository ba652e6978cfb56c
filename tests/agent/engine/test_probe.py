"""`mtok agent check` says what a machine lacks, in order, before anything is imported."""

import ctypes
import importlib.metadata
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from agent.engine.probe import (
    HEADERS,
    PACKAGES,
    Machine,
    checks,
    driver_check,
    extension_check,
    extension_file,
    packages_check,
    require,
    torch_check,
)
from agent.errors import EngineLacks


class Driver:
    """A driver's library as ctypes has it, with so many GPUs or an error."""

    def __init__(self, gpus: int = 1, error: int = 0) -> None:
        self.gpus, self.error = gpus, error

    def cuInit(self, _flags: int) -> int:  # noqa: N802 - its name in the driver
        return self.error

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = self.gpus
        return 0


def no_driver() -> Any:
    raise OSError("libcuda.so.1: cannot open shared object file")


@pytest.fixture
def whole(tmp_path: Path) -> Machine:
    """A machine that has everything, as far as files and names go."""
    toolkit, python, packages, own = (tmp_path / name for name in ("cuda", "python", "site", "bin"))
    for program in (toolkit / "bin" / "nvcc", own / "ninja", own / "c++"):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n", encoding="utf-8")
        program.chmod(0o755)
    for header in HEADERS[:1]:
        (toolkit / "include").mkdir()
        (toolkit / "include" / header).touch()
    for header in HEADERS[1:]:
        (packages / "nvidia" / "cu13" / "include").mkdir(parents=True, exist_ok=True)
        (packages / "nvidia" / "cu13" / "include" / header).touch()
    python.mkdir()
    (python / "Python.h").touch()
    torch = packages / "torch"
    torch.mkdir()
    (torch / "version.py").write_text("__version__ = '2.13.0'\ncuda: Optional[str] = '13.0'\n", encoding="utf-8")
    specs = {name: ModuleSpec(name, None) for name in PACKAGES}
    specs["torch"] = ModuleSpec("torch", None, is_package=True)
    specs["torch"].submodule_search_locations = [str(torch)]
    versions = {"torch": "2.13.0", "exllamav2": "0.3.2", "tokenizers": "0.23.3"}
    return Machine(
        load_driver=Driver,
        find=specs.get,
        version_of=versions.__getitem__,
        environment={"PATH": "", "HOME": str(tmp_path)},
        cuda_homes=(toolkit,),
        python_headers=python,
        packages=packages,
        own_bin=own,
    )


def changed(machine: Machine, **changes: Any) -> Machine:
    return Machine(**{**vars(machine), **changes})


def test_a_whole_machine_has_everything(whole: Machine) -> None:
    for check in (driver_check(whole), torch_check(whole), packages_check(whole), extension_check(whole, None)):
        assert check.found is not None, check.line()
    assert driver_check(whole).line() == "driver    ok: 1 GPU"
    assert driver_check(changed(whole, load_driver=lambda: Driver(8))).line() == "driver    ok: 8 GPUs"
    assert torch_check(whole).line() == "torch     ok: 2.13.0, CUDA 13.0"


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (no_driver, "cannot be loaded"),
        (lambda: Driver(0), "sees no GPU"),
        (lambda: Driver(error=100), "sees no GPU"),
        (lambda: Driver(error=999), "error 999"),
    ],
)
def test_a_driver_that_is_missing_or_has_no_gpu(whole: Machine, load: Any, said: str) -> None:
    machine = changed(whole, load_driver=load)
    assert said in driver_check(machine).line()
    with pytest.raises(EngineLacks, match="needs driver"):
        require(machine)


def test_torch_that_is_missing_or_built_without_cuda(whole: Machine) -> None:
    assert "not installed; pip install" in torch_check(changed(whole, find=lambda _name: None)).line()
    (whole.packages / "torch" / "version.py").write_text("cuda: Optional[str] = None\n", encoding="utf-8")
    assert "2.13.0 is built without CUDA" in torch_check(whole).line()
    (whole.packages / "torch" / "version.py").unlink()
    assert torch_check(whole).found is None


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_is_asked_for(whole: Machine, name: str) -> None:
    lacking = changed(whole, find=lambda one: None if one == name else whole.find(one))
    assert f"{name} is not installed" in packages_check(lacking).line()


def test_another_version_of_the_library_is_named(whole: Machine) -> None:
    other = changed(whole, version_of=lambda name: "0.2.9")
    assert "exllamav2 0.2.9 is installed, 0.3.2 is supported" in packages_check(other).line()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("cuda/bin/nvcc", "nvcc is not found"),
        ("bin/c++", "no C++ compiler"),
        ("bin/ninja", "ninja is not found"),
        ("python/Python.h", "Python.h is missing"),
        ("cuda/include/cuda_runtime.h", "cuda_runtime.h is missing"),
        *((f"site/nvidia/cu13/include/{name}", f"{name} is missing") for name in HEADERS[1:]),
    ],
)
def test_each_part_of_the_toolchain_is_asked_for(whole: Machine, tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / path).unlink()
    assert said in extension_check(whole, None).line()


def test_a_compiled_extension_needs_no_toolchain(whole: Machine, tmp_path: Path) -> None:
    (tmp_path / "cuda" / "bin" / "nvcc").unlink()
    built = extension_file(whole, ["9.0"])
    assert built.parent.name == f"exllamav2-0.3.2-torch-2.13.0-cu13.0-cp3{sys.version_info.minor}-sm90"
    assert built.is_relative_to(tmp_path / ".cache" / "mtok" / "extensions")
    built.parent.mkdir(parents=True)
    built.touch()
    assert extension_check(whole, built).found == str(built)
    installed = changed(whole, find=lambda name: ModuleSpec(name, None))
    assert extension_check(installed, None).found == "exllamav2_ext is installed"


def test_the_toolkit_is_found_by_its_variable_and_on_the_path(whole: Machine, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "nvcc").write_text("#!/bin/sh\n", encoding="utf-8")
    (other / "bin" / "nvcc").chmod(0o755)
    on_path = changed(whole, cuda_homes=(), environment={"PATH": str(other / "bin")})
    assert on_path.cuda_home == other
    named = changed(whole, environment={"PATH": "", "CUDA_HOME": str(other)})
    assert named.cuda_home == tmp_path / "cuda", "one without headers is the last choice"


def test_the_extensions_have_a_place_of_their_own(whole: Machine, tmp_path: Path) -> None:
    assert whole.with_extensions(tmp_path / "e").extension_root == tmp_path / "e"
    cached = changed(whole, environment={"XDG_CACHE_HOME": "/c"})
    assert cached.extension_root == Path("/c/mtok/extensions")


def test_without_a_gpu_every_line_is_there_and_nothing_is_imported(whole: Machine) -> None:
    """Torch is found, and is a CUDA build; importing it would tell, since this one is a double."""
    lines = [check.line() for check in checks(changed(whole, load_driver=no_driver))]
    assert [line.split()[0] for line in lines] == ["driver", "torch", "packages", "extension"]


def test_the_command_says_it_all_and_imports_nothing_heavy() -> None:
    asked = "import sys; from agent.cli import main; sys.exit(main(['check', '--engine', 'exllamav2']))"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", asked], capture_output=True, text=True)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "import time:" in line}
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert done.returncode == 1
        assert [line.split()[0] for line in done.stdout.splitlines()] == [
            "driver",
            "torch",
            "packages",
            "extension",
        ]
        assert done.stderr.splitlines()[-1].startswith("mtok: exllamav2 needs driver: ")
        assert not {"torch", "exllamav2", "numpy"} & imported


def test_the_supported_version_is_the_one_that_is_installed() -> None:
    assert (
        packages_check(Machine()).found == f"exllamav2 0.3.2, tokenizers {importlib.metadata.version('tokenizers')}"
    )
