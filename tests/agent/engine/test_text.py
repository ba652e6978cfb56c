"""Text comes out whole characters at a time, never with a stop string, and its tokens with it."""

from hypothesis import given
from hypothesis import strategies as st

from agent.engine.text import TextStream

ALPHABET = "abS "
words = st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=30)
stops = st.lists(st.text(ALPHABET, min_size=1, max_size=5), max_size=4)


def through(pieces: list[str], stop: list[str]) -> tuple[list[tuple[str, int]], bool]:
    """What each token released, of text and of tokens, and whether a stop string ended it."""
    stream = TextStream(lambda ids: "".join(pieces[index] for index in ids), stop)
    released = []
    for index in range(len(pieces)):
        released.append((stream.push(index), stream.take_released()))
        if stream.stopped:
            return released, True
    released.append((stream.flush(), stream.take_released()))
    return released, stream.stopped


def cut(text: str, stop: list[str]) -> str | None:
    """The text up to the stop string that is complete first, found the slow way."""
    for end in range(len(text) + 1):
        if found := [text[:end].find(one) for one in stop if one in text[:end]]:
            return text[: min(found)]
    return None


@given(words, stops)
def test_a_stop_string_never_leaks_across_any_border(pieces: list[str], stop: list[str]) -> None:
    released, stopped = through(pieces, stop)
    shown = "".join(text for text, _ in released)
    whole = "".join(pieces)
    assert not any(one in shown for one in stop)
    assert stopped == any(one in whole for one in stop)
    assert whole.startswith(shown)
    if not stopped:
        assert shown == whole


@given(words.filter(lambda pieces: all(len(piece) == 1 for piece in pieces)), stops)
def test_of_single_characters_the_earliest_stop_string_counts(pieces: list[str], stop: list[str]) -> None:
    shown = "".join(text for text, _ in through(pieces, stop)[0])
    expected = cut("".join(pieces), stop)
    assert shown == ("".join(pieces) if expected is None else expected)


@given(words, stops)
def test_tokens_are_released_with_the_last_of_their_text(pieces: list[str], stop: list[str]) -> None:
    released, stopped = through(pieces, stop)
    shown, count = "", 0
    for place, (text, tokens) in enumerate(released):
        shown += text
        count += tokens
        whole = "".join(pieces[:count])
        if stopped and place == len(released) - 1:
            assert whole.startswith(shown)
            assert not count or len("".join(pieces[: count - 1])) < len(shown)
        else:
            assert shown.startswith(whole)
            assert count == len(pieces) or len("".join(pieces[: count + 1])) > len(shown)


@given(st.text(min_size=1, max_size=20))
def test_characters_are_whole_though_every_token_is_one_byte(text: str) -> None:
    data = text.encode()
    stream = TextStream(lambda ids: bytes(ids).decode(errors="replace"))
    pieces, tokens = [], 0
    for byte in data:
        pieces.append(stream.push(byte))
        tokens += stream.take_released()
    pieces.append(stream.flush())
    assert "".join(pieces) == text
    assert tokens + stream.take_released() == len(data)
