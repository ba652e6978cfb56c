"""What the machine's GPUs do, by NVIDIA's NVML: read once a second, in a thread that nobody waits for.

Without the package, the driver or a GPU there are no figures, and one line says why: that is no error.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from agent.errors import GpuUnread
from store.unknown import Unknown

_EVERY_S = 1.0
_AGAIN_AFTER_S = 60.0  # a driver may be loaded after us
_OLD_AFTER_S = 10.0
Figure = TypeVar("Figure")


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """One GPU at one instant; None is a figure that this GPU or its driver does not give."""

    index: int
    name: str
    driver: str
    utilisation_percent: int | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    power_mw: int | None
    temperature_c: int | None


class Nvml(Protocol):
    """The few calls that we make of it. Each may raise `GpuUnread`."""

    def count(self) -> int: ...

    def identity(self, index: int) -> tuple[str, str]:
        """The GPU's name, and the driver's version."""
        ...

    def utilisation_percent(self, index: int) -> int: ...

    def memory_bytes(self, index: int) -> tuple[int, int]:
        """Used and total."""
        ...

    def power_mw(self, index: int) -> int: ...

    def temperature_c(self, index: int) -> int: ...


def open_nvml() -> Nvml:
    """The driver's own library, by the package `nvidia-ml-py`.

    Raises:
        GpuUnread: no package, no library, no driver.
    """
    try:
        import pynvml
    except ImportError:
        raise GpuUnread("the package nvidia-ml-py is not installed") from None
    return _Pynvml(pynvml)


class _Pynvml:
    """NVML's functions, with their errors as ours."""

    def __init__(self, pynvml: Any) -> None:
        self._pynvml = pynvml
        self._call("nvmlInit")

    def count(self) -> int:
        return int(self._call("nvmlDeviceGetCount"))

    def identity(self, index: int) -> tuple[str, str]:
        return str(self._of("nvmlDeviceGetName", index)), str(self._call("nvmlSystemGetDriverVersion"))

    def utilisation_percent(self, index: int) -> int:
        return int(self._of("nvmlDeviceGetUtilizationRates", index).gpu)

    def memory_bytes(self, index: int) -> tuple[int, int]:
        memory = self._of("nvmlDeviceGetMemoryInfo", index)
        return int(memory.used), int(memory.total)

    def power_mw(self, index: int) -> int:
        return int(self._of("nvmlDeviceGetPowerUsage", index))

    def temperature_c(self, index: int) -> int:
        return int(self._of("nvmlDeviceGetTemperature", index, self._pynvml.NVML_TEMPERATURE_GPU))

    def _of(self, function: str, index: int, *more: object) -> Any:
        return self._call(function, self._call("nvmlDeviceGetHandleByIndex", index), *more)

    def _call(self, function: str, *arguments: object) -> Any:
        try:
            return getattr(self._pynvml, function)(*arguments)
        except self._pynvml.NVMLError_LibraryNotFound:
            raise GpuUnread("libnvidia-ml.so.1 not found") from None
        except self._pynvml.NVMLError as error:
            raise GpuUnread(f"{function}: {error}") from None


def read_gpus(nvml: Nvml) -> tuple[GpuFigures, ...]:
    """Every GPU as it does now.

    Raises:
        GpuUnread: there is none, or not even its name is told.
    """
    count = nvml.count()
    if not count:
        raise GpuUnread("the driver finds no GPU")
    return tuple(_read(nvml, index) for index in range(count))


def _read(nvml: Nvml, index: int) -> GpuFigures:
    name, driver = nvml.identity(index)
    used, total = _told(nvml.memory_bytes, index) or (None, None)
    return GpuFigures(
        index=index,
        name=name,
        driver=driver,
        utilisation_percent=_told(nvml.utilisation_percent, index),
        memory_used_bytes=used,
        memory_total_bytes=total,
        power_mw=_told(nvml.power_mw, index),
        temperature_c=_told(nvml.temperature_c, index),
    )


def _told(figure: Callable[[int], Figure], index: int) -> Figure | None:
    try:
        return figure(index)
    except GpuUnread:
        return None


class GpuWatch:
    """Reads the GPUs once a second from `start` on; whoever asks gets the last reading at once."""

    def __init__(self, open_nvml: Callable[[], Nvml] = open_nvml) -> None:
        self._open_nvml = open_nvml
        self._last: tuple[GpuFigures, ...] | Unknown = _none("not read yet")
        self._last_s = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpus", daemon=True)  # a driver may hang for ever

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._ended.set()

    def now(self) -> tuple[GpuFigures, ...] | Unknown:
        """The last reading, or in one line why there is none."""
        age_s = time.monotonic() - self._last_s
        if not isinstance(self._last, Unknown) and age_s > _OLD_AFTER_S:
            return _none(f"the driver has not answered for {age_s:.0f} s")
        return self._last

    def _run(self) -> None:
        nvml: Nvml | None = None
        while True:
            try:
                nvml = nvml or self._open_nvml()
                self._last = read_gpus(nvml)
            except GpuUnread as error:
                nvml, self._last = None, _none(error.reason)
            self._last_s = time.monotonic()
            if self._ended.wait(_EVERY_S if nvml else _AGAIN_AFTER_S):
                return


def gpu_body(figures: tuple[GpuFigures, ...] | Unknown) -> list[dict[str, Any]] | dict[str, str]:
    """The figures as both control calls say them."""
    return {"unknown": figures.reason} if isinstance(figures, Unknown) else [asdict(one) for one in figures]


def _none(why: str) -> Unknown:
    return Unknown(f"no GPU figures: {why}")
