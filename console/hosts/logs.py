"""`mtok host logs`: what an agent writes, from its host's journal."""

import shlex
from collections.abc import AsyncIterator

from console.hosts.host import SshHost
from console.hosts.unit import NAME


def agent_logs(host: SshHost, *, follow: bool, last: int) -> AsyncIterator[str]:
    """The last lines of the agent's log, and with `follow` every new one.

    Raises:
        HostUnreachable: the host cannot be reached, or has no journal that this user may read.
    """
    options = f"--unit {shlex.quote(NAME)} --lines {last} --output short-iso --no-pager{' --follow' * follow}"
    command = (
        'export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"; '
        f'if [ -e "$HOME/.config/systemd/user/{NAME}" ]; then exec journalctl --user {options}; '
        f"else exec journalctl {options}; fi"
    )
    return host.lines(command)
