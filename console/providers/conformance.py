"""The conformance suite: every promise of `protocol.py` that can be tried, in the order in which it is printed."""

from collections.abc import Sequence

from console.errors import KindUntried
from console.providers.conformance_bench import Check, Checked, try_kind
from console.providers.conformance_conduct import CONDUCT
from console.providers.conformance_money import MONEY
from console.providers.registry import ProviderKind

CHECKS: tuple[Check, ...] = (*MONEY, *CONDUCT)


async def check_kind(kind: ProviderKind, checks: Sequence[Check] = CHECKS) -> list[Checked]:
    """Put a kind to the checks against its simulator, one after the other.

    Raises:
        KindUntried: it has no simulator.
    """
    if kind.simulator is None:
        raise KindUntried(kind.kind)
    return [await try_kind(kind, kind.simulator, check) for check in checks]
