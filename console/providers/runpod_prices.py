"""What RunPod's documents say that storage costs: quoted where its API quotes nothing.

The API prices running pods alone: `cost` is 0.0 while a pod is stopped although its disk is billed, and a network
volume has no price at all. These list prices are shown as rates and bound what is not billed yet; like every rate
they are part of no figure. Source: https://docs.runpod.io/pods/storage (2026-11-25).
"""

from decimal import Decimal

from console.providers.runpod_wire import PodRow, VolumeRow
from console.providers.wire import Number
from store.errors import AmountError

_STOPPED_DISK_USD = Decimal("0.20")  # a GB a month; $0.10 while the pod runs
_NETWORK_VOLUME_USD = Decimal("0.07")
_FAST_VOLUME_USD = 2 * _NETWORK_VOLUME_USD  # the page has no price for it: taken high, since it is a bound
_MONTH_H = 720  # its shortest reading, for the highest price an hour


def pod_rate(pod: PodRow) -> int | None:
    """Nano-dollars an hour; None where a pod that computes is said to cost nothing: that is not believed."""
    if pod.status == "EXITED":
        return _storage(pod.disk_gb, _STOPPED_DISK_USD) if pod.disk_gb else 0
    try:
        return (pod.cost.nusd or None) if pod.cost is not None else None
    except AmountError:
        return None


def volume_rate(volume: VolumeRow) -> int | None:
    """Nano-dollars an hour."""
    return _storage(volume.size_gb, _FAST_VOLUME_USD if volume.is_fast else _NETWORK_VOLUME_USD)


def _storage(size_gb: Number | None, usd_per_month: Decimal) -> int | None:
    try:
        return None if size_gb is None else int(size_gb.nusd * usd_per_month / _MONTH_H)
    except AmountError:
        return None
