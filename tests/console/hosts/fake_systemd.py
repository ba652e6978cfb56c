"""What stands for systemd on a test's host where the machine has none: it runs the unit's ExecStart."""

from pathlib import Path

SYSTEMCTL = """\
#!/bin/sh
[ "$1" = --user ] && shift
unit="$HOME/.config/systemd/user/mtok-agent.service"
pid="$HOME/agent.pid"
runs() { [ -f "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }
echo "$@" >> "$HOME/systemctl.log"
case "$1" in
  show-environment | daemon-reload) ;;
  enable) [ -f "$unit" ] ;;
  is-active) runs ;;
  restart)
    runs && kill "$(cat "$pid")"
    while runs; do sleep 0.1; done
    setsid $(sed -n 's/^ExecStart=//p' "$unit") >> "$HOME/agent.log" 2>&1 < /dev/null &
    echo $! > "$pid" ;;
  *) exit 1 ;;
esac
"""

JOURNALCTL = """\
#!/bin/sh
lines=10; follow=
while [ $# -gt 0 ]; do
  case "$1" in --lines) lines=$2; shift ;; --follow) follow=-f ;; esac
  shift
done
exec tail $follow -n "$lines" "$HOME/agent.log"
"""


def write_fakes(folder: Path) -> None:
    """Put both into `folder`, for everybody to run."""
    folder.mkdir(mode=0o755)
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        path = folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
