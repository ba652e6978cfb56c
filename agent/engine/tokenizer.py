"""The model's tokenizer and chat template. A user's text never becomes a special token."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from agent.engine.checkpoint import COPY_AGAIN, read_json
from agent.engine.grammar import Vocabulary
from agent.errors import DamagedCheckpoint, PromptError

# what a template's own code can raise on messages that it was not made for
TEMPLATE_FAULTS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

_MARK_ENDS = "\ue000", "\ue001"


class ChatTokenizer:
    """Implements the engine protocol's `Tokens` for any directory with a tokenizer.json."""

    def __init__(self, model_dir: Path, vocabulary: Vocabulary | None = None) -> None:
        self._template_words = _load(model_dir / "tokenizer.json")
        # a second tokenizer, for text of users: there `<|im_end|>` is six ordinary tokens
        self._user_words = _load(model_dir / "tokenizer.json")
        self._user_words.encode_special_tokens = True
        self._vocabulary = vocabulary or Vocabulary(model_dir / "tokenizer.json", self.vocab_size, frozenset())
        config_path = model_dir / "tokenizer_config.json"
        config = read_json(config_path) if config_path.exists() else {}
        self._names = {name: _text(config.get(name)) for name in ("bos_token", "eos_token")}
        self._bos = self._bos_ids(config)
        self._template = _compile(model_dir, config)

    @property
    def vocab_size(self) -> int:
        return int(self._user_words.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        return [*self._bos, *self._user_ids(text)]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._user_words.decode(ids, skip_special_tokens=True))

    def chat(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        # each content is rendered as a mark that nobody can guess, and cut out again:
        # so the template's own pieces may hold special tokens, and the contents may not
        secret = secrets.token_hex(8)
        marks = [f"\ue000{secret}.{index}\ue001" for index in range(len(messages))]
        pairs = zip(messages, marks, strict=True)
        rendered = self._render([{"role": role, "content": mark} for (role, _), mark in pairs])
        contents = dict(zip(marks, (content for _, content in messages), strict=True))
        ids: list[int] = []
        for index, piece in enumerate(_split(rendered, secret)):
            if piece not in contents if index % 2 else any(end in piece for end in _MARK_ENDS):
                raise PromptError("The chat template changes a message's text", "bad_messages", "messages")
            ids += self._user_ids(contents[piece]) if index % 2 else self._template_ids(piece)
        return ids

    def check_schema(self, schema: str) -> None:
        self._vocabulary.check(schema)

    def _render(self, messages: list[dict[str, str]]) -> str:
        if self._template is None:
            raise PromptError(
                "This model has no chat template: use /v1/completions", "no_chat_template", "messages"
            )
        try:
            text = self._template.render(messages=messages, add_generation_prompt=True, **self._names)
        except TEMPLATE_FAULTS as error:
            raise PromptError(f"The chat template refuses this: {error}", "bad_messages", "messages") from error
        return str(text)

    def _user_ids(self, text: str) -> list[int]:
        return _ids(self._user_words, text)

    def _template_ids(self, text: str) -> list[int]:
        return _ids(self._template_words, text)

    def _bos_ids(self, config: dict[str, Any]) -> list[int]:
        bos = self._template_words.token_to_id(self._names["bos_token"])
        return [bos] if config.get("add_bos_token") and bos is not None else []


def _ids(words: Tokenizer, text: str) -> list[int]:
    """Token ids. `encode` gives the same, and holds up every other thread while it works."""
    ids: list[int] = words.encode_batch_fast([text], add_special_tokens=False)[0].ids
    return ids


def _split(rendered: str, secret: str) -> list[str]:
    """Template text and marks in turn, beginning and ending with template text."""
    pieces: list[str] = []
    for index, part in enumerate(rendered.split(f"\ue000{secret}.")):
        if index:
            number, _, part = part.partition("\ue001")
            pieces.append(f"\ue000{secret}.{number}\ue001")
        pieces.append(part)
    return pieces


def _load(path: Path) -> Tokenizer:
    if not path.is_file():
        raise DamagedCheckpoint(path, "is missing", COPY_AGAIN)
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:
        raise DamagedCheckpoint(path, f"is no tokenizer ({error})", COPY_AGAIN) from error


def _compile(model_dir: Path, config: dict[str, Any]) -> Any:
    path = model_dir / "chat_template.jinja"
    source = path.read_text(encoding="utf-8") if path.is_file() else config.get("chat_template")
    if not isinstance(source, str):
        return None
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda pattern: datetime.now(UTC).strftime(pattern)
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise DamagedCheckpoint(model_dir, f"its chat template does not parse ({error})", COPY_AGAIN) from error


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
