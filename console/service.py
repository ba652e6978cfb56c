"""What an engineer can do, without a screen: keys and commands call the same functions.

It reads and writes the store alone; the leading collector carries operations out.
"""

import getpass
import os
from datetime import timedelta
from pathlib import Path

from console.export.csv import write_csv
from console.settings import Settings
from store.clock import Clock
from store.database import Database
from store.errors import MtokError
from store.fleet import Fleet, read_fleet
from store.gate import why_no_reset
from store.operations import OperationKind, request
from store.verdicts import add_allowance, verdict_now


class ResetRefused(MtokError):
    """The gate cannot be reset now; nothing was changed."""

    def __init__(self, why: str) -> None:
        super().__init__(f"gate reset: {why}; nothing was changed")
        self.why = why


class Service:
    """The engineer's side of one store."""

    def __init__(self, database: Database, settings: Settings, clock: Clock, actor: str | None = None) -> None:
        self.database, self.settings, self.clock = database, settings, clock
        self.actor = actor or current_actor()
        self._last: Fleet | None = None

    def fleet(self) -> Fleet:
        """The fleet now.

        Raises:
            StoreUnreachable: the store does not answer.
        """
        step = timedelta(seconds=max(self.settings.collector.every.total_seconds() * 2, 4.0))
        self._last = read_fleet(
            self.database,
            self.settings.tier_specs,
            self.settings.gate_policy,
            self.clock.now(),
            step,
            self._last,
        )
        return self._last

    def ask(self, kind: OperationKind, tier: str, *, seen: str, reason: str = "") -> None:
        """Ask for a hibernate or a wake of a tier whose state the engineer saw as `seen`.

        Raises:
            OperationRefused: it makes no sense now, or the state has changed.
        """
        with self.database.write() as session:
            request(session, self.clock.now(), kind, tier, actor=self.actor, reason=reason, seen=seen)

    def reset_gate(self, amount_nusd: int, reason: str) -> None:
        """Add money to today's limit.

        Raises:
            ResetRefused: the gate is blind or open, or the amount or the reason is missing.
        """
        if amount_nusd <= 0:
            raise ResetRefused("the amount must be above zero")
        if not reason.strip():
            raise ResetRefused("a reason is needed")
        policy, now = self.settings.gate_policy, self.clock.now()
        with self.database.write() as session:
            why = why_no_reset(verdict_now(session, policy, now))
            if why is not None:
                raise ResetRefused(why)
            add_allowance(session, policy, now, amount_nusd, self.actor, reason.strip())

    def export_csv(self, directory: Path) -> Path:
        """Write what is shown to a new file in `directory`; answers its path.

        Raises:
            ExportFailed: the file cannot be written.
        """
        return write_csv(self.fleet(), directory)


def current_actor() -> str:
    """Who is acting: the user and, over SSH, the address they come from. Attribution, not authentication."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name
        user = f"uid {os.getuid()}"
    address = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    return f"{user}@{address}" if address else user
