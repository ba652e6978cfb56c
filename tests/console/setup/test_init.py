"""`mtok init` as a new user runs it: against a simulated account, without and with a terminal."""

import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.cli import main
from console.demo.files import free_port
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import load_settings
from store.clock import SystemClock
from tests.terminal import Pty, on_pty

KEY = "sk-live-0123456789abcdef-SECRET"
WORLD = {
    "instances": [
        {"id": 8429, "name": "H100 Nightly (EU)", "price_usd_per_hour": "2.00", "spot": True},
        {"id": 8430, "name": 'x"]\n[budget]\x1b[2J', "flavor": "n3-A100x1", "price_usd_per_hour": "1.35"},
    ],
    "volumes": [
        {"id": 5341, "name": "weights", "price_usd_per_hour": "0.0193548", "attached_to": 8429},
        {"id": 5342, "name": "[red]old[/red]", "price_usd_per_hour": "0.0193548"},
    ],
}


@pytest.fixture
def account() -> Iterator[Simulator]:
    with running_simulator(SimulatedWorld.from_json(WORLD, SystemClock()), KEY) as running:
        yield running


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MTOK_CONFIG", raising=False)
    monkeypatch.setenv("CLOUD_KEY", KEY)


def words(account: Simulator, *more: str) -> list[str]:
    said = ["init", "--kind", "simulator", "--base-url", account.base_url, "--api-key-env", "CLOUD_KEY"]
    return [*said, "--daily-usd", "200", "--yes", *more]


def test_one_command_writes_settings_that_load(
    account: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(account, "--timezone", "Europe/Berlin", "--ssh-user", "ubuntu", "--ssh-port", "2222")) == 0
    out, err = capsys.readouterr()
    settings = load_settings(tmp_path / "mtok.toml")
    assert settings.budget.daily_usd == 200 * 10**9
    assert str(settings.budget.timezone) == "Europe/Berlin"
    assert [(t.name, t.instances, t.volumes) for t in settings.tiers] == [
        ("h100-nightly-eu", ("8429",), ("5341",)),
        ("x-budget-2j", ("8430",), ()),
    ]
    assert settings.providers["simulator"].api_key_env == "CLOUD_KEY"
    assert next((a.name, a.ssh_user, a.ssh_port) for t in settings.tiers for a in t.agents) == (
        "h100-nightly-eu",
        "ubuntu",
        2222,
    )
    assert "$2.0000" in out
    assert "volume" in out
    assert "in no tier: 1" in err
    assert out.splitlines()[-3:] == [
        "  mtok doctor    # whether everything can be used",
        "  mtok collect    # sample the bills, once a minute; docs/running.md has the service",
        "  mtok console    # the screen",
    ]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    for text in (out, err, *(path.read_text() for path in written)):
        assert KEY not in text
        assert "\x1b" not in text
    assert "[red]old[/red]" in out
    assert "#   volume 5342  [red]old[/red]" in (tmp_path / "mtok.toml").read_text()


def test_settings_that_are_there_are_not_replaced_and_kept_by_force(
    account: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mtok.toml").write_text("mine", encoding="utf-8")
    before = account.requests[:]
    assert main(words(account)) == 2
    assert "is there already; use --force" in capsys.readouterr().err
    assert account.requests == before
    assert main(words(account, "--force")) == 0
    (kept,) = tmp_path.glob("mtok.toml.before-*")
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == ("mine", 0o600)
    assert str(kept) in capsys.readouterr().err
    load_settings(tmp_path / "mtok.toml")


def test_a_key_in_a_file_stays_there_and_an_agents_secret_stays_the_same(
    account: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "cloud.key").write_text(f"{KEY}\n", encoding="utf-8")
    said = [word for word in words(account, "--ssh-user", "root") if word not in ("--api-key-env", "CLOUD_KEY")]
    said += ["--api-key-file", "secrets/cloud.key", "--name", "My Cloud!"]
    assert main(said) == 0
    settings = load_settings(tmp_path / "mtok.toml")
    assert settings.providers["my-cloud"].api_key_file == Path("secrets/cloud.key")
    secret = (tmp_path / "secrets" / "x-budget-2j.secret").read_text()
    assert len(secret) > 32
    assert main([*said, "--force"]) == 0
    assert (tmp_path / "secrets" / "x-budget-2j.secret").read_text() == secret


def test_an_empty_account_is_said_and_settings_without_a_tier_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_simulator(SimulatedWorld.from_json({}, SystemClock()), KEY) as account:
        assert main(words(account)) == 0
    out, err = capsys.readouterr()
    assert "the key works, and the account is empty" in out
    assert "no tier yet: make an instance" in err
    assert load_settings(tmp_path / "mtok.toml").tiers == ()


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"CLOUD_KEY": "sk-wrong-key"}, 3, "the key was refused"),
        ({"--base-url": f"http://127.0.0.1:{free_port()}/v1"}, 3, "check the network, HTTPS_PROXY, and --base-url"),
        ({"--kind": "nebula"}, 2, "choose one of"),
        ({"--kind": "files"}, 2, "kind 'files' needs it"),
        ({"--daily-usd": "lots"}, 2, "is no amount above zero"),
        ({"--daily-usd": "0"}, 2, "is no amount above zero"),
        ({"--api-key-env": "sk-a-key-by-mistake"}, 2, "is no name of a variable"),
        ({"--api-key-env": "NONE_SUCH"}, 2, "NONE_SUCH is not set"),
        ({"CLOUD_KEY": "two words"}, 2, "letters that no key has"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    account: Simulator,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    code: int,
    says: str,
) -> None:
    said = words(account)
    for name, value in change.items():
        if name.startswith("--"):
            said[said.index(name) + 1] = value
        else:
            monkeypatch.setenv(name, value)
    assert main(said) == code
    out, err = capsys.readouterr()
    assert says in err
    assert (err.count("\n"), out, list(tmp_path.iterdir())) == (1, "", [])
    for secret in (KEY, "sk-wrong-key", "sk-a-key-by-mistake", "two words"):
        assert secret not in err


def test_an_account_in_euros_needs_a_limit_in_euros(
    account: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_euro = words(account, "--set", "currency=EUR")
    for more, says in (
        (
            (),
            "without a limit in it the gate stays closed; give one such as --daily EUR",
        ),
        (("--daily", "EUR=lots"), "--daily EUR=lots: 'lots' is no amount above zero"),
        (("--daily", "180"), "is no currency and its limit"),
        (("--daily", "USD=180"), "the limit in USD is --daily-usd"),
    ):
        assert main([*in_euro, *more]) == 2
        assert says in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
    assert main([*in_euro, "--daily", "EUR=180"]) == 0
    settings = load_settings(tmp_path / "mtok.toml")
    assert (settings.budget.daily, settings.budget.daily_usd) == ({"EUR": 180 * 10**9}, 200 * 10**9)


def test_without_a_terminal_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 2
    err = capsys.readouterr().err
    assert "stdin is no terminal" in err
    assert "give --kind, --daily-usd, --api-key-env or --api-key-file, --yes" in err


def test_a_kind_of_other_settings_is_told_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bills").mkdir()
    said = ["init", "--kind", "files", "--daily-usd", "20", "--yes"]
    assert main(said) == 2
    assert "--set folder=…: kind 'files' needs it" in capsys.readouterr().err
    assert main([*said, "--set", "colour=red"]) == 2
    assert "has no such setting" in capsys.readouterr().err


ANSWERS = (
    ("kind of provider [hyperstack]", "nebula"),
    ("kind of provider [hyperstack]", "simulator"),
    ("kept in a file", ""),
    ("not shown", KEY),
    ("limit per day in USD", "lots"),
    ("limit per day in USD", "150"),
    ("time zone", ""),
    ("[h100-nightly-eu]", "H100"),
    ("no name twice", ""),
    ("[x-budget-2j]", "-"),
    ("ssh, url or later", "url"),
    ("address of its control API", ""),
    ("control secret", "agents-own-secret"),
    ("yes or no", "yes"),
)


@dataclass
class Person:
    """Reads questions as they come, and types."""

    terminal: Pty
    read: int = 0

    def answer(self, question: str, typed: str) -> None:
        until_s = time.monotonic() + 30
        while question not in self.shown[self.read :]:
            assert time.monotonic() < until_s, self.shown
            self.terminal.read(0.2)
        self.read = len(self.shown)
        time.sleep(0.05)  # getpass turns the echo off, then reads
        self.terminal.press(f"{typed}\n".encode())

    @property
    def shown(self) -> str:
        return b"".join(self.terminal.sent).decode()


def test_on_a_terminal_it_asks_and_the_key_is_never_shown(
    account: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; from console.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code]
    with on_pty([*command, "init", "--base-url", account.base_url], cols=200) as terminal:
        person = Person(terminal)
        for question, typed in ANSWERS:
            person.answer(question, typed)
        assert terminal.ended() == 0, person.shown
        shown = person.shown
    assert KEY not in shown
    assert "agents-own-secret" not in shown
    settings = load_settings(tmp_path / "mtok.toml")
    assert [tier.name for tier in settings.tiers] == ["h100-nightly-eu"]
    assert settings.tiers[0].agents[0].control_url == "http://127.0.0.1:8701"
    assert (tmp_path / "secrets" / "simulator.key").read_text() == f"{KEY}\n"
    assert (tmp_path / "secrets" / "h100-nightly-eu.secret").read_text() == "agents-own-secret\n"
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "secrets").iterdir()} == {0}
    capsys.readouterr()
    main(["doctor"])
    out, err = capsys.readouterr()
    assert "provider, simulator: 4 resources" in out
    assert KEY not in out + err
