"""Framing of server-sent events."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.answers import frame

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values))
def test_a_frame_is_one_line_and_holds_its_body_whole(body: dict[str, Any]) -> None:
    text = frame(body).decode()
    assert text.startswith("data: ")
    assert text.endswith("\n\n")
    assert "\n" not in text[:-2]
    assert "\r" not in text
    assert json.loads(text.removeprefix("data: ")) == body
