"""The agent's settings: by file, and above it by the environment."""

from pathlib import Path

import pytest

from agent.settings import load_agent_settings
from store.errors import SettingsError
from tests.agent.conftest import write_settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_settings(tmp_path, tmp_path / "model", "[limits]\nmax_queue = 7\n")


def test_the_environment_stands_above_the_file(path: Path) -> None:
    environment = {
        "MTOK_AGENT_NAME": "b",
        "MTOK_AGENT_LIMITS__MAX_BATCH": "3",
        "MTOK_AGENT_CONTROL_PUBLIC": "true",
        "MTOK_AGENT_CONTROL_SECRET": "a value that control_secret_env may name",
        "OTHER": "x",
    }
    settings = load_agent_settings(path, environment)
    assert (settings.name, settings.limits.max_batch, settings.limits.max_queue) == ("b", 3, 7)
    assert settings.control_public is True
    assert load_agent_settings(path, {}).name == "a"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("MTOK_AGENT_COLOUR", "red", "MTOK_AGENT_COLOUR: there is no such setting"),
        ("MTOK_AGENT_LIMITS", "3", "MTOK_AGENT_LIMITS: there is no such setting"),
        ("MTOK_AGENT_LIMITS__COLOUR", "3", "MTOK_AGENT_LIMITS__COLOUR: there is no such setting"),
        ("MTOK_AGENT_NAME__X", "3", "MTOK_AGENT_NAME__X: there is no such setting"),
        ("MTOK_AGENT_PATH", "/", "MTOK_AGENT_PATH: there is no such setting"),
        ("MTOK_AGENT_LIMITS__MAX_BATCH", "many", "limits.max_batch"),
        ("MTOK_AGENT_CONTROL_ADDRESS", "0.0.0.0:1", "is not loopback"),
    ],
)
def test_a_fault_in_the_environment_is_named(path: Path, name: str, value: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_agent_settings(path, {name: value})


def test_a_unix_socket_stands_beside_the_file(path: Path) -> None:
    settings = load_agent_settings(path, {"MTOK_AGENT_CONTROL_ADDRESS": "unix:control.sock"})
    assert settings.control_socket == path.parent / "control.sock"
    assert load_agent_settings(path, {}).control_socket is None
