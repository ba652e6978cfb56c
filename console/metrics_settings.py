"""`[metrics]` in `mtok.toml`: where the collector answers Prometheus, if anywhere."""

from pydantic import model_validator

from console.setting_types import Section
from store.addresses import is_loopback, split_address


class MetricsSection(Section):
    """`address`: where `/metrics` of `mtok collect` listens, such as `127.0.0.1:9470`; nowhere, unless it is set.

    There is no password on it: another address than a loopback one needs `public = true`.
    """

    address: str | None = None
    public: bool = False

    @model_validator(mode="after")
    def _sound(self) -> "MetricsSection":
        if self.address is None:
            return self
        host, _ = split_address(self.address)
        if not self.public and not is_loopback(host):
            msg = f"address {host} is not loopback; set public = true if everybody there may read spend and tokens"
            raise ValueError(msg)
        return self
