"""Which kinds of provider there are: ours, and what other people's packages add by entry points.

A package adds a kind `acme` so, and `docs/providers.md` says the rest:

    [project.entry-points."mtok.providers"]
    acme = "mtok_acme.kind:KIND"          # a `ProviderKind` whose `kind` is "acme"

Ours are registered in the same way, and are also listed here, so that they are there whatever an old installation's
metadata says. A package can add a kind and never replace one of ours: what reads the bills is nobody's to swap.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from console.errors import KindBroken, KindUnknown
from store.clock import Clock, SetClock

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from console.providers.protocol import Provider, Ref
    from console.providers.trial import Trial

GROUP = "mtok.providers"
BUILT_IN: Mapping[str, str] = {
    "files": "console.providers.files_kind:KIND",
    "hyperstack": "console.providers.hyperstack_kind:KIND",
    "runpod": "console.providers.runpod_kind:KIND",
    "runpod-simulator": "console.providers.runpod_kind:SIMULATOR",
    "simulator": "console.providers.hyperstack_kind:SIMULATOR",
    "vast": "console.providers.vast_kind:KIND",
    "vast-simulator": "console.providers.vast_kind:SIMULATOR",
}


class Options(BaseModel):
    """The settings that one kind knows beside those of every provider. A kind's own model derives from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a kind's bills, shown by `mtok provider list` and in docs/providers.md.

    `step`: how often a bill moves, as documented; None where nobody states it. `lag`: how far it may trail.
    `least_poll`: asking more often is not allowed. `quantum_nusd`: to what an amount is rounded, in nano-units.
    `source`: where all this was read, with its date.
    """

    bill: Literal["lifetime", "window", "bucket"]
    step: timedelta | None
    asleep_bills: str
    sleep_loses: str
    bills_volumes: bool
    can_backfill: bool
    currency: Literal["stated", "assumed"]
    least_poll: timedelta
    source: str
    lag: timedelta | None = None
    steps_are: str = ""
    quantum_nusd: int = 1


@dataclass(frozen=True, slots=True)
class Opening:
    """What an adapter is opened with. `key` is empty where the kind needs none; `base_url` has no default left.

    `options` is an instance of the kind's own model. `folder` is the settings file's: relative paths start there.
    `named`: every resource that a tier of the settings names.
    """

    name: str
    key: str
    base_url: str
    options: Options
    clock: Clock
    folder: Path
    named: tuple["Ref", ...] = ()


@dataclass(frozen=True, slots=True)
class SimulatorSpec:
    """A kind's simulator. `module` runs as a process by `python -m`, with the options of ours.

    `trial` starts one inside this process, on loopback, whose world goes by the clock that it is given.
    """

    module: str
    trial: Callable[[SetClock], AbstractContextManager["Trial"]]


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """One kind of provider: how it is opened, what it may be told, and what is known of its bills.

    `open` must not ask anything yet. `needs_key`: the settings have to name an API key.
    """

    kind: str
    title: str
    base_url: str
    facts: Facts
    open: Callable[[Opening], "Provider"]
    options: type[Options] = Options
    needs_key: bool = True
    is_simulated: bool = False
    simulator: SimulatorSpec | None = None


def kind_names() -> tuple[str, ...]:
    """The names of every kind that could be opened here, in order."""
    return tuple(sorted({*BUILT_IN, *_plugins()}))


def provider_kind(name: str) -> ProviderKind:
    """The kind called `name`.

    Raises:
        KindUnknown: there is none; it lists those that there are.
        KindBroken: its package cannot be imported, or gives something else.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        kind: ProviderKind = getattr(import_module(module), attribute)
        return kind
    points = _plugins().get(name)
    if points is None:
        raise KindUnknown(name, kind_names())
    if len(points) > 1:
        raise KindBroken(name, f"several packages register it: {', '.join(sorted(map(_package, points)))}")
    return _loaded(name, points[0])


def _plugins() -> dict[str, list["EntryPoint"]]:
    """By name, what other packages register; one package found twice on the path counts once."""
    from importlib.metadata import entry_points  # 20 ms that only such a provider pays

    found: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        if point.name not in BUILT_IN:
            found.setdefault(point.name, {}).setdefault(f"{_package(point)} {point.value}", point)
    return {name: list(points.values()) for name, points in found.items()}


def _package(point: "EntryPoint") -> str:
    return point.dist.name if point.dist is not None else "a package"


def _loaded(name: str, point: "EntryPoint") -> ProviderKind:
    where = f"{_package(point)} ({point.value})"
    try:
        kind = point.load()
    except Exception as error:  # other people's code: whatever it raises is one line
        raise KindBroken(name, f"{where} cannot be imported: {type(error).__name__}: {_line(error)}") from error
    if not isinstance(kind, ProviderKind):
        raise KindBroken(name, f"{where} is a {type(kind).__name__}, not a ProviderKind")
    if kind.kind != name:
        raise KindBroken(name, f"{where} says that it is {kind.kind!r}")
    return kind


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
