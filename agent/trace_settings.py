"""`[otlp]` in `agent.toml`: where the agent's traces go, if anywhere."""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from store.errors import SettingsError
from store.settings_file import read_secret

_TRACES = "/v1/traces"


class Otlp(BaseModel):
    """A receiver of OTLP over HTTP; without an `endpoint` nothing is traced.

    `headers_env` or `headers_file`: `name=value,name=value`, such as its password. `most_queued`: spans that wait;
    what comes beyond them is dropped and counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str | None = None
    headers_env: str | None = None
    headers_file: Path | None = None
    most_queued: int = Field(default=2048, ge=1)

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, given: str | None) -> str | None:
        if given is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", given):
            msg = f"{given!r} is no address of HTTP; write one such as 'http://127.0.0.1:4318'"
            raise ValueError(msg)
        return given

    @model_validator(mode="after")
    def _one_source(self) -> "Otlp":
        if self.headers_env is not None and self.headers_file is not None:
            msg = "give either headers_env or headers_file"
            raise ValueError(msg)
        return self

    @property
    def url(self) -> str:
        """Where spans are posted to."""
        assert self.endpoint is not None
        base = self.endpoint.rstrip("/")
        return base if base.endswith(_TRACES) else f"{base}{_TRACES}"

    def headers(self, where: str, folder: Path) -> dict[str, str]:
        """What is sent with each post.

        Raises:
            SettingsError: the variable or the file cannot be read, or is not written so.
        """
        if self.headers_env is None and self.headers_file is None:
            return {}
        found = {}
        for pair in read_secret(where, folder, self.headers_env, self.headers_file).split(","):
            name, equals, value = pair.partition("=")
            if not equals or not name.strip():
                raise SettingsError(where, "is not written as name=value,name=value", "correct it")
            found[name.strip().lower()] = value.strip()
        return found
