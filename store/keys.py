"""What each key of an agent's public API has used, as its ledger says: shown, and in no figure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """Requests and tokens of one key's label, over the ledger's whole life."""

    requests: int
    prompt_tokens: int
    completion_tokens: int

    def __add__(self, other: "KeyUsage") -> "KeyUsage":
        return KeyUsage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


def dumped_keys(keys: Mapping[str, KeyUsage]) -> str:
    """As the store keeps it."""
    return json.dumps({label: asdict(used) for label, used in keys.items()}, ensure_ascii=False)


def summed_keys(texts: Iterable[str]) -> dict[str, KeyUsage]:
    """By label, what the keys of several agents have used together, the busiest first."""
    found: dict[str, KeyUsage] = {}
    for text in texts:
        for label, used in json.loads(text or "{}").items():
            found[label] = found.get(label, KeyUsage(0, 0, 0)) + KeyUsage(**used)
    return dict(sorted(found.items(), key=lambda one: -one[1].completion_tokens))
