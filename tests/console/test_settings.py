"""A settings file is understood whole, or refused with one clear line."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from console.settings import load_settings
from console.settings_place import find_settings
from store.errors import SettingsError

GOOD = """
[budget]
daily_usd = "200.50"
timezone = "Europe/Berlin"

[providers.cloud]
kind = "hyperstack"
api_key_env = "CLOUD_KEY"

[[tiers]]
name = "h100"
provider = "cloud"
gpu = "H100 PCIe"
market = "spot"
instances = ["8429"]
volumes = ["5341"]
agents = [{ name = "h100-a", instance = "8429", control_url = "http://127.0.0.1:8701", \
control_secret_file = "secret" }]
"""


KIND, KEY = 'kind = "hyperstack"', 'api_key_env = "CLOUD_KEY"'


def written(folder: Path, text: str) -> Path:
    path = folder / "mtok.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file_is_read(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, GOOD))
    assert settings.budget.daily_usd == 200_500_000_000
    assert settings.gate_policy.dark_after == timedelta(seconds=170)
    assert settings.store_url == f"sqlite:///{tmp_path / 'mtok.db'}"
    assert settings.tier_specs[0].market == "spot"
    assert not settings.tier_specs[0].is_simulated


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("daily_usd", "daily_dollars"), ["budget.daily_usd", "missing"]),
        (('daily_usd = "200.50"', "daily_usd = 200.5"), ["budget.daily_usd", "as text"]),
        (('daily_usd = "200.50"', 'daily_usd = "NaN"'), ["budget.daily_usd", "not finite"]),
        (('"Europe/Berlin"', '"Europe/Atlantis"'), ["budget.timezone", "Atlantis"]),
        (("[budget]", "[budget]\ncolour = 1"), ["budget.colour", "no such setting"]),
        (('provider = "cloud"', 'provider = "clod"'), ["'h100'", "'clod'", "cloud"]),
        (('market = "spot"', 'market = "sport"'), ["tiers.1.market"]),
        (('kind = "hyperstack"', 'kind = "overstack"'), ["providers.cloud.kind", "'overstack'", "hyperstack"]),
        (
            ('kind = "hyperstack"', 'kind = "hyperstack"\nregion = "eu"'),
            ["providers.cloud.region", "no such setting"],
        ),
        (
            ('kind = "hyperstack"', 'kind = "hyperstack"\ncurrency = "$"'),
            ["providers.cloud.currency", "such as EUR"],
        ),
        (('kind = "hyperstack"', 'kind = "files"\nfolder = "x"'), ["providers.cloud", "has no key; remove"]),
        (
            ('kind = "hyperstack"\napi_key_env = "CLOUD_KEY"', 'kind = "files"'),
            ["providers.cloud.folder", "missing"],
        ),
        (
            (
                'kind = "hyperstack"\napi_key_env = "CLOUD_KEY"',
                'kind = "files"\nfolder = "x"\ncorrections_for = "1h"',
            ),
            ["providers.cloud", "corrections_for is shorter than newest_within"],
        ),
        (("[budget]", "[budget]\nscope = 'tier'"), ["budget.scope"]),
        (("[budget]", "[budget]\ndaily = { EUR = 180 }"), ["budget.daily.EUR", "as text"]),
        (("[budget]", "[budget]\ndaily = { euro = '180' }"), ["budget.daily", "such as EUR"]),
        (("[budget]", "[budget]\ndaily = { USD = '180' }"), ["budget", "the limit in USD is daily_usd"]),
        (('gpu = "H100 PCIe"', 'daily_usd = "1"\ndaily = { EUR = "1" }'), ["tiers.1", "bills in one currency"]),
        (('gpu = "H100 PCIe"', 'daily = { EUR = "1", CHF = "1" }'), ["tiers.1.daily"]),
        (('api_key_env = "CLOUD_KEY"', ""), ["providers.cloud", "api_key_env, api_key_file or api_key_credential"]),
        (('instance = "8429"', 'instance = "1"'), ["'h100-a'", "no instance '1'"]),
        (('name = "h100"\n', 'name = "unassigned"\n'), ["unassigned", "taken"]),
        (("[budget]", "[budget"), ["is not TOML"]),
        (("[budget]", '[store]\nurl = "mtok.db"\n[budget]'), ["store.url", "such as 'sqlite:///mtok.db'"]),
        (("[budget]", '[store]\nurl = "postgresql://a:b/c@host:abc/d"\n[budget]'), ["store.url", "no address"]),
        *(
            (('kind = "hyperstack"', f'kind = "hyperstack"\nbase_url = "{url}"'), ["providers.cloud", "no address"])
            for url in ("https://host:abc/v1", "https://host:99999/v1", "https:///v1", "https://[host/v1", "host")
        ),
        (('timezone = "Europe/Berlin"', 'dark_after = "170"'), ["budget.dark_after", "such as '170s'"]),
        (
            ("[budget]", '[collector]\nevery = "5m"\n[budget]'),
            ["budget.dark_after", "two of collector.every, 600 s"],
        ),
        (('timezone = "Europe/Berlin"', 'dark_after = "119s"'), ["budget.dark_after", "collector.every, 120 s"]),
        (
            ("[budget]", '[alarms]\nheartbeat_url = "ftp://x"\n[budget]'),
            ["alarms.heartbeat_url", "no address of http"],
        ),
    ],
)
def test_a_fault_is_one_line_that_names_its_place(
    tmp_path: Path, change: tuple[str, str], names: list[str]
) -> None:
    assert change[0] in GOOD
    with pytest.raises(SettingsError) as caught:
        load_settings(written(tmp_path, GOOD.replace(*change, 1)))
    message = str(caught.value)
    assert "\n" not in message
    for name in names:
        assert name in message
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        load_settings(tmp_path / "none.toml")


def test_limits_in_several_currencies_and_a_scope_are_the_gates_policy(tmp_path: Path) -> None:
    budget = "[budget]\nscope = 'provider'\ndaily = { EUR = '180', CHF = '1.5' }"
    tier = 'gpu = "H100 PCIe"\ndaily = { EUR = "40" }'
    policy = load_settings(
        written(tmp_path, GOOD.replace("[budget]", budget).replace('gpu = "H100 PCIe"', tier))
    ).gate_policy
    assert policy.currency_limits_nusd == {"EUR": 180 * 10**9, "CHF": 1_500_000_000}
    assert (policy.tier_limits_nusd, policy.tier_currencies) == ({"h100": 40 * 10**9}, {"h100": "EUR"})
    assert policy.provider_of == {"h100": "cloud"}
    other = '[providers.idle]\nkind = "simulator"\napi_key_env = "K"\n\n[[tiers]]'
    policy = load_settings(
        written(tmp_path, GOOD.replace("[budget]", budget).replace("[[tiers]]", other, 1))
    ).gate_policy
    assert policy.provider_of == {"h100": "cloud", "provider idle": "idle"}
    assert load_settings(written(tmp_path, GOOD)).gate_policy.provider_of == {}


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(written(tmp_path, GOOD))
    with pytest.raises(SettingsError, match="CLOUD_KEY is not set"):
        settings.secret("providers.cloud.api_key", "CLOUD_KEY", None)
    monkeypatch.setenv("CLOUD_KEY", "k")
    assert settings.secret("providers.cloud.api_key", "CLOUD_KEY", None) == "k"
    with pytest.raises(SettingsError, match=r"cannot read .*secret"):
        settings.secret("agent", None, Path("secret"))
    (tmp_path / "secret").write_text("s\n", encoding="utf-8")
    assert settings.secret("agent", None, Path("secret")) == "s"


@pytest.mark.parametrize("text", ["SECRET-ONE\nSECRET-TWO", "SECRET-\u00e9", "SECRET\t1"])
def test_a_secret_that_no_header_carries_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    settings = load_settings(written(tmp_path, GOOD))
    (tmp_path / "secret").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="a letter that no header carries") as caught:
        settings.secret("agent", None, Path("secret"))
    assert "SECRET" not in str(caught.value)
    (tmp_path / "secret").write_text("several words", encoding="utf-8")
    assert settings.secret("agent", None, Path("secret")) == "several words"


def test_the_settings_file_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MTOK_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert find_settings(None) == tmp_path / "xdg" / "mtok" / "mtok.toml"
    written(tmp_path, GOOD)
    assert find_settings(None) == Path("mtok.toml")
    monkeypatch.setenv("MTOK_CONFIG", "/etc/mtok.toml")
    assert find_settings(None) == Path("/etc/mtok.toml")
    assert find_settings(Path("x")) == Path("x")


BY_SSH = GOOD.replace('control_url = "http://127.0.0.1:8701"', 'ssh_user = "ubuntu", ssh_key_file = "keys/id"')


def test_a_host_is_reached_by_ssh_as_the_settings_say(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "[ssh]\nconnect_within = '3s'\n" + BY_SSH))
    (agent,) = settings.tiers[0].agents
    target = settings.ssh_target(agent)
    assert (target.user, target.alias, target.address, target.port) == ("ubuntu", "8429", None, None)
    assert target.key_file == tmp_path / "keys" / "id"
    assert target.known_hosts_file == Path.home() / ".ssh" / "known_hosts"
    assert (target.connect_within_s, agent.control_port) == (3.0, 8701)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (('ssh_user = "ubuntu", ssh_key_file = "keys/id", ', ""), ["tiers.1.agents.1", "control_url, or ssh_user"]),
        (('ssh_user = "ubuntu"', 'ssh_user = "u", control_url = "http://h"'), ["control_url, or ssh_user"]),
        (('ssh_user = "ubuntu"', 'control_url = "http://h"'), ["ssh_key_file is for SSH"]),
        (('ssh_user = "ubuntu"', 'ssh_user = "ubuntu", control_port = 70000'), ["control_port"]),
        (("[budget]", "[ssh]\nkeepalive = '0s'\n[budget]"), ["ssh", "keepalive is shorter than 1s"]),
    ],
)
def test_a_fault_in_how_a_host_is_reached_is_one_line(
    tmp_path: Path, change: tuple[str, str], names: list[str]
) -> None:
    assert change[0] in BY_SSH
    with pytest.raises(SettingsError) as caught:
        load_settings(written(tmp_path, BY_SSH.replace(*change, 1)))
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in names)


def test_a_secret_comes_from_what_systemd_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = GOOD.replace('api_key_env = "CLOUD_KEY"', 'api_key_credential = "cloud"')
    section = load_settings(written(tmp_path, named)).providers["cloud"]
    assert section.api_key_credential == "cloud"
    settings = load_settings(tmp_path / "mtok.toml")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SettingsError, match="start it as a service with LoadCredential=cloud:FILE"):
        settings.secret("providers.cloud.api_key", None, None, "cloud")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    with pytest.raises(SettingsError, match=r"cannot read .*credentials/cloud"):
        settings.secret("providers.cloud.api_key", None, None, "cloud")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "cloud").write_text("k\n", encoding="utf-8")
    assert settings.secret("providers.cloud.api_key", None, None, "cloud") == "k"
    for wrong in ("../key", "", "a b"):
        with pytest.raises(SettingsError, match="api_key_credential"):
            load_settings(written(tmp_path, named.replace('"cloud"\n', f'"{wrong}"\n', 1)))
    with pytest.raises(SettingsError, match="give either api_key_env, api_key_file or api_key_credential"):
        load_settings(written(tmp_path, named + '\n[providers.two]\nkind = "hyperstack"\n'))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:////var/lib/mtok.db",
        "sqlite:///mtok.db?timeout=5",
        "postgresql+psycopg:///mtok?host=/var/run/postgresql",
        "postgresql+psycopg://u:p?w@db:5432/mtok",
        "postgresql+psycopg://u:p/w@db/mtok?sslmode=require&x=a@b:c",
        "postgresql+psycopg://u@realm@db/mtok",
        "postgresql+psycopg://u:p@[::1]:5432/mtok",
        "mtok.db",
        "sqlite:mtok.db",
        "postgresql://db:port/mtok",
        "postgresql://db:/mtok",
        "postgresql://u:p@db:5432x/mtok",
        "",
    ],
)
def test_an_address_is_one_where_sqlalchemy_takes_it(tmp_path: Path, url: str) -> None:
    try:
        make_url(url)
    except (ArgumentError, ValueError):
        with pytest.raises(SettingsError, match=r"store\.url"):
            load_settings(written(tmp_path, f'[store]\nurl = "{url}"\n{GOOD}'))
    else:
        assert load_settings(written(tmp_path, f'[store]\nurl = "{url}"\n{GOOD}')).store.url == url
