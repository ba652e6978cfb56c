"""What is known now of every tier's resources, agents and operations: one query each, however many tiers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlmodel import Session, col, select

from store.operations import under_way
from store.tables import AgentRow, OperationPhase, OperationRow, ResourceRow
from store.words import ResourceKind

Row = TypeVar("Row")
Key = TypeVar("Key", str, int)


@dataclass(frozen=True, slots=True)
class TierRows:
    """One tier's part of it. `phases` are those of its operation under way."""

    resources: Sequence[ResourceRow] = ()
    agents: Sequence[AgentRow] = ()
    operation: OperationRow | None = None
    phases: Sequence[OperationPhase] = ()

    @property
    def instances(self) -> Sequence[ResourceRow]:
        """In the order of their ids, as `store.operations.instances` has them."""
        return [row for row in self.resources if row.kind == ResourceKind.INSTANCE]


def read_rows(session: Session) -> Mapping[str, TierRows]:
    """By tier; one of which nothing is known is left out."""
    resources = _grouped(
        session.exec(select(ResourceRow).order_by(col(ResourceRow.resource_id))).all(), lambda row: row.tier
    )
    agents = _grouped(session.exec(select(AgentRow).order_by(col(AgentRow.agent))).all(), lambda row: row.tier)
    operations = {row.tier: row for row in under_way(session)}
    ids = [row.id for row in operations.values()]
    query = select(OperationPhase).where(col(OperationPhase.operation_id).in_(ids))
    phases = _grouped(session.exec(query).all() if ids else (), lambda row: row.operation_id)
    return {
        tier: TierRows(
            resources.get(tier, ()),
            agents.get(tier, ()),
            operations.get(tier),
            phases.get(operations[tier].id or 0, ()) if tier in operations else (),
        )
        for tier in {*resources, *agents, *operations}
    }


def _grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found
