"""From sampled tokens to text that may be shown: whole characters, and never a stop string."""

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
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that this token releases. When `stopped`, it ends just before the stop string."""
        self._ids.append(token)
        return self._through_stops(self._piece(final=False))

    def flush(self) -> str:
        """What was still held, at the end of the answer."""
        text = self._through_stops(self._piece(final=True))
        if not self.stopped:
            text, self._held = text + self._held, ""
        return text

    def _piece(self, *, final: bool) -> str:
        before = self._decode(self._ids[self._base : self._shown])
        after = self._decode(self._ids[self._base :])
        if len(after) <= len(before) or (after.endswith(BROKEN) and not final):
            return ""
        self._base, self._shown = self._shown, len(self._ids)
        return after[len(before) :]

    def _through_stops(self, piece: str) -> str:
        text = self._held + piece
        if not self._stop or not text:
            return text
        found = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """How many last characters of `text` begin `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0
