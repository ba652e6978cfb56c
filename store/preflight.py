"""Preflight: what is known before a paid wake, one line each, so that nobody pays for a surprise."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from store.counters import currency_of
from store.gate import GatePolicy, Verdict
from store.money import display
from store.operations import instances
from store.stops import wake_cost_nusd, wake_rate_nusd_per_hour, why_no_wake
from store.tables import AgentRow, ResourceRow
from store.unknown import Unknown
from store.words import ResourceKind, State


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a preflight. `is_ok`: None where nobody could tell. `is_closed`: it found the gate closed."""

    what: str
    is_ok: bool | None
    text: str
    is_closed: bool = False


def preflight(
    session: Session, policy: GatePolicy, verdict: Verdict, tier: str, volumes: Collection[str]
) -> Sequence[Check]:
    """What speaks for and against waking `tier` now, whose settings name these `volumes`."""
    rows = instances(session, tier)
    return [
        _gate(session, policy, verdict, tier),
        _sleeps(rows),
        *(_volume(session, id_, rows) for id_ in volumes),
        *_models(session, tier),
        _kept(rows),
    ]


def _gate(session: Session, policy: GatePolicy, verdict: Verdict, tier: str) -> Check:
    why = why_no_wake(session, policy, verdict, tier)
    if why is not None:
        return Check("gate", False, why, is_closed=bool(verdict.reasons_for(tier)))
    rate = wake_rate_nusd_per_hour(session, verdict, tier)
    if isinstance(rate, Unknown):
        return Check("gate", None, f"open; whether the wake fits the limit is not known: {rate.reason}")
    currency = currency_of(session, tier)
    most = f"at most {display(wake_cost_nusd(policy, rate), currency)} before it could be stopped again"
    return Check("gate", True, f"open; {most}, at up to {display(rate, currency)}/h as quoted; it fits the limit")


def _sleeps(rows: Sequence[ResourceRow]) -> Check:
    if not rows or any(row.may_sleep is None for row in rows):
        return Check("flavour", None, "not known whether it can hibernate")
    unable = [row.resource_id for row in rows if not row.may_sleep]
    text = f"{', '.join(unable)} cannot hibernate: it will bill until it is deleted"
    return Check("flavour", not unable, text if unable else "can hibernate again")


def _volume(session: Session, id_: str, rows: Sequence[ResourceRow]) -> Check:
    query = select(ResourceRow).where(ResourceRow.kind == ResourceKind.VOLUME, ResourceRow.resource_id == id_)
    volume = session.exec(query).first()
    if volume is None or volume.state == State.GONE:
        return Check("volume", False, f"{id_} is not in the provider's inventory")
    if volume.attached_to is None:
        return Check("volume", False, f"{id_} is attached to nothing")
    own = volume.attached_to in {row.resource_id for row in rows}
    return Check(
        "volume", own, f"{id_} is attached to {volume.attached_to}{'' if own else ', which is another tier'}"
    )


def _models(session: Session, tier: str) -> Sequence[Check]:
    agents = session.exec(select(AgentRow).where(AgentRow.tier == tier).order_by(col(AgentRow.agent))).all()
    return [
        Check("model", bool(agent.model) or None, f"{agent.agent}: {_model(agent)}, when it was last awake")
        if agent.model
        else Check("model", None, f"{agent.agent}: its model was never seen")
        for agent in agents
    ]


def _model(agent: AgentRow) -> str:
    return ", ".join(part for part in (agent.model, agent.quantisation, f"mtok {agent.version}") if part)


def _kept(rows: Sequence[ResourceRow]) -> Check:
    loses = sorted({item for row in rows for item in row.sleep_loses.split(", ") if item})
    return Check("sleep", None, f"has lost: {', '.join(loses) or 'nothing that is known'}; volumes were kept")
