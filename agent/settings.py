"""`agent.toml`: what the agent may be told, and one clear line for whatever it may not.

Secrets never stand in the file: it names an environment variable (`…_env`) or a file (`…_file`). Relative
paths are relative to the settings file.
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.keys import Keys
from agent.trace_settings import Otlp
from store.addresses import is_loopback, split_address
from store.errors import SettingsError
from store.settings_file import load_file, read_key

ENVIRONMENT = "MTOK_AGENT_"
UNIX = "unix:"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Section):
    """What one request, and all of them together, may take.

    `max_request_s` and `max_in_flight_s` cap a request: it ends with its full usage. The second begins when the
    lease closes, or when the ledger is late in writing what was served. `request_within_s` is how long a client may
    take to send a request whole.
    """

    default_max_tokens: int = Field(default=256, ge=1)
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    max_batch: int = Field(default=8, ge=1, le=64)
    max_queue: int = Field(default=64, ge=1)
    max_body_bytes: int = Field(default=1_000_000, ge=1_000)
    max_connections: int = Field(default=2048, ge=1)
    max_in_flight_s: float = Field(default=120.0, gt=0)
    max_request_s: float = Field(default=1800.0, gt=0)
    request_within_s: float = Field(default=30.0, gt=0)
    drain_s: float = Field(default=5.0, ge=0)


class Retention(_Section):
    """How long the ledger keeps single entries. Totals keep everything."""

    days: int = Field(default=35, ge=1, le=36_500)  # dates begin with the year 1
    entries: int = Field(default=1_000_000, ge=1_000)  # each start looks at all of them: 0.4 s a million


class NullSection(_Section):
    """How the null engine paces itself: so many tokens a step, and no step sooner than `step_ms` after the last."""

    tokens_per_step: int = Field(default=1, ge=1)
    step_ms: float = Field(default=0.0, ge=0)


class ExLlamaV2(_Section):
    """What ExLlamaV2 runs a model with.

    `cache_tokens` are keys and values for all requests together: a Llama 3 of 8B needs 128 KiB for each in `fp16`.
    `context_tokens` is the most for one request; None is what the model says. `gpu_split` gives the GiB for weights
    on each GPU, `autosplit` fills one GPU after the other; with neither the first GPU takes all.
    """

    cache: Literal["fp16", "q8", "q6", "q4"] = "fp16"
    cache_tokens: int = Field(default=32_768, ge=256, multiple_of=256)
    context_tokens: int | None = Field(default=None, ge=256)
    max_chunk_tokens: int = Field(default=2048, ge=256, le=16_384, multiple_of=256)
    draft_model_dir: Path | None = None
    ngram_draft: bool = False
    draft_tokens: int = Field(default=4, ge=1, le=16)
    autosplit: bool = False
    gpu_split: tuple[Annotated[float, Field(gt=0)], ...] = ()
    attention: Literal["auto", "flash-attn", "agent-paged", "unpaged"] = "auto"
    token_healing: bool = False
    extension_dir: Path | None = None
    build_within_s: float = Field(default=1800.0, gt=0)

    @model_validator(mode="after")
    def _in_agreement(self) -> "ExLlamaV2":
        if self.ngram_draft and self.draft_model_dir is not None:
            msg = "give either draft_model_dir or ngram_draft, not both"
            raise ValueError(msg)
        if self.autosplit and self.gpu_split:
            msg = "give either autosplit or gpu_split, not both"
            raise ValueError(msg)
        return self


class Tls(_Section):
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path


_SECTIONS: dict[str, type[BaseModel]] = {
    "limits": Limits,
    "retention": Retention,
    "tls": Tls,
    "null": NullSection,
    "exllamav2": ExLlamaV2,
    "otlp": Otlp,
}


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
    engine: Literal["reference", "null", "exllamav2"] = "reference"
    null: NullSection = NullSection()
    exllamav2: ExLlamaV2 = ExLlamaV2()
    otlp: Otlp = Otlp()
    engine_journal: Path | None = None
    tls: Tls | None = None
    vanishing_paths: tuple[Path, ...] = ()
    allow_vanishing: bool = False
    limits: Limits = Limits()
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _sound(self) -> "AgentSettings":
        if (self.control_secret_env is None) == (self.control_secret_file is None):
            msg = "give either control_secret_env or control_secret_file"
            raise ValueError(msg)
        split_address(self.public_address)
        if self.control_socket is not None:
            return self
        host, _ = split_address(self.control_address)
        if is_loopback(host):
            return self
        if not self.control_public:
            msg = f"control_address {host} is not loopback; set control_public = true if that is meant"
            raise ValueError(msg)
        if self.tls is None:
            msg = f"control_address {host} is not loopback: its secret would be sent in the clear; add [tls]"
            raise ValueError(msg)
        return self

    def beside(self, path: Path) -> Path:
        """A path of the file, from wherever this process runs."""
        return self.path.parent / path

    def tls_files(self) -> tuple[Path, Path] | None:
        """The certificate and its key, where TLS is set up.

        Raises:
            SettingsError: they cannot be used.
        """
        if self.tls is None:
            return None
        certificate, key = self.beside(self.tls.certificate), self.beside(self.tls.key)
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        except OSError as error:
            problem = f"cannot use {certificate} with {key}: {error.strerror or error}"
            raise SettingsError(f"{self.path}: tls", problem, "name a certificate and its key, as PEM") from None
        return certificate, key

    @property
    def control_socket(self) -> Path | None:
        """The Unix socket of the control API, when its address is `unix:PATH`."""
        if not self.control_address.startswith(UNIX):
            return None
        return self.beside(Path(self.control_address.removeprefix(UNIX)))

    def control_secret(self) -> str:
        """The secret that the control API asks for.

        Raises:
            SettingsError: the variable is unset, the file cannot be read or is empty, or it is not one line.
        """
        where = f"{self.path}: control_secret"
        return read_key(where, self.path.parent, self.control_secret_env, self.control_secret_file)

    def keys(self) -> Keys:
        """The keys of the public API.

        Raises:
            SettingsError: the file cannot be read, or a line is no `label sha256`.
        """
        return Keys(f"{self.path}: keys_file", self.beside(self.keys_file))


def load_agent_settings(path: Path, environment: Mapping[str, str] | None = None) -> AgentSettings:
    """Read and check an agent's settings; `MTOK_AGENT_NAME` stands above `name`.

    A section's setting has two underscores: `MTOK_AGENT_LIMITS__MAX_QUEUE`.

    Raises:
        SettingsError: not there, not TOML, an unknown key, a wrong value; it names the first at fault.
    """
    given = os.environ if environment is None else environment
    names = [name for name in sorted(given) if name.startswith(ENVIRONMENT)]
    return load_file(AgentSettings, path, _nested({name: given[name] for name in names}))


def _nested(variables: Mapping[str, str]) -> dict[str, Any]:
    """Settings from variables.

    Raises:
        SettingsError: a variable that names no setting.
    """
    found: dict[str, Any] = {}
    for name, value in variables.items():
        if name.endswith("_SECRET"):
            continue  # never a setting: `control_secret_env` may name it
        first, _, inner = name.removeprefix(ENVIRONMENT).lower().partition("__")
        section = _SECTIONS.get(first)
        fields = AgentSettings.model_fields if section is None else section.model_fields
        field = first if section is None else inner
        if field not in fields or field == "path" or (inner and section is None):
            raise SettingsError(name, "there is no such setting", "unset it, or check its spelling")
        if section is None:
            found[first] = value
        else:
            found.setdefault(first, {})[inner] = value
    return found
