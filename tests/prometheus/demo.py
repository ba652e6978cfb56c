"""A real Prometheus on the demo: its differences against `mtok explain`, and its alerts when billing goes dark.

`python -m tests.prometheus.demo` (`make prometheus`) takes eight minutes and needs Debian's `prometheus`. It prints
a table, and ends with 1 where a difference is not the figure or an alert does not fire.

The demo ticks every two seconds, so the rules are used as they are but for their `for:`, whose minutes are read as
seconds, and the scrape interval, one second instead of fifteen.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from console.demo.files import free_port, write_secret
from console.demo.world import World
from store.clock import rfc3339

CONTRIB = Path(__file__).parents[2] / "contrib" / "prometheus"
WINDOW_S = 300
LOOKS, LOOK_EVERY_S = 8, 7
ALERTS = ("MtokBillingDark", "MtokGateClosed")
FIRE_WITHIN_S = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """One figure at one evaluation: as Prometheus has it, and as `mtok explain` does."""

    at: float
    tier: str
    figure: str
    prometheus: Decimal
    explained: int
    increase: Decimal | None


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str, at: float) -> dict[str, Decimal]:
        """An instant vector at `at`, by tier."""
        asked = urllib.parse.urlencode({"query": expression, "time": f"{at:.3f}"})
        rows = self._get(f"query?{asked}")["result"]
        return {row["metric"].get("tier", ""): Decimal(row["value"][1]) for row in rows}

    def down(self) -> list[str]:
        """The jobs that cannot be scraped, and why."""
        targets = self._get("targets?state=active")["activeTargets"]
        return [f"{one['labels']['job']}: {one['lastError']}" for one in targets if one["health"] != "up"]

    def firing(self) -> dict[str, str]:
        """The alerts that fire, and since when they were pending."""
        alerts = self._get("alerts")["alerts"]
        return {one["labels"]["alertname"]: one["activeAt"] for one in alerts if one["state"] == "firing"}

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]


@contextmanager
def running_prometheus(home: Path, metrics: str, world: World) -> Iterator[Prometheus]:
    """Our scrape and rule files, with this demo's addresses and its pace."""
    agent = world.agents[0]
    write_secret(home / "agent.key", agent.api_key)
    scrape = (CONTRIB / "scrape.yml").read_text(encoding="utf-8")
    scrape = re.sub(r"(_interval: )15s", r"\g<1>1s", scrape).replace("127.0.0.1:9470", metrics)
    scrape = scrape.replace("127.0.0.1:8700", f"127.0.0.1:{agent.public_port}")
    scrape = scrape.replace("/etc/prometheus/mtok-agent.key", str(home / "agent.key"))
    (home / "prometheus.yml").write_text(scrape, encoding="utf-8")
    rules = (CONTRIB / "mtok.rules.yml").read_text(encoding="utf-8")
    (home / "mtok.rules.yml").write_text(re.sub(r"(for: \d+)m\b", r"\1s", rules), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'tsdb'}"]
    with (home / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(20)


def compared(prometheus: Prometheus, world: World, at: float) -> Iterator[Row]:
    """Every tier's spend and tokens of the last five minutes, at one instant, in both ways."""
    edges = prometheus.query("mtok_figures_timestamp_seconds", at)
    began = prometheus.query(f"mtok_figures_timestamp_seconds offset {WINDOW_S}s", at)
    figures: dict[str, tuple[str, Callable[[Any], int]]] = {
        "spend_nusd": ("mtok_spend_nanodollars", lambda told: told["spend"]["nusd"]),
        "debits_nusd": ("mtok_debits_nanodollars_total", lambda told: told["spend"]["nusd"]),
        "completion_tokens": ("mtok_completion_tokens_total", lambda told: told["usage"]["completion_tokens"]),
        "prompt_tokens": ("mtok_prompt_tokens_total", lambda told: told["usage"]["prompt_tokens"]),
    }
    for tier in sorted(edges):
        told = explained(world, tier, began[tier], edges[tier])
        for name, (metric, of) in figures.items():
            found = prometheus.query(f"{metric} - {metric} offset {WINDOW_S}s", at)
            guessed = prometheus.query(f"increase({metric}[{WINDOW_S}s])", at)
            yield Row(at, tier, name, found[tier], of(told), guessed.get(tier))


def explained(world: World, tier: str, start: Decimal, end: Decimal) -> Any:
    """What `mtok explain` says between two ticks."""
    window = ["--from", instant(start), "--to", instant(end)]
    done = subprocess.run(
        [sys.executable, "-c", _MTOK, "explain", tier, "--config", str(world.settings), *window, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["edges"] == {"start": instant(start), "end": instant(end), "since_first_tick": False}, told["edges"]
    return told


_MTOK = "import sys; from console.cli import main; sys.exit(main())"


def instant(seconds: Decimal) -> str:
    """An instant as mtok writes it."""
    return rfc3339(_EPOCH + timedelta(microseconds=round(seconds * 10**6)))


def dark(prometheus: Prometheus, world: World) -> dict[str, float | None]:
    """Let the provider answer 500; answers after how many seconds each alert fired."""
    url = f"{world.provider_url.removesuffix('/v1')}/simulator/faults"
    before = set(prometheus.firing())
    urllib.request.urlopen(urllib.request.Request(url, json.dumps({"fault": "500"}).encode()), timeout=10).close()
    began_s = time.monotonic()
    fired: dict[str, float | None] = dict.fromkeys(ALERTS)
    while None in fired.values() and time.monotonic() < began_s + FIRE_WITHIN_S:
        for name in set(prometheus.firing()) - before:
            if name in fired and fired[name] is None:
                fired[name] = time.monotonic() - began_s
        time.sleep(0.5)
    return fired


def show(rows: Sequence[Row], fired: dict[str, float | None]) -> bool:
    """Print what was found; answers whether it is as promised."""
    print(f"{'tier':<6} {'figure':<18} {'x - x offset 5m':>16} {'mtok explain':>16} {'':<6} {'increase()':>20}")
    for row in rows:
        same = "same" if row.prometheus == row.explained else "OTHER"
        guessed = "" if row.increase is None else f"{row.increase:.3f}"
        print(f"{row.tier:<6} {row.figure:<18} {row.prometheus:>16} {row.explained:>16} {same:<6} {guessed:>20}")
    equal = sum(row.prometheus == row.explained for row in rows)
    guessed_right = sum(row.increase == row.explained for row in rows)
    print(f"{equal} of {len(rows)} differences are what mtok explain says; increase() was so {guessed_right} times")
    for name, after_s in fired.items():
        print(
            f"{name}: " + ("did not fire" if after_s is None else f"fired {after_s:.1f} s after billing went dark")
        )
    return bool(rows) and equal == len(rows) and None not in fired.values()


def main() -> int:
    """Run the demo with metrics and a Prometheus for five minutes and a little more; then let billing go dark."""
    metrics = f"127.0.0.1:{free_port()}"

    def with_metrics(world: World) -> None:
        text = world.settings.read_text(encoding="utf-8")
        world.settings.write_text(f'{text}\n[metrics]\naddress = "{metrics}"\n', encoding="utf-8")

    with tempfile.TemporaryDirectory(prefix="mtok-prometheus-") as folder:
        home = Path(folder)
        world = World(home / "demo", with_metrics)
        world.start()
        try:
            with running_prometheus(home, metrics, world) as prometheus:
                time.sleep(WINDOW_S + 30)
                rows: list[Row] = []
                for _ in range(LOOKS):
                    time.sleep(LOOK_EVERY_S)
                    rows += compared(prometheus, world, time.time() - 1)
                if down := prometheus.down():
                    print(f"not scraped: {'; '.join(down)}")
                    return 1
                return 0 if show(rows, dark(prometheus, world)) else 1
        finally:
            world.stop()


if __name__ == "__main__":
    sys.exit(main())
