"""The lines that stand on every screen: what this is, the gate, billing's health, and what is wrong."""

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from rich.cells import cell_len, chop_cells

from console.tui.cells import Role, Row, Span, between, fitted, line
from console.tui.render.figures import UNKNOWN, age, bar, money
from console.tui.view import View
from store.fleet_view import Fleet, ProviderHealth
from store.gate import ScopeVerdict, Verdict
from store.money import USD, display
from store.printable import printable
from store.unknown import Unknown

_MOST_WHY = 3  # lines, beside the first one
_LEAST_WHO = 12  # cells: less of who looks tells nobody apart


def header(view: View, name: str, width: int) -> str:
    """The first line: which screen, what must not be overlooked, who looks, and of when the figures are.

    The marks stand whole in 60 cells. First who looks gives way, then the screen's name, then the words around the
    instant.
    """
    marks = _marks(view)
    brief = marks.replace("SIMULATED PROVIDER", "SIMULATED")
    head, instant = f" mtok {name.upper()}", _instant(view)
    bare = instant.removeprefix("tick ").removesuffix(" UTC")
    who = _cut(view.actor, width - cell_len(f"{head}{brief}    {instant} "))
    forms = (
        (f"{head}{marks}", f"  {view.actor}  {instant} "),
        (f"{head}{brief}", f"  {view.actor}  {instant} "),
        (f"{head}{brief}", f"  {who}  {instant} " if who else f"  {instant} "),
        (f" mtok{brief}", f"  {instant} "),
        (f" mtok{brief}", f"  {bare} "),
        (brief[1:], f"  {bare} "),
    )
    fits = (form for form in forms if cell_len("".join(form)) <= width)
    return between(*next(fits, (brief[1:] or head, "")), width)


def _marks(view: View) -> str:
    fleet = view.fleet
    simulated = fleet is not None and any(tier.spec.is_simulated for tier in fleet.tiers)
    flags = (
        ("REPLAY", view.at is not None),
        ("SIMULATED PROVIDER", simulated),
        ("READ-ONLY", view.is_read_only),
        ("PAUSED", view.is_paused),
    )
    return "".join(f"  {text}" for text, holds in flags if holds)


def _cut(actor: str, width: int) -> str:
    """Who looks, without the middle where it is too long: whose name, and the address's end, tell most."""
    if width < _LEAST_WHO:
        return ""
    tail = actor
    while cell_len(tail) > width // 2:
        tail = tail[1:]
    return actor if cell_len(actor) <= width else f"{fitted(actor, width - cell_len(tail))}{tail}"


def _instant(view: View) -> str:
    if view.at is not None:
        at = view.fleet.at if view.fleet else view.at  # a step is there once it has been read
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if view.fleet is None:  # nobody has looked yet
        return ""
    tick_at = view.fleet.tick_at
    return f"tick {tick_at.astimezone(UTC):%H:%M:%S} UTC" if tick_at else "no tick yet"


def gate_rows(fleet: Fleet, width: int) -> list[Row]:
    """The gate: open or closed, today's spend against the limit, and why it is closed."""
    verdict = fleet.verdict
    if verdict.is_open:
        return [_open_row(verdict, width)]
    head = f" GATE CLOSED  {', '.join(verdict.reasons).upper()}  "
    since = f"since {_moment(fleet.closed_since, fleet.at)}: " if fleet.closed_since else ""
    why = wrapped(since + verdict.sentence, width - 3)
    if len(why) > _MOST_WHY:  # the screen of the gate has all of it
        why = [*why[: _MOST_WHY - 1], fitted(" ".join(why[_MOST_WHY - 1 :]), width - 3)]
    return [
        line(head + _day(verdict, width - len(head)), Role.BAD),
        *(line(f"   {text}", Role.BAD) for text in why),
    ]


def _open_row(verdict: Verdict, width: int) -> Row:
    """Open for the account; not so for each tier or provider that is closed by itself."""
    head, shut = " GATE OPEN  ", ", ".join(dict.fromkeys(whom for whom, *_ in verdict.closings))
    room = width - len(head)
    if not shut:
        return (Span(head, Role.GOOD), Span(_day(verdict, room)))
    closed = f"  CLOSED for {printable(shut)}"
    day = _day(verdict, room - cell_len(closed))
    return (Span(head, Role.GOOD), Span(day), Span(fitted(closed, room - cell_len(day)).rstrip(), Role.BAD))


def _day(verdict: Verdict, width: int) -> str:
    """Today's money; where it is too long, without what is said elsewhere too, and no amount in halves."""
    spent = verdict.facts.debits_today_nusd
    limit = display(verdict.limit_nusd, USD)
    if isinstance(spent, Unknown):
        brief = f"today {UNKNOWN} of {limit}"
        whole = f"{brief} ({spent.reason})"
    else:
        share = Fraction(spent, verdict.limit_nusd) if verdict.limit_nusd else Fraction(1)
        per_cent = f"{float(share) * 100:.0f}%"
        brief = f"today {money(spent)} of {limit} {per_cent}"
        whole = f"today {money(spent)} of {limit} {bar(share, 12)} {per_cent}"
    others = [f"  {_budget(scope)}" for scope in verdict.currencies.values()]
    if cell_len(whole) + sum(map(cell_len, others)) <= width:
        return whole + "".join(others)
    for n, other in enumerate(others, 1):
        is_last = n == len(others)
        if cell_len(brief + other) + (0 if is_last else 2) > width:
            return f"{brief} …"
        brief += other
    return brief


def _budget(scope: ScopeVerdict) -> str:
    """Today's money in a currency beside the dollars."""
    spent = scope.facts.debits_nusd
    limit = display(scope.limit_nusd, scope.currency)
    return f"{UNKNOWN if isinstance(spent, Unknown) else money(spent, scope.currency)} of {limit}"


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most `width` cells (20 at least), broken at spaces, and inside longer words."""
    room, found, current = max(width, 20), [], ""
    for word in printable(" ".join(text.splitlines())).split(" "):
        joined = f"{current} {word}" if current else word
        if cell_len(joined) <= room:
            current = joined
            continue
        *whole, rest = chop_cells(word, room) or [""]
        found += [current, *whole] if current else whole
        current = rest
    return [*found, current]


def health_row(view: View, fleet: Fleet, width: int) -> Row:
    """Billing's health where all is well: each provider's last complete tick, and who leads."""
    well = [one for one in fleet.health if one.problem is None and one.last_complete_at is not None]
    parts = [_health(one, fleet) for one in well]
    nobody = "no provider was complete at the last tick" if fleet.tick_at else "no tick yet"
    text = f" BILLING  {'; '.join(parts) or nobody}"
    led = "; this console leads" if view.leads else "; collector leads" if fleet.led_by else ""
    if len(text) + len(led) > width and len(parts) > 1:
        text = f" BILLING  {len(well)} of {len(fleet.health)} providers {_together(well, fleet)}"
    return line(text + led if cell_len(text + led) <= width else text, Role.MUTED)


def _together(well: Sequence[ProviderHealth], fleet: Fleet) -> str:
    last = max(one.last_complete_at for one in well if one.last_complete_at is not None)
    return "complete" if fleet.led_by else f"STALE {age((fleet.at - last).total_seconds())}"


def _health(health: ProviderHealth, fleet: Fleet) -> str:
    assert health.last_complete_at is not None
    at = f"{health.last_complete_at.astimezone(UTC):%H:%M:%S}"
    if fleet.led_by is None:  # nobody asks it: what was well is so no more
        return f"{health.provider} STALE {age((fleet.at - health.last_complete_at).total_seconds())}, since {at}"
    return f"{health.provider} complete at {at}, {health.latency_ms} ms"


def banners(view: View, now_s: float, width: int) -> list[Row]:
    """What is wrong, each in lines of its own; they come and go by themselves."""
    return [row for text in _wrong(view, now_s) for row in _banner(text, width)]


def _banner(text: str, width: int) -> list[Row]:
    first, *more = wrapped(text, width - 4)  # what goes on below is set in by three
    return [line(f" {first}", Role.ALARM), *(line(f"   {rest}", Role.ALARM) for rest in more)]


def _wrong(view: View, now_s: float) -> list[str]:
    found = []
    if view.problem is not None:
        shown = (
            "nothing has been read yet" if view.read_s is None else f"figures are {age(now_s - view.read_s)} old"
        )
        found.append(f"STALE: {shown}. {view.problem}")
    fleet = view.aged(now_s)
    if fleet is None or view.at is not None:
        return found
    if fleet.led_by is None:
        word = "NO COLLECTOR YET: this console begins to collect"
        if not view.is_about_to_lead(now_s):
            word = "COLLECTOR DEAD: nobody reads the bills, start mtok collect"
        found.append(f"{word}; {_last_tick(fleet)}. {_burn(fleet)}".rstrip())
    return found + [_dark(health, fleet.at) for health in fleet.health if health.problem]


def _last_tick(fleet: Fleet) -> str:
    """Since when nobody has read them."""
    if fleet.tick_at is None:
        return "no tick yet"
    ago = age((fleet.at - fleet.tick_at).total_seconds())
    return f"last tick {ago} ago, at {_moment(fleet.tick_at, fleet.at)}"


def _moment(at: datetime, now: datetime) -> str:
    """An instant in UTC; where it is of another day than `now`, with its date."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%m-%d %H:%M:%S}"


def _burn(fleet: Fleet) -> str:
    """What goes on being billed unseen: by the quoted rates, hence an estimate, and called so."""
    awake = [tier for tier in fleet.tiers if tier.state not in ("asleep", "gone")]
    known: dict[str, int] = {}
    for tier in awake:
        if not isinstance(tier.rate_nusd_per_hour, Unknown):
            known[tier.currency] = known.get(tier.currency, 0) + tier.rate_nusd_per_hour
    if not known:
        return f"No rate of {len(awake)} tiers is known" if awake else ""
    missing = sum(isinstance(tier.rate_nusd_per_hour, Unknown) for tier in awake)
    rates = " + ".join(display(rate, currency) for currency, rate in known.items())
    more = f" and {missing} unknown" if missing else ""
    return f"Estimate by quoted rates: {rates}/h{more} for {len(awake)} tiers"


def _dark(health: ProviderHealth, now: datetime) -> str:
    if health.last_complete_at is None:
        return f"BILLING DARK: {health.provider} has never been complete: {health.problem or 'no tick yet'}"
    since = age((now - health.last_complete_at).total_seconds())
    return f"BILLING STALE: {health.provider}: last complete tick {since} ago: {health.problem}"
