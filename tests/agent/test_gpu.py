"""GPU figures: read where there are any; their absence is one line, and no error."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from agent.errors import GpuUnread
from agent.gpu import GpuFigures, GpuWatch, gpu_body, open_nvml, read_gpus
from store.unknown import Unknown


@dataclass
class Recorded:
    """What the driver of a machine with two H100 said; `unsupported` names the calls that one of them refuses."""

    gpus: int = 2
    unsupported: frozenset[str] = frozenset()
    calls: list[str] = field(default_factory=list)

    def count(self) -> int:
        return self.gpus

    def identity(self, index: int) -> tuple[str, str]:
        return "NVIDIA H100 PCIe", "570.86.15"

    def utilisation_percent(self, index: int) -> int:
        return self._told("utilisation", index, 97 - index)

    def memory_bytes(self, index: int) -> tuple[int, int]:
        return self._told("memory", index, 61_000_000_000), 85_520_809_984

    def power_mw(self, index: int) -> int:
        return self._told("power", index, 312_450)

    def temperature_c(self, index: int) -> int:
        return self._told("temperature", index, 64)

    def _told(self, what: str, index: int, value: int) -> int:
        self.calls.append(what)
        if index and what in self.unsupported:
            raise GpuUnread("Not Supported")
        return value


FIRST = GpuFigures(0, "NVIDIA H100 PCIe", "570.86.15", 97, 61_000_000_000, 85_520_809_984, 312_450, 64)


def test_every_gpu_is_read() -> None:
    first, second = read_gpus(Recorded())
    assert first == FIRST
    assert (second.index, second.utilisation_percent) == (1, 96)


def test_a_figure_that_a_gpu_does_not_give_is_none() -> None:
    unsupported = frozenset({"utilisation", "memory", "power", "temperature"})
    first, second = read_gpus(Recorded(unsupported=unsupported))
    assert first == FIRST
    assert second == GpuFigures(1, "NVIDIA H100 PCIe", "570.86.15", None, None, None, None, None)


def until(watch: GpuWatch, is_so: Callable[[object], bool]) -> tuple[GpuFigures, ...] | Unknown:
    watch.start()
    end_s = time.monotonic() + 10
    while not is_so(watch.now()) and time.monotonic() < end_s:
        time.sleep(0.01)
    watch.stop()
    return watch.now()


def test_a_watch_reads_in_its_own_thread() -> None:
    found = until(GpuWatch(Recorded), lambda now: not isinstance(now, Unknown))
    assert not isinstance(found, Unknown)
    assert found[0] == FIRST
    body = gpu_body(found)
    assert isinstance(body, list)
    assert body[0]["power_mw"] == 312_450


def settled(now: object) -> bool:
    return isinstance(now, Unknown) and "not read yet" not in now.reason


@pytest.mark.parametrize(
    ("missing", "why"),
    [("driver", "the driver finds no GPU"), ("package", "the package nvidia-ml-py is not installed")],
)
def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, missing: str, why: str) -> None:
    if missing == "package":
        monkeypatch.setitem(sys.modules, "pynvml", None)
    found = until(GpuWatch(open_nvml if missing == "package" else lambda: Recorded(gpus=0)), settled)
    assert found == Unknown(f"no GPU figures: {why}")
    assert gpu_body(found) == {"unknown": f"no GPU figures: {why}"}


def test_the_real_package_without_the_drivers_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def no_library(_name: str) -> object:
        raise OSError

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", no_library)
    assert until(GpuWatch(), settled) == Unknown("no GPU figures: libnvidia-ml.so.1 not found")


def test_a_driver_that_hangs_is_said_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = GpuWatch(Recorded)
    until(watch, lambda now: not isinstance(now, Unknown))
    now_s = time.monotonic()
    monkeypatch.setattr("agent.gpu.time.monotonic", lambda: now_s + 42)
    assert watch.now() == Unknown("no GPU figures: the driver has not answered for 42 s")
