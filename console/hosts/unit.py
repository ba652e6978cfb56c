"""The systemd unit of an agent: started at boot, started again whenever it ends, and kept in a small cage."""

NAME = "mtok-agent.service"

_UNIT = """\
[Unit]
Description=mtok agent
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
# ready means that the weights are loaded
TimeoutStartSec=30min
# alive means that the engine's thread goes round
WatchdogSec=90
{user}WorkingDirectory={home}
ExecStart={home}/venv/bin/mtok agent serve --config {home}/agent.toml
Restart=always
RestartSec=2
# requests in flight end first
TimeoutStopSec=130
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
{cage}
[Install]
WantedBy={target}
"""

# A user's own service manager may make no mount namespace, so these are for a system unit alone (a user unit
# with them ends with 226/NAMESPACE). No PrivateDevices: the GPU is a device; no MemoryDenyWriteExecute: torch
# compiles kernels.
_CAGE = """\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={home}
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
"""


def unit_text(home: str, user: str | None) -> str:
    """The unit that serves from `home`; a system unit that runs as `user`, or a user's own where that is None."""
    is_system = user is not None
    return _UNIT.format(
        home=home,
        user=f"User={user}\n" if is_system else "",
        cage=_CAGE.format(home=home) if is_system else "",
        target="multi-user.target" if is_system else "default.target",
    )
