"""docs/providers.md: its settings load, its example is a kind, and it lists every check and every option."""

import re
import tomllib
from pathlib import Path

from console.providers.conformance import CHECKS
from console.providers.files_kind import FilesOptions
from console.providers.files_rows import FOCUS, read_charges
from console.providers.registry import BUILT_IN, ProviderKind
from console.settings import Settings

TEXT = (Path(__file__).parents[1] / "docs" / "providers.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_every_check_is_listed_with_its_promise() -> None:
    for check in CHECKS:
        assert f"| `{check.name}` | {check.promise} |" in TEXT


def test_every_option_of_files_and_every_column_is_named() -> None:
    for name in FilesOptions.model_fields:
        assert f"{name} = " in TEXT
    for column in FOCUS:
        assert f"`{column}`" in TEXT


def test_the_settings_load(tmp_path: Path) -> None:
    hyperstack, files, budget, point = blocks("toml")
    whole = tomllib.loads(f"{hyperstack}\n{files}\n{budget}")
    settings = Settings.model_validate({**whole, "path": tmp_path / "mtok.toml"})
    assert {section.kind for section in settings.providers.values()} <= set(BUILT_IN)
    assert settings.gate_policy.currency_limits_nusd == {"EUR": 180 * 10**9}
    assert tomllib.loads(point)["project"]["entry-points"]["mtok.providers"] == {"acme": "mtok_acme.kind:KIND"}


def test_the_example_file_is_read() -> None:
    (example,) = blocks("csv")
    charges, problems = read_charges(example, {})
    assert not problems
    assert [str(one.amount) for one in charges] == ["48.00"]


def test_the_example_kind_is_one() -> None:
    space: dict[str, object] = {"__name__": "mtok_acme.kind"}
    exec(blocks("python")[0], space)
    kind = space["KIND"]
    assert isinstance(kind, ProviderKind)
    assert kind.options().model_dump() == {"region": "eu-1"}
