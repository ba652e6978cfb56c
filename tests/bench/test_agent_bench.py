"""What the agent adds to a request, beside a bare server and LiteLLM's proxy: `make bench`.

All in one run, each server on one core and the load on another; nothing here can fail for being slow. The agent's
engine costs nothing, so what is left is the agent's own path: lease, key, validation, tokenising, the engine's
thread, a durable entry, framing. Whole answers are of 20 tokens, all from one step; streams are paced by the
engine, a token each 0.8 ms in 32 of them, so that a gap says what the agent adds to it.
"""

from pathlib import Path

from tests.bench.servers import ROUNDS, Served, agent, bare, litellm, measured

OTHERS: list[float] = []  # what else ran on the machine, round by round
STREAM = {"stream": True, "max_tokens": 200}
PROXY = "LiteLLM proxy in front of the first"


def test_agent_speed(tmp_path: Path) -> None:
    OTHERS.clear()
    with bare(tmp_path, "none") as floor:
        lines = [everything("bare starlette + uvicorn", floor)]
        with litellm(tmp_path, floor) as proxy:
            proxied = f"{PROXY:<38} {proxy}" if isinstance(proxy, str) else everything(PROXY, proxy)
    with bare(tmp_path, "row") as durable:
        lines.append(everything("the same with a durable row", durable))
    with agent(tmp_path / "whole", tokens_per_step=20) as served:
        first, rss_mb = whole(served), served.rss_mb
    with agent(tmp_path / "paced", tokens_per_step=1, step_ms=0.8) as paced:
        second = streams(paced)
    with agent(tmp_path / "unpaced", tokens_per_step=1) as unpaced:
        third = streams(unpaced)
    start_s = min(one.start_s for one in (served, paced, unpaced))
    lines.append(f"{'mtok agent, null engine':<38} {first} {second} {rss_mb:>7.0f} {start_s:>8.2f}")
    lines.append(f"{'the same, streams without a pace':<75} {third}")
    print("\n" + HEADING)
    print("\n".join([*lines, proxied]))
    print(f"medians of the quietest {ROUNDS} rounds, in which others used up to {max(OTHERS):.0%} of the cores")
    print("targets for the agent: P50 +0.6 ms, P95 +1.5 ms over the bare server; 4,000 requests/s;")
    print("  30,000 tokens/s in 32 streams, no gap over 50 ms; RSS under 150 MB; start under 1 s")


HEADING = (
    f"{'':<38} {'P50 ms':>7} {'P95 ms':>7} {'req/s, 32':>10} {'CPU ms/req':>10}"
    f" {'tokens/s, 32':>13} {'gap P99':>8} {'gap max':>8} {'RSS MB':>7} {'start s':>8}"
)


def everything(name: str, server: Served) -> str:
    """All about one server."""
    return f"{name:<38} {whole(server)} {streams(server)} {size(server)}"


def whole(server: Served) -> str:
    """Whole answers: alone, and 32 at once. Every request that was sent counts for the processor time."""
    single = measured(server, 1, "p50_ms")
    many = measured(server, 32, "requests_per_s")
    OTHERS.extend((single["others"], many["others"]))
    cpu_ms = many["cpu_s"] / many["sent"] * 1000
    return f"{single['p50_ms']:>7.3f} {single['p95_ms']:>7.3f} {many['requests_per_s']:>10,.0f} {cpu_ms:>10.3f}"


def streams(server: Served) -> str:
    """32 streams at once."""
    found = measured(server, 32, "tokens_per_s", **STREAM)
    OTHERS.append(found["others"])
    return f"{found['tokens_per_s']:>13,.0f} {found['gap_p99_ms']:>8.1f} {found['gap_most_ms']:>8.1f}"


def size(server: Served) -> str:
    """Memory after all that, and the time from its start to its first answer."""
    return f"{server.rss_mb:>7.0f} {server.start_s:>8.2f}"
