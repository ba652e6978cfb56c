"""A report in a few aligned lines, or with its figures rounded for JSON."""

from collections.abc import Iterator
from typing import Any


def rounded(value: Any) -> Any:
    """The same with four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def told(report: dict[str, Any]) -> str:
    """All of it, a line a phase."""
    lines = [
        f"{report['label']}   {report['cols']}x{report['rows']} TERM={report['term']} runs={report['runs']}"
        + (" caches dropped" if report["drop_caches"] else "")
    ]
    lines += _start(report["start_median"])
    for name, tell in (("idle", _idle), ("key", _key), ("resize", _resize), ("stall", _stall)):
        lines += tell(report[name]) if report.get(name) else []
    leave = report["exit"]
    left = ", ".join(leave["terminal_not_restored"]) or "nothing"
    lines.append(
        f"  exit    {leave['seconds']:.2f} s by {leave['by']}, code {leave['exit_code']}, not restored: {left}"
    )
    lines.append("  emits   " + ", ".join(f"{name}×{times}" for name, times in report["emits"].items()))
    lines += [f"  {name:<8}{_ending(ending)}" for name, ending in report.get("exits", {}).items()]
    if report.get("output"):
        lines.append("  the program ended early: " + repr(report["output"][-300:]))
    return "\n".join(lines)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def _start(start: dict[str, Any]) -> Iterator[str]:
    yield (
        f"  start   first byte {_ms(start['first_byte_s'])}, first paint {_ms(start['first_paint_s'])}, "
        f"90 % painted {_ms(start['painted_90_s'])}, quiescent {_ms(start['quiescent_s'])}, "
        f"{start['bytes']:.0f} bytes, {start['cpu_s']:.2f} CPU s (others {start['others_cpu_percent']:.0f} %)"
    )
    if start.get("wait_text_s") is not None:
        yield f"          text seen {_ms(start['wait_text_s'])}"


def _idle(idle: dict[str, Any]) -> Iterator[str]:
    pss = "-" if idle["pss_mib"] is None else f"{idle['pss_mib']:.0f}"
    yield (
        f"  idle    {idle['bytes_per_s']:.0f} B/s ({idle['zlib_bytes_per_s']:.0f} B/s zlib), "
        f"{idle['writes_per_s']:.1f} writes/s, burst median {idle['burst_bytes_median']:.0f} "
        f"max {idle['burst_bytes_max']} B, CPU {idle['cpu_percent']:.2f} %, "
        f"{idle['wakeups_per_s']:.0f} wakeups/s, RSS {idle['rss_mib']:.0f} MiB, PSS {pss} MiB, "
        f"{idle['processes']} processes, over {idle['seconds']:.0f} s (others {idle['others_cpu_percent']:.0f} %)"
    )


def _key(key: dict[str, Any]) -> Iterator[str]:
    if not key["first_byte_ms"]:
        yield f"  key     no reply to any of {key['keys']} keys"
        return
    first, settled, size = key["first_byte_ms"], key["settled_ms"], key["bytes"]
    yield (
        f"  key     first byte median {first['median']:.1f} ms p95 {first['p95']:.1f} ms, "
        f"settled median {settled['median']:.1f} ms p95 {settled['p95']:.1f} ms, "
        f"{size['median']:.0f} B/key, {key['no_reply']}/{key['keys']} without reply"
    )


def _resize(resize: dict[str, Any]) -> Iterator[str]:
    if resize["first_byte_ms"] is None:
        yield "  resize  no output"
        return
    settled = "-" if resize["settled_ms"] is None else f"{resize['settled_ms']:.0f} ms"
    size = f"{resize['cols']}x{resize['rows']}"
    first = f"first byte {resize['first_byte_ms']:.0f} ms"
    yield f"  resize  to {size}: {first}, settled {settled}, {resize['bytes']} B"


def _stall(stall: dict[str, Any]) -> Iterator[str]:
    yield (
        f"  stall   after {stall['seconds']:.0f} s unread: {stall['backlog_bytes']} B of backlog in "
        f"{stall['backlog_ms']:.0f} ms, CPU {stall['cpu_percent']:.1f} % meanwhile, "
        f"RSS {stall['rss_growth_mib']:+.1f} MiB"
    )


def _ending(ending: dict[str, Any]) -> str:
    if not ending["exited"]:
        cpu = ending.get("cpu_percent_while_alive")
        return "still running after 4 s" + (f", CPU {cpu:.0f} %" if cpu is not None else "")
    text = f"ended in {ending['seconds']:.2f} s, code {ending['exit_code']}"
    if ending.get("terminal_not_restored") is not None:
        text += f", not restored: {', '.join(ending['terminal_not_restored']) or 'nothing'}"
    text += ", with a traceback" if ending.get("traceback") else ""
    return text + (f", {ending['orphans']} orphans" if ending.get("orphans") else "")
