"""Where the hosts are now: a woken instance may have a new address, and the inventory says which."""

from collections.abc import Mapping

from sqlmodel import Session

from console.hosts.host import SshHost
from console.providers.protocol import Batch, Resource
from console.settings import Settings
from store.tables import ResourceRow
from store.words import ResourceKind


def follow_addresses(
    settings: Settings, hosts: Mapping[str, SshHost], inventories: Mapping[str, Batch[Resource]]
) -> None:
    """Give each host the address that its provider's inventory states, unless the settings fix one.

    An instance that is listed with no address, or not listed, keeps the last: its key is checked in any case.
    """
    for tier in settings.tiers:
        inventory = inventories.get(tier.provider)
        addresses = {
            resource.ref.id: resource.address
            for resource in (inventory.items if inventory else ())
            if resource.ref.kind is ResourceKind.INSTANCE and resource.address
        }
        for agent in tier.agents:
            host, address = hosts.get(agent.name), addresses.get(agent.instance)
            if host is not None and host.target.address is None and address is not None:
                host.address = address


def recall_addresses(session: Session, settings: Settings, hosts: Mapping[str, SshHost]) -> None:
    """Give each host the address that the store holds of its instance: what the last leader saw."""
    for tier in settings.tiers:
        for agent in tier.agents:
            host = hosts.get(agent.name)
            if host is None or host.target.address is not None:
                continue
            row = session.get(ResourceRow, (tier.provider, ResourceKind.INSTANCE, agent.instance))
            if row is not None and row.address:
                host.address = row.address
