"""Measure any terminal program in a pseudo-terminal: `python -m tests.bench.probe [options] -- COMMAND [ARG...]`.

It starts COMMAND on a terminal of a fixed size, answers the queries that a real terminal would answer, and reports
start (until 90 % of the settled screen is there), idle (bytes, as `ssh -C` would send them too, processor, memory),
keys, resize, a stuck line, and how it ends. Each start is a fresh process; with --drop-caches (root) the page cache
is empty too. Times on a busy machine are worth little: "others" is what everything else used, in per cent of one
core. Only processes that it started are ever signalled.
"""

import argparse
import json
import sys

from tests.bench.probe.measure import Wanted, measure
from tests.bench.probe.program import NoSuchProgram, Setting
from tests.bench.probe.report import rounded, told


def main() -> int:
    """Measure and print."""
    parser = _parser()
    args = parser.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        parser.error("no command given (put it after --)")
    try:
        report = measure(_setting(args, command), _wanted(args))
    except NoSuchProgram as error:
        sys.exit(f"command not found: {error}")
    print(json.dumps(rounded(report)) if args.json else told(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _terminal_options(parser)
    _phase_options(parser)
    parser.add_argument("--dump", default="", help="write the screen as text here")
    parser.add_argument("--dump-resized", default="", help="write the screen after --resize here")
    parser.add_argument("--raw", default="", help="write the raw output bytes here")
    parser.add_argument("--label", default="")
    parser.add_argument("--json", action="store_true", help="report as one line of JSON")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def _terminal_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cols", type=int, default=120)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--term", default="xterm-256color")
    parser.add_argument("--colorterm", default="", help="value of COLORTERM; empty removes it")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--unset", action="append", default=[], metavar="NAME")
    parser.add_argument("--clean-env", action="store_true", help="pass on only PATH, HOME, USER, LANG")
    parser.add_argument("--cwd")
    parser.add_argument("--replies", choices=["none", "xterm", "modern"], default="modern")
    parser.add_argument("--background", choices=["dark", "light"], default="dark", help="what OSC 11 is answered")


def _phase_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=1, help="starts to measure; medians are reported")
    parser.add_argument("--warm", type=int, default=0, help="starts to make and forget first")
    parser.add_argument("--drop-caches", action="store_true", help="empty the page cache before each start (root)")
    parser.add_argument("--wait-machine", type=float, default=0, metavar="SECONDS", help="wait for a quiet machine")
    parser.add_argument("--busy-max", type=float, default=15, metavar="PERCENT", help="what counts as quiet")
    parser.add_argument("--quiet", type=float, default=0.35, help="seconds without output that mean quiescent")
    parser.add_argument("--start-limit", type=float, default=20.0)
    parser.add_argument("--wait-text", default="", help="also time the first screen that shows this text")
    parser.add_argument("--before", default="", help='keys to send first, such as "tab enter wait:0.5"')
    parser.add_argument("--duration", type=float, default=10.0, help="seconds of the idle measurement")
    parser.add_argument("--key", action="append", default=[], help="key to time; repeat to alternate")
    parser.add_argument("--key-count", type=int, default=20)
    parser.add_argument("--key-gap", type=float, default=0.15)
    parser.add_argument("--key-limit", type=float, default=2.0)
    parser.add_argument("--resize", type=_size, help="COLSxROWS to resize to at the end")
    parser.add_argument("--stall", type=float, default=0, metavar="SECONDS", help="stop reading for so long")
    parser.add_argument("--exits", action="store_true", help="start afresh for three signals and a closed terminal")
    parser.add_argument("--quit", default="", help='keys that quit, such as "q" or "ctrl+q"; else SIGTERM')
    parser.add_argument("--exit-limit", type=float, default=5.0)


def _size(text: str) -> tuple[int, int]:
    cols, rows = text.lower().split("x")
    return int(cols), int(rows)


def _setting(args: argparse.Namespace, command: list[str]) -> Setting:
    names = ("cols", "rows", "term", "colorterm", "env", "unset", "clean_env", "cwd", "replies", "background")
    return Setting(command, **{name: getattr(args, name) for name in names})


def _wanted(args: argparse.Namespace) -> Wanted:
    return Wanted(
        runs=args.runs,
        warm=args.warm,
        drops_caches=args.drop_caches,
        wait_machine_s=args.wait_machine,
        busy_max_percent=args.busy_max,
        quiet_s=args.quiet,
        start_limit_s=args.start_limit,
        wait_text=args.wait_text,
        before=args.before,
        duration_s=args.duration,
        keys=args.key,
        key_count=args.key_count,
        key_gap_s=args.key_gap,
        key_limit_s=args.key_limit,
        resize=args.resize,
        stall_s=args.stall,
        exits=args.exits,
        quit_keys=args.quit,
        exit_limit_s=args.exit_limit,
        dump=args.dump,
        dump_resized=args.dump_resized,
        raw=args.raw,
        label=args.label,
    )


if __name__ == "__main__":
    sys.exit(main())
