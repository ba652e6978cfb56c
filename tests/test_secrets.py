"""A whole world with marked secrets and a marked prompt: whatever the run wrote is searched for them afterwards."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from console.demo.files import write_secret
from console.demo.fleets import TIERS
from console.demo.world import World
from store.database import open_database
from store.errors import MtokError

EACH = "import sys; from console.cli import main\nfor line in sys.stdin: main(line.split())"
COMMANDS = (
    *("status", "status --json", "explain h100 --json", "gate show --json", "counter list", "tier list"),
    *("export csv -o fleet.csv", "export json -o fleet.json", "export focus -o focus.csv", "store check"),
    *("doctor --send-test-alarm", "gate close --reason check", "host check"),
)
OWN = ("mtok.toml", "demo.json", "world*.json", "agents/*-a/*", "secrets/*", "*.csv", "fleet.json")  # 0600
MARK = "ZQXJ"  # in every secret, and in nothing else
PROMPT = f"{MARK}-prompt"
CHANNEL = f"json://user:{MARK}-channel@127.0.0.1:9/{MARK}-path"
MOST_SPENT_S = 20.0


def marked(world: World) -> None:
    """Put marked secrets in place of what was written, and say where alarms go."""
    for agent in world.agents:
        write_secret(agent.settings.parent / "control.secret", f"{MARK}-control-{agent.name}")
    text = world.settings.read_text(encoding="utf-8")
    alarms = '[[alarms.channels]]\nname = "pager"\nurl_env = "MARKED_CHANNEL"\n'
    world.settings.write_text(f"{text}\n{alarms}", encoding="utf-8")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("console.demo.files.secrets.token_hex", lambda _bytes: f"{MARK}-{os.urandom(8).hex()}")
    monkeypatch.setenv("MARKED_CHANNEL", CHANNEL)
    world = World(tmp_path / "state", marked, TIERS[:1])
    before = os.umask(0)
    try:
        world.start()
        yield world
    finally:
        world.stop()
        os.umask(before)


def call(url: str, body: object = None, key: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def served(agent: Any, text: str) -> bytes:
    """What the agent answers, once it serves."""
    end_s = time.monotonic() + MOST_SPENT_S
    messages = [{"role": "user", "content": text}]
    while time.monotonic() < end_s:
        model = json.loads(call(f"{agent.url}/v1/models", key=agent.api_key)[1]).get("data", [{}])[0].get("id", "")
        body = {"model": model, "messages": messages, "max_tokens": 16, "temperature": 0}
        code, answer = call(f"{agent.url}/v1/chat/completions", body, agent.api_key)
        if code == 200:
            return answer
        time.sleep(0.2)
    pytest.fail("the agent did not serve")


def processes_of(state: Path) -> dict[int, str]:
    """Command lines of processes that name the world's directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(state) in (line := (entry / "cmdline").read_text(encoding="utf-8")):
                found[int(entry.name)] = line
    return found


def holds_a_secret(state: Path, words: list[str]) -> list[str]:
    """Files, and what of the marks stands in them; those that are there to hold secrets are left out."""
    found = []
    for path in sorted(state.rglob("*")):
        is_secret = path.parent.name == "secrets" or path.name in ("control.secret", "demo.json")
        if path.is_file() and not is_secret:
            data = path.read_bytes()
            found += [f"{path.relative_to(state)}: {word}" for word in words if word.encode() in data]
    return found


@pytest.mark.processes
def test_no_secret_and_no_prompt_is_in_anything_that_a_run_has_written(world: World, tmp_path: Path) -> None:
    state, (agent,) = world.state, world.agents
    answer = json.loads(served(agent, PROMPT))["choices"][0]["message"]["content"]
    assert call(f"{agent.url}/v1/chat/completions", {"messages": PROMPT}, agent.api_key)[0] == 400
    assert call(f"{agent.url}/v1/models", key=f"{MARK}-wrong-key")[0] == 401
    assert call(f"{agent.control_url}/control/usage", key=f"{MARK}-wrong-secret")[0] == 401
    shown = processes_of(state)
    assert len(shown) >= 4
    assert [line for line in shown.values() if MARK in line] == []
    environments = [Path(f"/proc/{pid}/environ").read_bytes().replace(CHANNEL.encode(), b"") for pid in shown]
    assert [data for data in environments if MARK.encode() in data] == []
    root = world.provider_url.removesuffix(next(iter(world.urls)).provider.below)
    for fault in ("500", "truncated"):
        assert call(f"{root}/simulator/faults", {"fault": fault})[0] == 200
        time.sleep(2.1)
    assert '"complete": false' in (state / "logs" / "collector.log").read_text(encoding="utf-8")
    (state / "said.out").write_text(told(world, state), encoding="utf-8")
    modes = {path: path.stat().st_mode & 0o777 for path in state.rglob("*") if path.is_file()}
    assert holds_a_secret(state, [MARK, answer]) == []
    private = [path for pattern in OWN for path in state.glob(pattern)]
    assert {str(path): oct(modes[path]) for path in private if modes[path] != 0o600} == {}
    assert {modes[path] for path in state.glob("mtok.db*")} == {0o660}
    assert (state.stat().st_mode | (state / "logs").stat().st_mode) & 0o077 == 0


def told(world: World, state: Path) -> str:
    """What commands say, while the provider fails and alarms cannot be delivered."""
    lines = "".join(f"{command} --config {world.settings}\n" for command in COMMANDS)
    done = subprocess.run(
        [sys.executable, "-c", EACH],
        input=lines,
        capture_output=True,
        text=True,
        cwd=state,
        timeout=90,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "alarms, pager: it was not accepted" in done.stdout
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:{}@127.0.0.1:1/db",
        "postgresql://user:{}@host:notaport/db",
        "postgresql://user:{}@[::1/db",
        "postgresql://127.0.0.1:1/db?user=u&password={}",
        "postgresql://127.0.0.1:1/db?user=u&password={}&bogus=1",
        "oracle://user:{}@host/db",
        "nothing at all {}",
    ],
)
def test_a_store_s_address_is_never_shown_with_its_password(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MtokError) as raised:
        open_database(url.format(MARK))
    assert MARK not in str(raised.value)
    settings = tmp_path / "mtok.toml"
    settings.write_text(
        f'tiers = []\n[store]\nurl = "{url.format(MARK)}"\n[budget]\ndaily_usd = "1"\n'
        '[providers.c]\nkind = "simulator"\napi_key_env = "X"\n',
        encoding="utf-8",
    )
    assert main(["status", "--config", str(settings)]) != 0
    said = capsys.readouterr()
    assert MARK not in said.out + said.err
