"""How a host is reached by SSH, as the settings say it; and what came of a command there."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SshTarget:
    """One host. `alias` is the name under which known_hosts has its key: its instance's id.

    `address` is fixed by the settings, or None: then the inventory says it. What is None here is taken from
    `config_file`, a file in the format of `ssh_config(5)`, or else as `ssh` would take it.
    """

    user: str
    alias: str
    config_file: Path
    known_hosts_file: Path
    address: str | None = None
    port: int | None = None
    key_file: Path | None = None
    proxy_jump: str | None = None
    connect_within_s: float = 10.0
    keepalive_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command on a host gave."""

    exit_code: int
    stdout: str
    stderr: str
