"""What ExLlamaV2 needs of a machine, asked in order and before anything of it is imported: one line each.

Without a driver nothing is imported at all, so that the answer is there in a moment.

Source: exllamav2 0.3.2, ext.py; CUDA driver API, `cuInit` and `cuDeviceGetCount` (read on 2026-11-25).
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.errors import EngineLacks

ENGINE = "exllamav2"
EXTENSION = "exllamav2_ext"
VERSION = "0.3.2"
LEAST_CAPABILITY = (7, 5)  # the oldest that nvcc 13 compiles for
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
# what the library really imports; the others that it declares are for its conversion and its server
PACKAGES = (ENGINE, "tokenizers", "safetensors", "numpy", "rich", "PIL")
INSTALL = "pip install 'mtok[agent,exllamav2]'"
HEADERS = ("cuda_runtime.h", "cusparse.h", "cublas_v2.h", "cusolverDn.h", "curand.h")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing: what was found of it, or what is missing and what to do."""

    name: str
    found: str | None
    problem: str = ""
    remedy: str = ""

    def line(self) -> str:
        """For people."""
        if self.found is not None:
            return f"{self.name:<9} ok: {self.found}"
        return f"{self.name:<9} missing: {self.problem}; {self.remedy}"


def _load_driver() -> Any:
    return ctypes.CDLL("libcuda.so.1")


@dataclass(frozen=True)
class Machine:
    """Where is looked: this process's own machine, unless told otherwise."""

    load_driver: Callable[[], Any] = _load_driver
    find: Callable[[str], Any] = importlib.util.find_spec
    version_of: Callable[[str], str] = importlib.metadata.version
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    cuda_homes: tuple[Path, ...] = (Path("/usr/local/cuda"),)
    python_headers: Path = field(default_factory=lambda: Path(sysconfig.get_path("include")))
    packages: Path = field(default_factory=lambda: Path(sysconfig.get_path("purelib")))
    own_bin: Path = field(default_factory=lambda: Path(sys.executable).parent)
    extensions: Path | None = None

    def with_extensions(self, path: Path) -> "Machine":
        """The same, with another place for compiled extensions."""
        return replace(self, extensions=path)

    @property
    def extension_root(self) -> Path:
        """Where compiled extensions are kept: as told, else below XDG_CACHE_HOME."""
        if self.extensions is not None:
            return self.extensions
        cache = self.environment.get("XDG_CACHE_HOME") or Path(self.environment.get("HOME", "/")) / ".cache"
        return Path(cache) / "mtok" / "extensions"

    @property
    def path(self) -> str:
        """PATH with this environment's own programs, which nobody may have activated."""
        return os.pathsep.join([str(self.own_bin), self.environment.get("PATH", os.defpath)])

    def which(self, program: str) -> str | None:
        """Where a program is."""
        return shutil.which(program, path=self.path)

    @property
    def cuda_home(self) -> Path | None:
        """The toolkit that has nvcc; one with its headers rather than another."""
        named = [Path(self.environment[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in self.environment]
        nvcc = self.which("nvcc")
        found = [*named, *self.cuda_homes, *([] if nvcc is None else [Path(nvcc).resolve().parent.parent])]
        homes = [home for home in found if (home / "bin" / "nvcc").is_file()]
        return next((home for home in homes if (home / "include" / HEADERS[0]).is_file()), next(iter(homes), None))

    @property
    def header_dirs(self) -> list[Path]:
        """Where CUDA's headers are: the toolkit, and the packages that came with torch."""
        homes = [] if self.cuda_home is None else [self.cuda_home / "include"]
        return homes + sorted(self.packages.glob("nvidia/*/include"))


def checks(machine: Machine) -> Iterator[Check]:
    """Driver, torch, packages, toolchain. Each is yielded as soon as it is known."""
    driver = driver_check(machine)
    yield driver
    torch = torch_check(machine)
    yield torch
    yield packages_check(machine)
    built: Path | None = None
    if driver.found is not None and torch.found is not None:
        devices = device_check()
        yield devices
        built = extension_file(machine, architectures()) if devices.found is not None else None
    yield extension_check(machine, built)


def require(machine: Machine) -> None:
    """Stop at the first thing that is missing.

    Raises:
        EngineLacks: it.
    """
    for check in checks(machine):
        if check.found is None:
            raise EngineLacks(ENGINE, check.name, check.problem, check.remedy)


def driver_check(machine: Machine) -> Check:
    """Whether the driver is there and has a GPU."""
    try:
        driver = machine.load_driver()
    except OSError as error:
        problem = f"the NVIDIA driver's libcuda.so.1 cannot be loaded ({error})"
        return Check("driver", None, problem, "install the NVIDIA driver, or run on a machine with a GPU")
    code = driver.cuInit(0)
    count = ctypes.c_int()
    if code == 0:
        code = driver.cuDeviceGetCount(ctypes.byref(count))
    if code in (0, NO_DEVICE) and not count.value:
        remedy = "make one visible to this process (CUDA_VISIBLE_DEVICES, or the container's --gpus)"
        return Check("driver", None, "the NVIDIA driver sees no GPU", remedy)
    if code:
        return Check("driver", None, f"the NVIDIA driver answers with error {code}", "look at nvidia-smi")
    return Check("driver", f"{count.value} GPU" + "s" * (count.value > 1))


def torch_check(machine: Machine) -> Check:
    """Whether torch is installed, and is a CUDA build; read from its files, it is not imported."""
    if machine.find("torch") is None:
        return Check("torch", None, "it is not installed", INSTALL)
    version, cuda = machine.version_of("torch"), cuda_version(machine)
    if cuda is None:
        remedy = "install a CUDA build of torch: PyPI has one, or the index that torch's own site names"
        return Check("torch", None, f"{version} is built without CUDA", remedy)
    return Check("torch", f"{version}, CUDA {cuda}")


def cuda_version(machine: Machine) -> str | None:
    """The CUDA that torch was built for; None when for none."""
    spec = machine.find("torch")
    places = spec.submodule_search_locations if spec is not None else None
    version = Path(next(iter(places or ["."]))) / "version.py"
    if not version.is_file():
        return None
    found = re.search(r"^cuda\b[^=\n]*=\s*'([\d.]+)'", version.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else None


def packages_check(machine: Machine) -> Check:
    """Whether the library and what it needs beside torch are installed, in the version that is supported."""
    for name in PACKAGES:
        if machine.find(name) is None:
            return Check("packages", None, f"{name} is not installed", INSTALL)
    found = machine.version_of(ENGINE)
    if found != VERSION:
        return Check("packages", None, f"{ENGINE} {found} is installed, {VERSION} is supported", INSTALL)
    return Check("packages", f"{ENGINE} {found}, tokenizers {machine.version_of('tokenizers')}")


def device_check() -> Check:
    """Whether torch can use the GPUs; this imports it."""
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", None, "torch cannot use it", "match torch's CUDA version with the driver's: nvidia-smi")
    for place in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(place)
        if capability < LEAST_CAPABILITY:
            problem = f"{torch.cuda.get_device_name(place)} has compute capability {_dotted(capability)}"
            return Check("GPU", None, problem, f"at least {_dotted(LEAST_CAPABILITY)} is needed")
    return Check("GPU", gpu_names())


def gpu_names() -> str:
    """The GPUs that torch sees, by name; `cpu` when there are none."""
    import torch

    names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return ", ".join(names) or "cpu"


def architectures() -> list[str]:
    """What to compile for: the compute capabilities of the GPUs here, as `9.0`."""
    import torch

    found = {torch.cuda.get_device_capability(place) for place in range(torch.cuda.device_count())}
    return [_dotted(one) for one in sorted(found)]


def extension_file(machine: Machine, archs: Sequence[str]) -> Path:
    """Where the extension for exactly these versions and GPUs is, or will be, kept."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    torch = machine.version_of("torch").replace("+", "-")
    gpus = "-".join(f"sm{arch.replace('.', '')}" for arch in archs)
    key = f"exllamav2-{machine.version_of(ENGINE)}-torch-{torch}-cu{cuda_version(machine)}-{python}-{gpus}"
    return machine.extension_root / key / f"{EXTENSION}.so"


def extension_check(machine: Machine, built: Path | None) -> Check:
    """A compiled extension, or all that compiles one."""
    if machine.find(EXTENSION) is not None:
        return Check("extension", f"{EXTENSION} is installed")
    if built is not None and built.is_file():
        return Check("extension", str(built))
    lacking = next(_lacking(machine), None)
    if lacking is not None:
        return Check("extension", None, *lacking)
    return Check("extension", f"not compiled yet; {machine.cuda_home} compiles it at the first start")


def _lacking(machine: Machine) -> Iterator[tuple[str, str]]:
    if machine.cuda_home is None:
        yield "nvcc is not found", "install the CUDA toolkit and set CUDA_HOME, or put exllamav2_ext on PYTHONPATH"
    if machine.which(machine.environment.get("CXX", "c++")) is None:
        yield "no C++ compiler is found", "install g++"
    if machine.which("ninja") is None:
        yield "ninja is not found", "pip install ninja"
    if not (machine.python_headers / "Python.h").is_file():
        yield f"{machine.python_headers}/Python.h is missing", "install Python's headers (python3-dev)"
    for header in HEADERS:
        if not any((folder / header).is_file() for folder in machine.header_dirs):
            yield (
                f"CUDA's {header} is missing",
                "install the whole CUDA toolkit, or torch's CUDA packages from PyPI",
            )


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
