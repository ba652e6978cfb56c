"""The way to a host: which machines, as whom, with which keys; from the settings and from `~/.ssh/config`.

What the settings say goes above the file, which is asked by the agent's name (`Host h100-a`), since addresses
change. Jump hosts are asked by the name that they are given.
"""

import getpass
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from console.errors import HostUnreachable
from console.hosts.target import SshTarget

Options = Mapping[str, str | list[str] | None]
_JUMP = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\]\s]+\]|[^:@\[\]\s]+)(?::(?P<port>\d{1,5}))?")
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")  # what ssh itself tries


@dataclass(frozen=True, slots=True)
class Hop:
    """One machine on the way: where it is, who logs in with what, and its name in known_hosts.

    `any_agent_key`: whether every key of the SSH agent may be offered, or only those of `key_files`.
    """

    address: str
    port: int
    user: str
    alias: str
    key_files: tuple[Path, ...]
    any_agent_key: bool = True

    @property
    def place(self) -> str:
        """`user@address:port`."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.user}@{host}:{self.port}"


def route(
    name: str, target: SshTarget, address: str | None, options_of: Callable[[str], Options]
) -> tuple[Hop, ...]:
    """The jump hosts in order, then the host itself. `options_of`: what the file says of a name.

    Raises:
        HostUnreachable: no address is known, or the file asks for something that is not done here.
    """
    options = options_of(name)
    named = _text(options, "hostname")
    address = target.address or address or (named if named != name else None)
    if not address:
        remedy = "its collector learns it from the inventory; or set ssh_address"
        raise HostUnreachable(name, "no address is known of it", remedy)
    jumps = target.proxy_jump or _text(options, "proxyjump") or "none"
    if jumps.lower() == "none" and options.get("proxycommand"):
        raise HostUnreachable(name, f"{target.config_file} has a ProxyCommand for it", "use ProxyJump instead")
    host = Hop(
        address=address,
        port=target.port or _port(options),
        user=target.user,
        alias=target.alias,
        key_files=(target.key_file,) if target.key_file else _key_files(options),
        any_agent_key=not _names_its_keys(options),
    )
    specs = [] if jumps.lower() == "none" else jumps.split(",")
    return (*(_jump(name, target, spec.strip(), options_of) for spec in specs), host)


def _jump(name: str, target: SshTarget, spec: str, options_of: Callable[[str], Options]) -> Hop:
    match = _JUMP.fullmatch(spec)
    if match is None:
        remedy = "write [user@]host[:port], several with commas between"
        raise HostUnreachable(name, f"ProxyJump {spec!r} is not understood", remedy)
    host = match["host"].strip("[]")
    options = options_of(host)
    if options.get("proxyjump") not in (None, "none") or options.get("proxycommand"):
        remedy = f"name every jump host of {name} in one ProxyJump"
        raise HostUnreachable(name, f"jump host {host} has a ProxyJump or ProxyCommand of its own", remedy)
    address = _text(options, "hostname") or host
    port = int(match["port"]) if match["port"] else _port(options)
    known_as = address if port == 22 else f"[{address}]:{port}"
    own_key = (target.key_file,) if target.key_file and "identityfile" not in options else ()
    return Hop(
        address=address,
        port=port,
        user=match["user"] or _text(options, "user") or getpass.getuser(),
        alias=_text(options, "hostkeyalias") or known_as,
        key_files=(*own_key, *_key_files(options)),
        any_agent_key=not _names_its_keys(options),
    )


def _key_files(options: Options) -> tuple[Path, ...]:
    named = options.get("identityfile")
    folder = Path.home() / ".ssh"
    files = named if isinstance(named, list) else [str(folder / key) for key in _DEFAULT_KEYS]
    return tuple(path for file in files if _may_be_there(path := Path(file).expanduser()))


def _may_be_there(path: Path) -> bool:
    """Whether a key file is there; one that cannot even be looked for is kept, and named when nobody lets us in."""
    try:
        return path.is_file()
    except OSError:
        return True


def _text(options: Options, key: str) -> str | None:
    value = options.get(key)
    return value if isinstance(value, str) else None


def _port(options: Options) -> int:
    text = _text(options, "port") or "22"
    return int(text) if text.isdigit() else 22


def _names_its_keys(options: Options) -> bool:
    return (_text(options, "identitiesonly") or "").lower() == "yes"
