"""Kinds of provider: ours, and what other people's packages add; each failure is one line."""

import importlib.metadata
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Protocol

import pytest

from console.errors import KindBroken, KindRefused, KindUnknown
from console.providers.registry import BUILT_IN, GROUP, ProviderKind, kind_names, provider_kind
from console.settings import load_settings
from store.errors import ExitCode, SettingsError

PLUGIN = """
from dataclasses import replace
from console.providers.registry import Options, provider_kind

class AcmeOptions(Options):
    region: str = "eu"

KIND = replace(provider_kind("simulator"), kind="acme", title="Acme", options=AcmeOptions)
OTHER = replace(KIND, kind="else")
WORDS = "no kind"
"""
SETTINGS = """
tiers = []
[budget]
daily_usd = "10"
[providers.cloud]
kind = "acme"
api_key_env = "KEY"
region = "us"
"""


class Install(Protocol):
    """Puts a package with one entry point on the path, as an installer would."""

    def __call__(self, package: str, point: str, module: str = PLUGIN) -> None: ...


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))

    def add(package: str, point: str, module: str = PLUGIN) -> None:
        folder = tmp_path / "site" / f"{package}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8"
        )
        (folder / "entry_points.txt").write_text(f"[{GROUP}]\n{point}\n", encoding="utf-8")
        (folder.parent / f"{package}.py").write_text(module, encoding="utf-8")

    return add


def test_a_package_adds_a_kind_with_settings_of_its_own(install: Install, tmp_path: Path) -> None:
    install("mtok_acme", "acme = mtok_acme:KIND")
    assert "acme" in kind_names()
    assert provider_kind("acme").title == "Acme"
    file = tmp_path / "mtok.toml"
    file.write_text(SETTINGS, encoding="utf-8")
    section = load_settings(file).providers["cloud"]
    assert section.options.model_dump() == {"region": "us"}
    file.write_text(SETTINGS.replace("region", "colour"), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"providers\.cloud\.colour: there is no such setting"):
        load_settings(file)


@pytest.mark.parametrize(
    ("point", "module", "says"),
    [
        ("acme = mtok_acme:KIND", "import no_such_module_at_all", "ModuleNotFoundError"),
        ("acme = mtok_acme:KIND", "raise RuntimeError('line one\\nline two')", "line one line two"),
        ("acme = mtok_acme:NOTHING", PLUGIN, "NOTHING"),
        ("acme = mtok_acme:WORDS", PLUGIN, "a str, not a ProviderKind"),
        ("acme = mtok_acme:OTHER", PLUGIN, "says that it is 'else'"),
    ],
)
def test_a_broken_package_is_one_line(install: Install, point: str, module: str, says: str) -> None:
    install("mtok_acme", point, module)
    with pytest.raises(KindBroken) as caught:
        provider_kind("acme")
    assert says in str(caught.value)
    assert "mtok_acme" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_two_packages_with_one_name_are_refused(install: Install) -> None:
    install("mtok_acme", "acme = mtok_acme:KIND")
    install("mtok_other", "acme = mtok_other:KIND")
    with pytest.raises(KindBroken, match="several packages register it: mtok_acme, mtok_other"):
        provider_kind("acme")


def test_ours_cannot_be_replaced(install: Install) -> None:
    install("mtok_acme", "hyperstack = mtok_acme:KIND")
    assert provider_kind("hyperstack").title == "Hyperstack"


def test_ours_are_there_without_any_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: ())
    assert kind_names() == tuple(sorted(BUILT_IN))
    for name in kind_names():
        assert provider_kind(name).kind == name
    with pytest.raises(KindUnknown, match=r"choose one of: .*hyperstack"):
        provider_kind("nebula")


def test_what_is_built_in_is_what_the_package_registers() -> None:
    import tomllib

    pyproject = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["entry-points"][GROUP] == dict(BUILT_IN)
    for name, value in BUILT_IN.items():
        kind = EntryPoint(name, value, GROUP).load()
        assert isinstance(kind, ProviderKind)
        assert kind is provider_kind(name)


def test_no_kind_makes_the_settings_slow_to_read() -> None:
    """A kind's own module is light: its adapter and its simulator are imported when they are needed."""
    import subprocess

    names = [value.partition(":")[0] for value in BUILT_IN.values()]
    code = f"import sys, {', '.join(names)}; print(*[m for m in ('httpx', 'http.server') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_an_unknown_kind_is_one_line_that_lists_the_known(tmp_path: Path) -> None:
    file = tmp_path / "mtok.toml"
    file.write_text(SETTINGS.replace("acme", "nebula"), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert "providers.cloud.kind: there is no kind of provider 'nebula'" in str(caught.value)
    assert "hyperstack" in str(caught.value)
    assert issubclass(KindUnknown, KindRefused)
