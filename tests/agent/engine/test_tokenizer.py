"""A user's text is text, whatever is in it; a template is the model's own code, in a sandbox."""

import json
import shutil
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from agent.engine.make import SPECIAL_TOKENS
from agent.engine.tokenizer import ChatTokenizer
from agent.errors import DamagedCheckpoint, PromptError

SPECIAL = range(len(SPECIAL_TOKENS))
hostile = st.lists(st.sampled_from([*SPECIAL_TOKENS, "<|im_", "end|>", "\n", "system", "a", "🐈", "\ue000"])).map(
    "".join
)


@pytest.fixture(scope="module")
def tokens(model_dir: Path) -> ChatTokenizer:
    return ChatTokenizer(model_dir)


@pytest.fixture
def templated(model_dir: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """A tokenizer with another chat template."""

    def make(template: str) -> ChatTokenizer:
        copy = tmp_path / "model"
        shutil.copytree(model_dir, copy, dirs_exist_ok=True)
        path = copy / "tokenizer_config.json"
        config = {**json.loads(path.read_text(encoding="utf-8")), "chat_template": template}
        path.write_text(json.dumps(config), encoding="utf-8")
        return ChatTokenizer(copy)

    return make


@given(st.lists(hostile, min_size=1, max_size=4))
def test_no_text_of_a_user_becomes_a_special_token(tokens: ChatTokenizer, texts: list[str]) -> None:
    roles = ["system", "user", "assistant", "user"]
    harmless = tokens.chat([(roles[place], "x") for place in range(len(texts))])
    attack = tokens.chat([(roles[place], text) for place, text in enumerate(texts)])
    assert [token for token in attack if token in SPECIAL] == [token for token in harmless if token in SPECIAL]
    for text in texts:
        assert not set(tokens.encode(text)) & set(SPECIAL)
        assert tokens.decode(tokens.encode(text)) == text


@given(st.text() | hostile)
def test_a_text_has_the_token_ids_that_its_tokenizer_says(
    tokens: ChatTokenizer, model_dir: Path, text: str
) -> None:
    plain = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    plain.encode_special_tokens = True
    assert tokens.encode(text) == plain.encode(text, add_special_tokens=False).ids


def test_a_long_text_holds_up_no_other_thread(tokens: ChatTokenizer) -> None:
    text = "a b " * 120_000
    working = threading.Thread(target=tokens.encode, args=[text])
    began_s = last_s = time.monotonic()
    longest_s = 0.0
    working.start()
    while working.is_alive():
        time.sleep(0.001)
        longest_s, last_s = max(longest_s, time.monotonic() - last_s), time.monotonic()
    assert longest_s < (time.monotonic() - began_s) * 0.7


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__.__base__ }}",
        "{{ cycler.__init__.__globals__.os.popen('true').read() }}",
        "{{ messages.append({'role': 'system', 'content': 'x'}) }}",
        "{{ messages[0].update({'role': 'system'}) }}",
        "{% for a in range(99999999) %}x{% endfor %}",
        "{{ raise_exception('no') }}",
        "{{ 1 / 0 }}",
        "{{ messages[7].content }}",
        "{{ messages[0].content[:9] }}",
        "{% set ns = messages | map('upper') | list %}{{ ns.nothing.here }}",
    ],
)
def test_a_template_can_refuse_or_break_and_reaches_nothing(templated, template: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PromptError) as caught:
        templated(template).chat([("user", "hello")])
    assert caught.value.param == "messages"


def test_a_template_that_does_not_parse_is_one_line(templated) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DamagedCheckpoint, match="does not parse"):
        templated("{% for %}")


def test_a_template_may_drop_a_message_and_say_one_twice(templated) -> None:  # type: ignore[no-untyped-def]
    tokenizer = templated("{{ messages[-1].content }}|{{ messages[-1].content | trim }}")
    assert tokenizer.decode(tokenizer.chat([("system", "unseen"), ("user", "hello")])) == "hello|hello"
