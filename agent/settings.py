"""`agent.toml`: what the agent may be told, and one clear line for whatever it may not.

Secrets never stand in the file: it names an environment variable (`…_env`) or a file (`…_file`). Relative
paths are relative to the settings file.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from store.errors import SettingsError
from store.settings_file import load_file, read_secret, read_text


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Section):
    """What one request, and all of them together, may take."""

    default_max_tokens: int = Field(default=256, ge=1)
    max_batch: int = Field(default=8, ge=1, le=64)
    max_queue: int = Field(default=64, ge=1)
    max_body_bytes: int = Field(default=1_000_000, ge=1_000)
    max_in_flight_s: float = Field(default=120.0, gt=0)


class AgentSettings(_Section):
    """The whole file. `path` is where it was read."""

    path: Path
    name: str = Field(min_length=1)
    public_address: str
    control_address: str
    control_public: bool = False
    control_secret_env: str | None = None
    control_secret_file: Path | None = None
    keys_file: Path
    ledger: Path
    model_dir: Path
    engine: Literal["reference"] = "reference"
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _sound(self) -> "AgentSettings":
        if (self.control_secret_env is None) == (self.control_secret_file is None):
            msg = "give either control_secret_env or control_secret_file"
            raise ValueError(msg)
        split_address(self.public_address)
        host, _ = split_address(self.control_address)
        if not self.control_public and not _is_loopback(host):
            msg = f"control_address {host} is not loopback; set control_public = true if that is meant"
            raise ValueError(msg)
        return self

    def beside(self, path: Path) -> Path:
        """A path of the file, from wherever this process runs."""
        return self.path.parent / path

    def control_secret(self) -> str:
        """The secret that the control API asks for.

        Raises:
            SettingsError: the variable is unset, or the file cannot be read or is empty.
        """
        where = f"{self.path}: control_secret"
        return read_secret(where, self.path.parent, self.control_secret_env, self.control_secret_file)

    def keys(self) -> "Keys":
        """The keys of the public API.

        Raises:
            SettingsError: the file cannot be read, or a line is no `label sha256`.
        """
        path = self.beside(self.keys_file)
        labels: dict[str, str] = {}
        for number, line in enumerate(read_text(f"{self.path}: keys_file", path).splitlines(), 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if len(words) != 2 or len(words[1]) != 64 or not all(c in "0123456789abcdef" for c in words[1]):
                raise SettingsError(f"{path}, line {number}", "is no `label sha256`", "correct or remove it")
            labels[words[1]] = words[0]
        return Keys(labels)


class Keys:
    """Keys of the public API, known by their SHA-256 alone."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)

    def label(self, key: str) -> str | None:
        """The label of a key, compared in constant time; None when it is not known."""
        given = hashlib.sha256(key.encode()).hexdigest()
        found = None
        for digest, label in self._labels.items():
            if hmac.compare_digest(digest, given):
                found = label
        return found


def load_agent_settings(path: Path) -> AgentSettings:
    """Read and check an agent's settings.

    Raises:
        SettingsError: not there, not TOML, an unknown key, a wrong value; it names the first at fault.
    """
    return load_file(AgentSettings, path)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8700`.

    Raises:
        ValueError: it is not written so.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        msg = f"{address!r} is no address; write one such as '127.0.0.1:8700'"
        raise ValueError(msg)
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
