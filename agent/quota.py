"""What a key's label may use: tokens in a UTC day, requests in a minute."""

from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from agent.keys import Keys
from agent.ledger import Ledger
from store.clock import Clock

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: the HTTP status, the code of the error, and a sentence for a developer."""

    status: int
    code: str
    message: str
    retry_after_s: int


class Quotas:
    """Counts what each label uses. A day's tokens survive a restart, by the ledger; a minute's requests do not.

    Of a request over midnight each day is charged its part; after a restart the second one has it all, as in the
    ledger, where an entry is of the day on which it ended.
    """

    def __init__(self, keys: Keys, ledger: Ledger, clock: Clock) -> None:
        self._keys, self._ledger, self._clock = keys, ledger, clock
        self._day = date.min
        self._used: dict[str, int] = {}
        self._asked_s: defaultdict[str, deque[float]] = defaultdict(deque)

    def refuses(self, label: str, prompt_tokens: int, promised_tokens: int = 0) -> Refusal | None:
        """Why a request with such a prompt cannot be served today.

        `promised_tokens` are those of the label's prompts that wait for the engine: taken, and not counted yet.
        """
        left = self.left(label)
        if left is not None and (left := left - promised_tokens) <= prompt_tokens:
            now = self._clock.now()
            midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
            prompt = f", the prompt has {prompt_tokens}" if prompt_tokens else ""
            message = f"This key's tokens of today are used up: {left} are left{prompt}."
            return Refusal(429, "insufficient_quota", message, int((midnight - now).total_seconds()) + 1)
        return None

    def left(self, label: str) -> int | None:
        """Tokens of today that a label may still use; negative when more were used, None without a limit."""
        limit = self._keys.limit(label, "tokens_per_day")
        return None if limit is None else limit - self._used_today(label)

    def is_limited(self, label: str) -> bool:
        """Whether a label's tokens have a limit now."""
        return self._keys.limit(label, "tokens_per_day") is not None

    def count(self, label: str, tokens: int) -> int | None:
        """Take note of tokens that the engine worked on, prompt and completion alike; answers what is `left`.

        A label without a limit is counted too: it may get one, or have it back.
        """
        used = self._used_today(label) + tokens
        self._used[label] = used
        limit = self._keys.limit(label, "tokens_per_day")
        return None if limit is None else limit - used

    def _used_today(self, label: str) -> int:
        today = self._clock.now().date()
        if today != self._day:
            self._day, self._used = today, {}
        if label not in self._used:
            ended = self._ledger.ended_on(today.isoformat(), label)
            self._used[label] = ended.prompt_tokens + ended.completion_tokens
        return self._used[label]

    def asks(self, label: str) -> Refusal | None:
        """Why a label may not ask again in this minute; None counts it as asked."""
        limit = self._keys.limit(label, "requests_per_minute")
        if limit is None:
            return None
        now_s, asked_s = self._clock.monotonic_s(), self._asked_s[label]
        while asked_s and asked_s[0] <= now_s - _MINUTE_S:
            asked_s.popleft()
        if len(asked_s) < limit:
            asked_s.append(now_s)
            return None
        wait_s = int(_MINUTE_S - (now_s - asked_s[0])) + 1 if asked_s else int(_MINUTE_S)
        return Refusal(429, "rate_limit_exceeded", f"This key may ask {limit} times a minute.", wait_s)
