"""The section `[alarms]` of the settings: who is told, and who hears that all is well."""

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from console.setting_types import Credential, Section, host_of, only_one_of


class ChannelSection(Section):
    """Where alarms go: an apprise URL (Slack, PagerDuty, e-mail, ntfy, …), which holds a secret."""

    name: str = Field(min_length=1)
    url_env: str | None = None
    url_file: Path | None = None
    url_credential: Credential | None = None

    @model_validator(mode="after")
    def _one_url(self) -> "ChannelSection":
        only_one_of(self, "url_env", "url_file", "url_credential")
        return self


class AlarmsSection(Section):
    """Who is told, at most how often, and the address that hears of every complete tick."""

    channels: tuple[ChannelSection, ...] = ()
    most_per_10_min: int = Field(default=20, ge=1)
    heartbeat_url: str | None = None

    @field_validator("heartbeat_url")
    @classmethod
    def _is_address(cls, given: str | None) -> str | None:
        if given is not None:
            host_of("it", given)
        return given
