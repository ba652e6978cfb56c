"""Settings files and key files of any content: read, or refused in one of our own errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.keys import read_keys
from agent.settings import AgentSettings, Limits, load_agent_settings
from console.settings import Settings, load_settings
from store.errors import SettingsError

TRAPS = [
    "",
    "\0",
    "1d",
    f"{'9' * 400}d",
    "America",
    "~nobody/x",
    "-1",
    "1e400",
    "NaN",
    "unix:\0",
    f"a:{'9' * 5000}",
]
BASE = 'tiers = []\n[budget]\ndaily_usd = "1"\n[providers.c]\nkind = "simulator"\napi_key_env = "X"\n'
SECTIONS: dict[str, Any] = {
    name: Settings.model_fields[name].annotation
    for name in ("store", "budget", "collector", "retention", "alarms", "ssh", "console")
}
PLACES = [(section, name) for section, model in SECTIONS.items() for name in model.model_fields]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(TRAPS)
numbers = st.integers() | st.sampled_from([2**63, -(2**63), 10**400]) | st.floats()
values = st.recursive(
    texts | numbers | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def documents(model: Any, sections: dict[str, Any]) -> st.SearchStrategy[str]:
    """Settings files: some right names, with anything as their values."""
    inner = {
        name: st.dictionaries(st.sampled_from([*section.model_fields]) | texts, values, max_size=4)
        for name, section in sections.items()
    }
    plain = st.dictionaries(st.sampled_from([*model.model_fields]) | texts, values, max_size=5)
    whole = st.builds(lambda one, two: {**one, **two}, plain, st.fixed_dictionaries({}, optional=inner))
    return whole.map(lambda body: "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in body.items()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def refused_or_read(path: Path, text: str | bytes, load: Callable[[Path], Any]) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        load(path)
    except SettingsError as error:
        told = str(error)
        assert str(path) in told or path.name in told


@given(documents(Settings, SECTIONS) | st.binary(max_size=200))
@example(f"a = {'1' * 5000}")
@example(f"a = {'[' * 5000}")
@example('store = "\\u0000"')
def test_settings_are_read_or_refused(folder: Path, text: str | bytes) -> None:
    refused_or_read(folder / "mtok.toml", text, load_settings)


@given(
    st.sampled_from([(section, name) for section, model in SECTIONS.items() for name in model.model_fields]), values
)
@example(("budget", "timezone"), "America")
@example(("budget", "timezone"), "a" * 300)
@example(("budget", "dark_after"), "9999999999999d")
@example(("ssh", "config_file"), "~nobody-here/config")
@example(("collector", "every"), f"{'9' * 400}d")
def test_a_file_with_one_wrong_setting_is_read_or_refused(folder: Path, place: tuple[str, str], value: Any) -> None:
    section, name = place
    line = f"{name} = {toml(value)}\n"
    text = BASE.replace("tiers = []\n", f"tiers = []\n[{section}]\n{line}")
    if section == "budget":
        text = BASE.replace('daily_usd = "1"\n', line if name == "daily_usd" else f'daily_usd = "1"\n{line}')

    def use(path: Path) -> None:
        found = load_settings(path)
        _ = found.gate_policy, found.retention_policy, found.store_url

    refused_or_read(folder / "mtok.toml", text, use)


@given(documents(AgentSettings, {"limits": Limits}) | st.binary(max_size=200))
def test_an_agent_s_settings_are_read_or_refused(folder: Path, text: str | bytes) -> None:
    refused_or_read(folder / "agent.toml", text, lambda path: load_agent_settings(path, {}))


@given(
    st.binary(max_size=200)
    | st.from_regex(rb"[a-z.]{1,9} [0-9a-f]{64}( tokens_per_day=[0-9]{1,30})?", fullmatch=True)
)
@example(b"a " + b"0" * 64 + b" tokens_per_day=" + b"9" * 5000)
@example(b"a " + b"0" * 64 + b" tokens_per_day=\xd9\xa1")
def test_keys_are_read_or_refused(folder: Path, data: bytes) -> None:
    refused_or_read(folder / "keys", data, lambda path: read_keys("keys", path))


@pytest.mark.parametrize(
    ("line", "is_taken"),
    [
        ('base_url = "http://cloud.example/v1"', False),
        ('base_url = "ftp://cloud.example"', False),
        ('base_url = "http://localhost.example"', False),
        ('base_url = "http://127.0.0.1@cloud.example/"', False),
        ('base_url = "https://cloud.example/v1"', True),
        ('base_url = "http://127.0.0.1:80/v1"', True),
        ('base_url = "http://[::1]:80/v1"', True),
    ],
)
def test_a_key_is_never_sent_in_the_clear_to_elsewhere(folder: Path, line: str, is_taken: bool) -> None:
    path = folder / "clear.toml"
    path.write_text(f"{BASE}{line}\n", encoding="utf-8")
    if is_taken:
        assert load_settings(path)
        return
    with pytest.raises(SettingsError, match="base_url"):
        load_settings(path)


def test_a_secret_that_is_written_inline_is_refused_and_not_shown(folder: Path) -> None:
    path = folder / "inline.toml"
    for text in (
        f'{BASE}api_key = "sk-ZQXJ"\n',
        BASE.replace('api_key_env = "X"', 'api_key = "sk-ZQXJ"'),
        f'[[alarms.channels]]\nname = "a"\nurl = "slack://ZQXJ"\n{BASE.replace("tiers = []", "")}',
        f'secret = "ZQXJ"\n{BASE}',
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SettingsError) as refused:
            load_settings(path)
        assert "ZQXJ" not in str(refused.value)
