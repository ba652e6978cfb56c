"""Holds an answer to a JSON schema, token by token. The one file that imports llguidance.

Source: https://github.com/guidance-ai/llguidance, `LLMatcher` of 1.9 (read on 2026-11-25).
"""

import threading
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from agent.errors import PromptError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_KEPT_SCHEMAS = 64  # more than wait in a queue
_TRIED_TOKENS = 16  # a millisecond each at most
_PARAM = "response_format.json_schema.schema"


class Vocabulary:
    """The bytes of each token, and matchers of schemas over them. Safe to use from any thread."""

    def __init__(self, tokenizer_file: Path, tokens: int, ends: frozenset[int]) -> None:
        self._file, self._tokens, self._ends = tokenizer_file, tokens, sorted(ends)
        self._making = threading.Lock()
        self.text_of = lru_cache(65_536)(self._text_of)
        self._compiled = lru_cache(_KEPT_SCHEMAS)(self._compile)

    def check(self, schema: str) -> None:
        """Whether an answer can be held to this schema.

        Raises:
            PromptError: it is no schema, or has parts that are not implemented.
        """
        self._compiled(schema)

    def matcher(self, schema: str) -> "Matcher":
        """A fresh matcher; of a schema that was checked shortly before it costs next to nothing.

        Raises:
            PromptError: as `check`.
        """
        return Matcher(self._compiled(schema).deep_copy(), self._tokens)

    def _compile(self, schema: str) -> "LLMatcher":
        """A matcher that nobody advances; making one takes up to a second."""
        from llguidance import LLMatcher

        try:
            # free whitespace would let a model fill its limit with blanks
            grammar = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
        except ValueError as error:
            raise PromptError(f"The JSON schema cannot be used: {error}", "invalid_schema", _PARAM) from None
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        tried = matcher.deep_copy()
        self._begin(tried)
        if tried.is_error():
            reason = tried.get_error().strip().splitlines()[0].replace("NoExtensionBias", "no token can follow")
            raise PromptError(f"The JSON schema cannot be used: {reason}", "invalid_schema", _PARAM)
        return matcher

    def _begin(self, matcher: "LLMatcher") -> None:
        """The first tokens of some answer: one of endless depth, or of too many optional keys, is known by them."""
        for _ in range(_TRIED_TOKENS):
            allowed = Matcher(matcher, self._tokens).allowed()
            if not allowed.any() or (token := int(allowed.argmax())) in self._ends:
                return
            matcher.consume_token(token)

    def _text_of(self, token: int) -> bytes:
        """The bytes of one token; they may be half a character."""
        return self._tokenizer.decode_bytes([token])

    @property
    def _tokenizer(self) -> "LLTokenizer":
        with self._making:  # a cached property alone would make it twice
            return self._made

    @cached_property
    def _made(self) -> "LLTokenizer":
        from llguidance import LLTokenizer

        text = self._file.read_text(encoding="utf-8")
        return LLTokenizer(text, n_vocab=self._tokens, eos_token=self._ends or None)


class Matcher:
    """What may come next in one answer."""

    def __init__(self, matcher: "LLMatcher", tokens: int) -> None:
        self._matcher, self._tokens = matcher, tokens

    def allowed(self) -> npt.NDArray[np.bool_]:
        """Which tokens may come next, (vocab,); none at all when the matcher cannot go on."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: self._tokens].astype(np.bool_)
        return np.zeros(self._tokens, np.bool_) if self._matcher.is_error() else allowed

    def take(self, token: int) -> None:
        """A token was sampled."""
        self._matcher.consume_token(token)
