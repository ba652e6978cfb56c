"""Telling people: every alarm to every channel, once, at a bounded rate; what was not delivered is journaled."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import httpx
import structlog

from console.collector.clock_jumps import ClockJumps
from console.collector.deliveries import RATE_OVER_S, Deliveries
from console.collector.tick import Collector, in_store
from console.settings import Settings
from console.trust import trusted
from store.alarms import conditions, follow, tell, told_since, untold
from store.clock import rfc3339
from store.journal import note
from store.leader import check_fence
from store.printable import printable_lines
from store.tables import AlarmRow

log = structlog.get_logger()
_RATE_OVER = timedelta(seconds=RATE_OVER_S)
_HEARTBEAT_WITHIN_S = 5.0


class Channels:
    """Where alarms go, by apprise. An URL holds a secret: it is read once, and never shown."""

    def __init__(self, settings: Settings) -> None:
        self._urls = {one.name: settings.channel_url(one) for one in settings.alarms.channels}

    @property
    def not_understood(self) -> Sequence[str]:
        """The channels through which nobody can be told: apprise does not know their URLs."""
        return [name for name, url in self._urls.items() if not is_understood(url)]

    @property
    def names(self) -> Sequence[str]:
        """The channels' names."""
        return list(self._urls)

    async def send(self, title: str, text: str, to: Collection[str] | None = None) -> dict[str, str | None]:
        """Tell these channels, or every one; answers by channel what went wrong, or None."""
        urls = {name: url for name, url in self._urls.items() if to is None or name in to}
        sent = await asyncio.gather(*(asyncio.to_thread(_send, url, title, text) for url in urls.values()))
        return dict(zip(urls, sent, strict=True))


def is_understood(url: str) -> bool:
    """Whether apprise knows an URL, or each of several. Nothing is sent."""
    from apprise import Apprise  # 200 ms that only an alarm pays

    return bool(Apprise().add(url))


def _send(url: str, title: str, text: str) -> str | None:
    from apprise import Apprise, NotifyFormat  # 200 ms that only an alarm pays

    sender = Apprise()
    if not sender.add(url):
        return "apprise does not understand its URL"
    try:
        is_taken = sender.notify(title=title, body=text, body_format=NotifyFormat.TEXT)  # names in it are no HTML
        return None if is_taken else "it was not accepted"
    except TypeError as error:  # apprise raises it for what it cannot send at all
        return str(error)


@dataclass(frozen=True, slots=True)
class _Message:
    """What is told of one alarm."""

    id_: int
    title: str
    text: str


class Alarms:
    """Follows what is wrong, and tells each of it once."""

    def __init__(self, collector: Collector, channels: Channels) -> None:
        self._collector, self._channels = collector, channels
        self._most = collector.settings.alarms.most_per_10_min
        self._heartbeat_url = collector.settings.alarms.heartbeat_url
        self._jumps = ClockJumps(collector.clock)
        self._untold: list[tuple[float, datetime]] = []  # jumps that are not stored yet, and to when
        self._deliveries = Deliveries(collector.clock)

    async def run(self, fence: int) -> None:
        """Raise, end and tell what is due.

        Raises:
            FenceLost: another collector leads; it does this.
        """
        if jump_s := self._jumps.look():
            self._untold.append((jump_s, self._collector.clock.now().replace(microsecond=0)))
        told = tuple(self._untold)  # a long jump costs the lead, by SQLite's clock, before it can be stored
        due = await in_store(self._follow, fence, told)
        del self._untold[: len(told)]
        if not self._channels.names:
            return
        for one in due:
            left = self._deliveries.left(one.id_, self._channels.names)
            answers = await self._channels.send(one.title, one.text, left)
            problems = {name: why for name, why in answers.items() if why}
            self._deliveries.sent(one.id_, left, problems)
            await in_store(self._keep, fence, one.id_, problems)

    async def heartbeat(self) -> None:
        """Tell the outside that a complete tick was stored: its silence is the alarm for a dead collector."""
        if self._heartbeat_url is None:
            return
        try:
            async with httpx.AsyncClient(timeout=_HEARTBEAT_WITHIN_S, verify=trusted()) as http:
                (await http.get(self._heartbeat_url)).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # their texts may quote the URL, and that is a key
            answer = error.response if isinstance(error, httpx.HTTPStatusError) else None
            problem = type(error).__name__ if answer is None else f"HTTP {answer.status_code}"
            log.warning("heartbeat not delivered", problem=problem)

    def _follow(self, fence: int, jumps: Sequence[tuple[float, datetime]]) -> list[_Message]:
        collector, now = self._collector, self._collector.clock.now()
        with collector.database.write() as session:
            check_fence(collector.database, session, fence)
            if collector.verdict is not None:
                follow(session, now, conditions(session, collector.policy, collector.verdict))
            for jump_s, to in jumps:
                text = f"the wall clock of the collector jumped by {jump_s:+.0f} s, to {rfc3339(to)}; check NTP"
                tell(session, now, "clock_jump", "collector", text)
                note(session, now, "collector", "clock jumped", "collector", f"{jump_s:+.1f} s")
            session.flush()
            rows = {row.id: row for row in untold(session, now) if row.id is not None}
            due = [rows[id_] for id_ in self._deliveries.due(list(rows))]
            sent = max(told_since(session, now - _RATE_OVER), self._deliveries.lately())
            return _messages(due, self._most - sent)

    def _keep(self, fence: int, id_: int, problems: dict[str, str]) -> None:
        database, now = self._collector.database, self._collector.clock.now()
        problem = "; ".join(f"{name}: {why}" for name, why in problems.items()) or None
        with database.write() as session:
            check_fence(database, session, fence)
            row = session.get_one(AlarmRow, id_)
            is_news = problem != row.problem
            row.tries, row.problem, row.told_at = row.tries + 1, problem, None if problems else now
            session.add(row)
            for name, why in problems.items() if is_news else ():
                note(session, now, "collector", "alarm not delivered", name, why)


def _messages(rows: Sequence[AlarmRow], room: int) -> list[_Message]:
    """One message an alarm while there is room; what is beyond it waits, and the last one says so."""
    messages = [
        _Message(row.id or 0, f"mtok: {row.kind.replace('_', ' ')}", printable_lines(row.text))
        for row in rows[: max(room, 0)]
    ]
    waiting = len(rows) - len(messages)
    if messages and waiting:
        last = messages[-1]
        messages[-1] = replace(last, text=f"{last.text} ({waiting} more alarms wait; see mtok console)")
    return messages
