"""From sampled tokens to text that may be shown: whole characters, and never a stop string."""

from collections import deque
from collections.abc import Callable, Sequence

BROKEN = "\ufffd"  # what half a character decodes to


class TextStream:
    """The text of one answer, released piece by piece."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._base = 0  # decoding starts here: some tokenizers need the token before
        self._shown = 0  # tokens whose text has left the decoder
        self._held = ""  # may be the beginning of a stop string
        self._spans: deque[tuple[int, int]] = deque()  # where the text of tokens not yet released begins and ends
        self._decoded = self._released = 0  # characters
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that this token releases. When `stopped`, it ends just before the stop string."""
        self._ids.append(token)
        return self._through_stops(self._piece(final=False))

    def flush(self) -> str:
        """What was still held, at the end of the answer."""
        text = self._through_stops(self._piece(final=True))
        if not self.stopped:
            self._released += len(self._held)
            text, self._held = text + self._held, ""
        return text

    def take_released(self) -> int:
        """How many tokens, in their order, the text released since the last call is made of.

        A token is released with the last of its text, or with the first of it when the rest is cut off.
        """
        count = 0
        while self._spans:
            start, end = self._spans[0]
            if end > self._released and not (self.stopped and start < self._released):
                break
            self._spans.popleft()
            count += 1
        return count

    def _piece(self, *, final: bool) -> str:
        before = self._decode(self._ids[self._base : self._shown])
        after = self._decode(self._ids[self._base :])
        if not final and (len(after) <= len(before) or after.endswith(BROKEN)):
            return ""
        piece = after[len(before) :]
        span = (self._decoded, self._decoded + len(piece))
        self._spans.extend([span] * (len(self._ids) - self._shown))  # several make one character
        self._decoded += len(piece)
        self._base, self._shown = self._shown, len(self._ids)
        return piece

    def _through_stops(self, piece: str) -> str:
        text = self._held + piece
        if self._stop and text:
            found = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
            if found:
                self.stopped, self._held = True, ""
                text = text[: min(found)]
            else:
                keep = max(_overlap(text, stop) for stop in self._stop)
                text, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self._released += len(text)
        return text


def _overlap(text: str, stop: str) -> int:
    """How many last characters of `text` begin `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0


def cut_at(text: str, stop: Sequence[str], banned: Sequence[str] = ()) -> tuple[str, bool]:
    """A text up to the first of the stop strings or banned strings in it; and whether a stop string is there."""
    lower = text.lower()
    stops = [place for place in (text.find(one) for one in stop) if place >= 0]
    bans = [place for place in (lower.find(one.lower()) for one in banned) if place >= 0]
    return text[: min([*stops, *bans], default=len(text))], bool(stops)


def covering_tokens(text: str, ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int:
    """How many first tokens of `ids` the text is made of; one of which only the end was cut off counts."""
    if not text:
        return 0
    for count in range(1, len(ids)):
        found = decode(ids[:count])
        if len(found) >= len(text) and not found.endswith(BROKEN):
            return count
    return len(ids)
