"""What a tier has at its provider, as lines: instances and volumes, each with its bills as they are stated."""

from collections.abc import Sequence

from console.tui.cells import Role, Row, line
from console.tui.render.figures import UNKNOWN, money
from console.tui.render.flow import flowed
from console.tui.render.lists import day_time
from store.money import USD, display
from store.resources import BillView, ResourceView
from store.steps import told
from store.unknown import Unknown

_ENDED_SHOWN = 2  # a bill by the hour is a new counter each hour


def resource_rows(resources: Sequence[ResourceView], width: int, currency: str = USD) -> list[Row]:
    """Each resource, and under it each of its counters; `currency`: of a quote for what has no bill yet."""
    rows = [line(" INSTANCES AND VOLUMES", Role.HEADING)]
    if not resources:
        return [*rows, line(" none is known yet", Role.MUTED)]
    for resource in resources:
        rows += flowed(_resource(resource, currency), width)
        if not resource.bills:
            rows += flowed(["no bill has been read yet"], width, 3, Role.WARN)
        ended = [bill for bill in resource.bills if bill.final_at is not None]
        hidden = ended[:-_ENDED_SHOWN]
        for bill in resource.bills:
            if bill not in hidden:
                rows += flowed(_bill(bill), width, 3, Role.WARN if bill.unsettled_at else Role.MUTED)
        if hidden:
            rows += flowed([f"and {len(hidden)} older bills that have ended"], width, 3, Role.MUTED)
    return rows


def _resource(resource: ResourceView, currency: str) -> list[str]:
    address = resource.address
    quoted_in = resource.bills[-1].currency if resource.bills else currency
    return [
        f"{resource.kind} {resource.resource_id}",
        resource.name,
        _state(resource),
        f"since {day_time(resource.state_since_at)}" if resource.state_since_at else "",
        f"on {resource.attached_to}" if isinstance(resource.attached_to, str) else "",
        address if isinstance(address, str) else "",
        f"{_rate(resource.rate_nusd_per_hour, quoted_in)}/h quoted",
        f"seen {day_time(resource.seen_at)}" if resource.seen_at else "",
    ]


def _rate(nusd: int | Unknown, currency: str) -> str:
    return UNKNOWN if isinstance(nusd, Unknown) else display(nusd, currency, 4 if nusd < 10**8 else 2)


def _state(resource: ResourceView) -> str:
    state, raw = resource.state, resource.raw_state
    if isinstance(state, Unknown):
        return f"{UNKNOWN} ({state.reason})"
    return state if isinstance(raw, Unknown) or not raw else f"{state} ({raw})"


def _bill(bill: BillView) -> list[str]:
    step = "step not known yet" if isinstance(bill.step, Unknown) else f"every {told(bill.step)}"
    return [
        f"bill {bill.counter}",
        f"states {bill.raw} {bill.currency}" if bill.raw else f"{UNKNOWN} never read",
        f"at {day_time(bill.as_of_at)}" if bill.as_of_at else "",
        f"runs since {day_time(bill.started_at)}" if bill.started_at else "",
        _moved(bill),
        step,
        f"{_amount(bill.spent_nusd, bill.currency)} since first seen {day_time(bill.first_seen_at)}",
        f"opened with {money(bill.opening_nusd, bill.currency)}" if bill.opening_nusd else "",
        *_flags(bill),
    ]


def _moved(bill: BillView) -> str:
    if isinstance(bill.moved_at, Unknown):
        return f"moved: {bill.moved_at.reason}"
    return f"moved {day_time(bill.moved_at)}" if bill.moved_at else "has not moved since"


def _flags(bill: BillView) -> list[str]:
    return [
        f"! UNSETTLED since {day_time(bill.unsettled_at)}: mtok counter settle {bill.counter_id}"
        if bill.unsettled_at
        else "",
        f"FINAL at {day_time(bill.final_at)}" if bill.final_at else "",
        "EXCLUDED from billing by the provider" if bill.is_excluded else "",
    ]


def _amount(value: int | Unknown, currency: str) -> str:
    return f"{UNKNOWN} ({value.reason})" if isinstance(value, Unknown) else money(value, currency)
