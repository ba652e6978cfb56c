"""Hosts follow the inventory: a woken instance may have a new address."""

from pathlib import Path
from typing import Any

import pytest

from console.collector.addresses import follow_addresses, recall_addresses
from console.collector.build import build_account, why_not_lead
from console.collector.tick import Account
from console.providers.protocol import Batch, Ref, Resource
from console.settings import Settings, load_settings
from store.clock import SystemClock
from store.database import Database
from store.tables import ResourceRow
from store.words import ResourceKind, State

SETTINGS = """
[budget]
daily_usd = "200"
[providers.cloud]
kind = "simulator"
base_url = "http://127.0.0.1:1"
api_key_file = "secret"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429", "8430", "8431"]
agents = [
  { name = "a", instance = "8429", ssh_user = "ubuntu", ssh_key_file = "id", control_secret_file = "secret" },
  { name = "b", instance = "8430", ssh_user = "ubuntu", ssh_address = "192.0.2.9", control_secret_file = "secret" },
  { name = "c", instance = "8431", control_url = "http://127.0.0.1:1", control_secret_file = "secret" },
]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("secret", "id"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / "mtok.toml").write_text(SETTINGS, encoding="utf-8")
    return load_settings(tmp_path / "mtok.toml")


@pytest.fixture
def account(settings: Settings) -> Account:
    return build_account(settings, SystemClock())


def listed(**addresses: str | None) -> dict[str, Batch[Resource]]:
    resources = tuple(
        Resource(Ref(ResourceKind.INSTANCE, id_.removeprefix("vm")), id_, State.RUNNING, "ACTIVE", address=address)
        for id_, address in addresses.items()
    )
    volume = Resource(Ref(ResourceKind.VOLUME, "8429"), "v", State.RUNNING, "in-use", address="192.0.2.99")
    return {"cloud": Batch((*resources, volume), ())}


async def test_a_host_follows_its_instance_unless_its_address_is_fixed(
    settings: Settings, account: Account
) -> None:
    hosts = account.hosts
    assert set(hosts) == {"a", "b"}
    assert set(account.agents) == {"a", "b", "c"}
    assert (hosts["a"].address, hosts["b"].address) == (None, "192.0.2.9")
    follow_addresses(settings, hosts, listed(vm8429="192.0.2.1", vm8430="192.0.2.2"))
    assert (hosts["a"].address, hosts["b"].address) == ("192.0.2.1", "192.0.2.9")
    follow_addresses(settings, hosts, listed(vm8429=None))
    follow_addresses(settings, hosts, {})
    assert hosts["a"].address == "192.0.2.1"
    follow_addresses(settings, hosts, listed(vm8429="192.0.2.7"))
    assert hosts["a"].address == "192.0.2.7"
    await account.close()


async def test_a_new_leader_begins_with_the_addresses_of_the_last(
    settings: Settings, account: Account, database: Database
) -> None:
    fields: dict[str, Any] = {
        "tier": "h100",
        "name": "a",
        "state": State.RUNNING,
        "raw_state": "ACTIVE",
        "sleep_bills": "",
    }
    with database.write() as session:
        session.add(
            ResourceRow(
                provider="cloud",
                kind=ResourceKind.INSTANCE,
                resource_id="8429",
                address="192.0.2.5",
                seen_at=SystemClock().now(),
                **fields,
            )
        )
    with database.read() as session:
        recall_addresses(session, settings, account.hosts)
    assert (account.hosts["a"].address, account.hosts["b"].address) == ("192.0.2.5", "192.0.2.9")
    await account.close()


def test_who_lacks_an_ssh_key_does_not_lead(settings: Settings, tmp_path: Path) -> None:
    assert why_not_lead(settings) is None
    (tmp_path / "id").unlink()
    assert "agent a: ssh_key_file" in (why_not_lead(settings) or "")
