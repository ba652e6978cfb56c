"""What the agent adds to a request, beside a bare server and LiteLLM's proxy: `make bench`.

All in one run, each server on one core and the load on another; nothing here can fail for being slow. The agent's
engine costs nothing, so what is left is the agent's own path: lease, key, validation, tokenising, the engine's
thread, a durable entry, framing. Whole answers are of 20 tokens, all from one step; streams are paced by the
engine, a token each millisecond in 32 of them, so that a gap says what the agent adds to it.
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
    with bare(tmp_path, "none") as floor:
        lines = [f"{'bare starlette + uvicorn':<38} {whole(floor)} {streams(floor)} {size(floor)}"]
        with ExitStack() as stack:
            proxy = stack.enter_context(litellm(tmp_path, floor))
            is_there = not isinstance(proxy, str)
            proxied = (
                f"{PROXY:<38} {whole(proxy)} {streams(proxy)} {size(proxy)}" if is_there else f"{PROXY}: {proxy}"
            )
    with bare(tmp_path, "row") as durable:
        lines.append(f"{'the same with a durable row':<38} {whole(durable)} {streams(durable)} {size(durable)}")
    with agent(tmp_path / "whole", tokens_per_step=20) as served:
        first = f"{'mtok agent, null engine':<38} {whole(served)}"
        with agent(tmp_path / "paced", tokens_per_step=1, step_ms=1.0) as paced:
            lines.append(f"{first} {streams(paced)} {size(served)}")
    with agent(tmp_path / "unpaced", tokens_per_step=1) as unpaced:
        lines.append(f"{'the same, streams as fast as it can':<67} {streams(unpaced)}")
    print("\n" + HEADING)
    print("\n".join([*lines, proxied]))
    print("targets for the agent: P50 +0.6 ms, P95 +1.5 ms over the bare server; 4,000 requests/s;")
    print("  30,000 tokens/s in 32 streams, no gap over 50 ms; RSS under 150 MB; start under 1 s")


HEADING = (
    f"{'':<38} {'P50 ms':>7} {'P95 ms':>7} {'req/s, 32':>10} {'CPU ms/req':>10}"
    f" {'tokens/s, 32':>13} {'gap P99':>8} {'gap max':>8} {'RSS MB':>7} {'start s':>8}"
)


def whole(server: Served) -> str:
    """Whole answers, the median of the rounds: alone, and 32 at once."""
    single = middle([loaded(server, 1, SECONDS) for _ in range(ROUNDS)], "p50_ms")
    before_s = server.cpu_s
    many = middle([loaded(server, 32, SECONDS) for _ in range(ROUNDS)], "requests_per_s")
    cpu_ms = (server.cpu_s - before_s) / ROUNDS / max(many["requests_per_s"] * (SECONDS + 0.5), 1) * 1000
    assert not single["errors"] + many["errors"]
    return f"{single['p50_ms']:>7.3f} {single['p95_ms']:>7.3f} {many['requests_per_s']:>10,.0f} {cpu_ms:>10.3f}"


def streams(server: Served) -> str:
    """32 streams at once."""
    found = middle([loaded(server, 32, SECONDS, **STREAM) for _ in range(ROUNDS)], "tokens_per_s")
    assert not found["errors"]
    return f"{found['tokens_per_s']:>13,.0f} {found['gap_p99_ms']:>8.1f} {found['gap_most_ms']:>8.1f}"


def size(server: Served) -> str:
    """Memory after all that, and the time from its start to its first answer."""
    return f"{server.rss_mb:>7.0f} {server.start_s:>8.2f}"


def middle(rounds: list[dict[str, float]], by: str) -> dict[str, float]:
    """The median round."""
    return sorted(rounds, key=lambda one: one[by])[len(rounds) // 2]
