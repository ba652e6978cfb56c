"""What an engineer can do, without a screen: keys and commands call the same functions.

It reads and writes the store alone; the leading collector carries operations out.
"""

import getpass
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from console.export.csv import write_table
from console.queries import Queries
from console.settings import Settings, TierSection
from store.clock import Clock
from store.errors import MtokError, StoreError
from store.gate import FLEET
from store.money import USD

if TYPE_CHECKING:
    from store.anatomy import Anatomy
    from store.database import Database
    from store.gate import Verdict
    from store.headroom import Term
    from store.phases import OperationKind
    from store.preflight import Check
    from store.resets import DayLimit


class GateRefused(MtokError):
    """The gate cannot be reset, closed or opened now; nothing was changed."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"gate {what}: {why}; nothing was changed")
        self.what, self.why = what, why


class ReadOnly(MtokError):
    """This console may look, and nothing else; nothing was changed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: this console is read-only; nothing was changed; start it without --read-only")
        self.what = what


class Service(Queries):
    """The engineer's side of one store. A read-only one refuses whatever would change something."""

    def __init__(
        self,
        database: "Database | Callable[[], Database]",
        settings: Settings,
        clock: Clock,
        actor: str | None = None,
        *,
        is_read_only: bool = False,
    ) -> None:
        super().__init__(database, settings, clock)
        self.is_read_only = is_read_only
        self.actor = actor or current_actor()

    def ask(self, kind: "OperationKind", tier: str, *, seen: str, reason: str = "") -> int:
        """Ask for a hibernate or a wake of a tier whose state the engineer saw as `seen`; answers its id.

        Raises:
            OperationRefused: it makes no sense now, or the state has changed.
        """
        from store.operations import request

        self._writing(f"{kind} {tier}")
        with self.database.write() as session:
            row = request(session, self.clock.now(), kind, tier, actor=self.actor, reason=reason, seen=seen)
            assert row.id is not None
            return row.id

    def history(self, tier: str, kind: "OperationKind", count: int) -> Sequence["Anatomy"]:
        """The last operations of one kind, newest first, the one under way included.

        Raises:
            StoreUnreachable: the store does not answer.
        """
        from store.anatomy import past

        with self.database.read() as session:
            return past(session, tier, kind, count)

    def operation(self, id_: int) -> "Anatomy":
        """An operation as it stands.

        Raises:
            StoreUnreachable: the store does not answer.
        """
        from store.anatomy import anatomy
        from store.tables import OperationRow

        with self.database.read() as session:
            return anatomy(session, session.get_one(OperationRow, id_))

    def preflight(self, tier: str) -> Sequence["Check"]:
        """What is known before a paid wake of `tier`.

        Raises:
            StoreUnreachable: the store does not answer.
        """
        from store.preflight import preflight
        from store.verdicts import verdict_now

        policy = self.settings.gate_policy
        section = self.tier_section(tier)
        volumes = section.volumes if section else ()
        with self.database.read() as session:
            return preflight(session, policy, verdict_now(session, policy, self.clock.now()), tier, volumes)

    def tier_section(self, tier: str) -> TierSection | None:
        """What the settings say of a tier; None for one that they do not name."""
        return next((one for one in self.settings.tiers if one.name == tier), None)

    def is_led(self) -> bool:
        """Whether a collector leads now, to carry out what is asked for."""
        from store.leader import leader

        with self.database.read() as session:
            return leader(self.database, session) is not None

    def is_led_or_unknown(self) -> bool | None:
        """`is_led`; None where the store no longer answers, to whoever has just acted and has that to tell."""
        try:
            return self.is_led()
        except StoreError:
            return None

    def reset_gate(
        self,
        amount_nusd: int,
        reason: str,
        tier: str | None = None,
        currency: str = USD,
        *,
        seen: "DayLimit | None" = None,
    ) -> None:
        """Add money to today's limit: the whole account's in `currency`, or the own limit of `tier`.

        Raises:
            GateRefused: the gate is blind or open, the limit is no longer the one that the engineer saw as `seen`
                or would be too large, or the amount, the reason or such a limit is missing.
        """
        from store.resets import day_limit, why_no_reset
        from store.verdicts import add_allowance, hold_allowances, verdict_now

        self._writing("gate reset")
        policy, scope, reason = self.settings.gate_policy, self._scope(tier, currency), _given("reset", reason)
        if amount_nusd <= 0:
            raise GateRefused("reset", "the amount must be above zero")
        with self.database.write() as session:
            hold_allowances(session)
            now = self.clock.now()  # a day may have ended while we waited
            verdict = verdict_now(session, policy, now)
            limit = day_limit(verdict, scope, now, policy.zone)
            why = (seen.why_other(limit) if seen else None) or why_no_reset(verdict, scope)
            why = why or limit.why_too_much(amount_nusd)
            if why is not None:
                raise GateRefused("reset", why)
            add_allowance(session, policy, now, amount_nusd, self.actor, reason, scope)

    def close_gate(self, reason: str) -> None:
        """Close the gate until somebody opens it.

        Raises:
            GateRefused: it is closed by hand already, or the reason is missing.
        """
        from store.verdicts import close_by_hand, closed_by_hand

        self._writing("gate close")
        reason = _given("close", reason)
        with self.database.write() as session:
            closure = closed_by_hand(session)
            if closure is not None:
                raise GateRefused("close", f"{closure.actor} has closed it already ({closure.reason})")
            close_by_hand(session, self.clock.now(), self.actor, reason)

    def open_gate(self, reason: str, seen: str | None = None) -> None:
        """End a closing by hand, which the engineer saw as `seen`; what else closes the gate goes on doing so.

        Raises:
            GateRefused: nobody has closed it by hand, somebody has again since, or the reason is missing.
        """
        from store.verdicts import closed_by_hand, open_by_hand, verdict_now

        self._writing("gate open")
        reason = _given("open", reason)
        with self.database.write() as session:
            closure = closed_by_hand(session)
            verdict = verdict_now(session, self.settings.gate_policy, self.clock.now())
            if closure is None:
                raise GateRefused("open", f"nobody has closed it by hand; it is: {verdict.sentence}")
            closed_by = verdict.facts.closed_by
            if seen not in (None, closed_by):
                raise GateRefused("open", f"it is closed by {closed_by} now, no longer by {seen}")
            open_by_hand(session, closure, self.clock.now(), self.actor, reason)

    def verdict(self) -> "tuple[Verdict, tuple[Term, ...]]":
        """The gate's decision now, and what may be spent beyond the limit if it closes at it.

        Raises:
            StoreUnreachable: the store does not answer.
        """
        from store.verdicts import overspend_terms, verdict_now

        policy, now = self.settings.gate_policy, self.clock.now()
        with self.database.read() as session:
            return verdict_now(session, policy, now), overspend_terms(session, policy, now)

    def export_table(
        self, directory: Path, name: str, headings: Sequence[str], rows: Iterable[Sequence[str]]
    ) -> Path:
        """Write what is shown to a new file in `directory`; answers its path.

        Raises:
            ExportFailed: the file cannot be written.
        """
        path = directory / f"mtok-{name}-{self.clock.now():%Y%m%dT%H%M%SZ}.csv"
        write_table(path, headings, rows)
        return path

    def _scope(self, tier: str | None, currency: str) -> str:
        policy = self.settings.gate_policy
        if tier is not None and tier not in policy.tier_limits_nusd:
            raise GateRefused("reset", f"tier {tier!r} has no daily_usd of its own in the settings")
        if currency not in (USD, *policy.currency_limits_nusd):
            raise GateRefused("reset", f"[budget.daily] has no limit in {currency}")
        return tier or (FLEET if currency == USD else currency)

    def _writing(self, what: str) -> None:
        if self.is_read_only:
            raise ReadOnly(what)


def _given(what: str, reason: str) -> str:
    if not reason.strip():
        raise GateRefused(what, "a reason is needed")
    return reason.strip()


def current_actor() -> str:
    """Who is acting: the user and, over SSH, the address they come from. Attribution, not authentication."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name
        user = f"uid {os.getuid()}"
    address = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    return f"{user}@{address}" if address else user
