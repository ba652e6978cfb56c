"""What a tier's agents and GPUs can do and do now, in lines for a person."""

from store.fleet_view import TierView
from store.machines import NO_AGENT, GpuView
from store.money import display
from store.unknown import Unknown


def machine_lines(tier: TierView) -> list[str]:
    """What a tier's agents can do at most, what the quoted rate implies by that, and each of its GPUs."""
    if tier.capacity == NO_AGENT:
        return []
    if isinstance(tier.capacity, Unknown):
        capacity = f"{tier.spec.name}: capacity — ({tier.capacity.reason})"
    else:
        rate = f"{float(tier.capacity.tokens_per_s):,.0f} tok/s"
        capacity = f"{tier.spec.name}: capacity {rate}{_implied(tier)}"
    return [capacity, *(_gpu_line(gpu) for gpu in tier.gpu), *(f"{one}: {why}" for one, why in tier.no_gpu.items())]


def _gpu_line(gpu: GpuView) -> str:
    """One GPU's figures; `—` for what it does not give."""
    used, total = _gib(gpu.memory_used_bytes), _gib(gpu.memory_total_bytes)
    watts = _or_dash(None if gpu.power_mw is None else gpu.power_mw // 1000)
    shares = (
        f"{_or_dash(gpu.utilisation_percent)}%, {used} of {total} GiB, {watts} W, {_or_dash(gpu.temperature_c)} °C"
    )
    return f"{gpu.agent}: GPU {gpu.index} {gpu.name}: {shares}"


def _implied(tier: TierView) -> str:
    price = tier.implied_nusd_per_mtok
    if isinstance(price, Unknown):
        return ""
    told = display(price, tier.currency, 4)
    return f"; {told} per Mtok output at full load, implied by the quoted rate, not a bill"


def _gib(size: int | None) -> str:
    return "—" if size is None else f"{size / 2**30:.1f}"


def _or_dash(value: int | None) -> str:
    return "—" if value is None else str(value)
