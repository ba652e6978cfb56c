"""What the agent adds to a request, beside a bare server and LiteLLM's proxy: `make bench`.

All in one run, each server on one core and the load on another; nothing here can fail for being slow. The agent's
engine gives a token a step and costs nothing, so what is left is the agent's own path: lease, key, validation,
tokenising, the engine's thread, a durable entry, framing.
"""

import os
from contextlib import ExitStack
from pathlib import Path

from tests.bench.servers import Served, agent, bare, litellm, loaded

SECONDS = float(os.environ.get("MTOK_BENCH_SECONDS", "4"))
ROUNDS = 3
STREAM = {"stream": True, "max_tokens": 200}
PROXY = "LiteLLM proxy in front of the first"


def test_agent_speed(tmp_path: Path) -> None:
    lines: list[str] = []
    with bare(tmp_path, "none") as floor:
        lines.append(line("bare starlette + uvicorn", floor))
        with ExitStack() as stack:
            proxy = stack.enter_context(litellm(tmp_path, floor))
            proxied = f"LiteLLM proxy: {proxy}" if isinstance(proxy, str) else line(PROXY, proxy)
    with bare(tmp_path, "row") as durable:
        lines.append(line("the same with a durable row", durable))
    with agent(tmp_path / "agent") as served:
        lines.append(line("mtok agent, null engine", served))
    lines.append(proxied)
    print("\n" + HEADING)
    print("\n".join(lines))
    print("targets for the agent: P50 +0.6 ms, P95 +1.5 ms over the bare server; 4,000 requests/s;")
    print("  30,000 tokens/s in 32 streams, no gap over 50 ms; RSS under 150 MB; start under 1 s")


HEADING = (
    f"{'':<38} {'P50 ms':>7} {'P95 ms':>7} {'req/s, 32':>10} {'CPU ms/req':>10}"
    f" {'tokens/s, 32':>13} {'gap P99':>8} {'gap max':>8} {'RSS MB':>7} {'start s':>8}"
)


def line(name: str, server: Served) -> str:
    """Everything about one server, the median of its rounds."""
    single = middle([loaded(server, 1, SECONDS) for _ in range(ROUNDS)], "p50_ms")
    cpu_s = server.cpu_s
    many = middle([loaded(server, 32, SECONDS) for _ in range(ROUNDS)], "requests_per_s")
    cpu_ms = (server.cpu_s - cpu_s) / ROUNDS / max(many["requests_per_s"] * (SECONDS + 0.5), 1) * 1000
    streams = middle([loaded(server, 32, SECONDS, **STREAM) for _ in range(ROUNDS)], "tokens_per_s")
    assert not single["errors"] + many["errors"] + streams["errors"], name
    return (
        f"{name:<38} {single['p50_ms']:>7.3f} {single['p95_ms']:>7.3f} {many['requests_per_s']:>10,.0f}"
        f" {cpu_ms:>10.3f}"
        f" {streams['tokens_per_s']:>13,.0f} {streams['gap_p99_ms']:>8.1f} {streams['gap_most_ms']:>8.1f}"
        f" {server.rss_mb:>7.0f} {server.start_s:>8.2f}"
    )


def middle(rounds: list[dict[str, float]], by: str) -> dict[str, float]:
    return sorted(rounds, key=lambda one: one[by])[len(rounds) // 2]
