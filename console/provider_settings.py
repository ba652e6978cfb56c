"""`[providers.NAME]` of the settings: what every provider may say, and what its kind adds."""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from console.errors import KindRefused
from console.providers.registry import Options, ProviderKind, provider_kind
from console.setting_types import Credential, Section, check_address, only_one_of


class IgnoreSection(Section):
    """A resource of other people's in the same account, and why it is none of ours."""

    id: str
    kind: Literal["instance", "volume", "other"] = "instance"
    reason: str = Field(min_length=1)


class ProviderSection(Section):
    """One account with one cloud. What the fields below do not name are settings of its kind."""

    model_config = ConfigDict(extra="allow")

    kind: str
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    api_key_credential: Credential | None = None
    ignore: tuple[IgnoreSection, ...] = ()

    @field_validator("kind")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            provider_kind(value)
        except KindRefused as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _as_its_kind_wants(self) -> "ProviderSection":
        names = ("api_key_env", "api_key_file", "api_key_credential")
        if self.registered.needs_key:
            only_one_of(self, *names)
        elif given := [name for name in names if getattr(self, name) is not None]:
            msg = f"a provider of kind {self.kind!r} has no key; remove {' and '.join(given)}"
            raise ValueError(msg)
        if self.registered.needs_key and self.base_url is not None:
            check_address("base_url", self.base_url)
        _ = self.options  # its fault, if it has one, is this section's
        return self

    @property
    def registered(self) -> ProviderKind:
        """The kind itself."""
        return provider_kind(self.kind)

    @property
    def options(self) -> Options:
        """The settings of its kind."""
        return self.registered.options.model_validate(self.__pydantic_extra__ or {})

    @property
    def address(self) -> str:
        """Where its API is."""
        return self.base_url if self.base_url is not None else self.registered.base_url
