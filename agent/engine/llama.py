"""A Llama's forward pass in numpy, over a ragged batch of sequences."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.engine.checkpoint import LlamaShape, Tensors

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class Cache:
    """Keys and values of one sequence, (layers, kv_heads, tokens, head_dim), allocated once."""

    def __init__(self, shape: LlamaShape, tokens: int) -> None:
        size = (shape.layers, shape.kv_heads, tokens, shape.head_dim)
        self.keys, self.values = np.empty(size, np.float32), np.empty(size, np.float32)
        self.used = 0

    def copy_from(self, other: "Cache", tokens: int) -> None:
        """Take over the first `tokens` positions of another sequence."""
        self.keys[:, :, :tokens] = other.keys[:, :, :tokens]
        self.values[:, :, :tokens] = other.values[:, :, :tokens]
        self.used = tokens

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes


@dataclass(frozen=True, slots=True)
class Slice:
    """The next `ids` of a sequence. Only the last position's logits are made, and only if wanted."""

    ids: Ids
    cache: Cache
    wants_logits: bool = True


@dataclass(frozen=True, slots=True)
class _Layer:
    norm_in: Floats
    qkv: Floats
    out: Floats
    norm_post: Floats
    gate_up: Floats
    down: Floats


class Llama:
    """The model's weights, dequantised to float32."""

    def __init__(self, shape: LlamaShape, tensors: Tensors) -> None:
        self.shape = shape
        width = (shape.vocab, shape.hidden)
        self._embedding = tensors.floats("model.embed_tokens.weight", width)
        self._norm = tensors.floats("model.norm.weight", (shape.hidden,))
        head = self._embedding if shape.tied else tensors.floats("lm_head.weight", width)
        self._head = np.ascontiguousarray(head.T)
        self._layers = [_read_layer(shape, tensors, f"model.layers.{n}.") for n in range(shape.layers)]
        inverse = 1 / shape.rope_theta ** (np.arange(0, shape.head_dim, 2) / shape.head_dim)
        angles = np.arange(shape.context)[:, None] * inverse
        self._cos, self._sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def forward(self, batch: list[Slice]) -> Floats:
        """Logits (slices that want them, vocab), in their order. Each cache moves on by its ids."""
        counts = [len(part.ids) for part in batch]
        places = [np.arange(part.cache.used, part.cache.used + len(part.ids)) for part in batch]
        positions = np.concatenate(places)
        cos, sin = self._cos[positions][:, None], self._sin[positions][:, None]
        x = self._embedding[np.concatenate([part.ids for part in batch])]
        for index, layer in enumerate(self._layers):
            mixed = self._attend(index, self._rms(x, layer.norm_in) @ layer.qkv, cos, sin, batch)
            x = x + mixed @ layer.out
            gate, up = np.split(self._rms(x, layer.norm_post) @ layer.gate_up, 2, 1)
            # silu by tanh: exp(-gate) would overflow
            x = x + (0.5 * gate * (1 + np.tanh(0.5 * gate)) * up) @ layer.down
        for part in batch:
            part.cache.used += len(part.ids)
        ends = np.cumsum(counts) - 1
        wanted = [end for end, part in zip(ends, batch, strict=True) if part.wants_logits]
        return np.asarray(self._rms(x[wanted], self._norm) @ self._head, np.float32)

    def _attend(self, index: int, qkv: Floats, cos: Floats, sin: Floats, batch: list[Slice]) -> Floats:
        """Mixed values (tokens, heads * head_dim); the new keys and values go into the caches."""
        shape = self.shape
        heads, kv_heads, dim = shape.heads, shape.kv_heads, shape.head_dim
        turned = _rotate(qkv[:, : (heads + kv_heads) * dim].reshape(-1, heads + kv_heads, dim), cos, sin)
        values = qkv[:, (heads + kv_heads) * dim :].reshape(-1, kv_heads, dim)
        queries = turned[:, :heads] * np.float32(dim**-0.5)
        keys = turned[:, heads:]
        mixed = np.empty((len(qkv), heads * dim), np.float32)
        start = 0
        for part in batch:
            count, used = len(part.ids), part.cache.used
            rows = slice(start, start + count)
            all_keys = part.cache.keys[index, :, : used + count]
            all_values = part.cache.values[index, :, : used + count]
            all_keys[:, used:] = keys[rows].transpose(1, 0, 2)
            all_values[:, used:] = values[rows].transpose(1, 0, 2)
            mixed[rows] = _mix(queries[rows], all_keys, all_values, kv_heads)
            start += count
        return mixed

    def _rms(self, x: Floats, weight: Floats) -> Floats:
        mean = np.einsum("th,th->t", x, x) / np.float32(x.shape[1])
        return np.asarray(x * (1 / np.sqrt(mean + np.float32(self.shape.rms_eps)))[:, None] * weight)


def _mix(queries: Floats, keys: Floats, values: Floats, kv_heads: int) -> Floats:
    """Causal attention of one sequence: queries (new, heads, dim), keys and values (kv_heads, all, dim)."""
    new, heads, dim = queries.shape
    total, shared = keys.shape[1], heads // kv_heads
    grouped = queries.reshape(new, kv_heads, shared, dim).transpose(1, 2, 0, 3)
    scores = grouped.reshape(kv_heads, shared * new, dim) @ keys.transpose(0, 2, 1)
    if new > 1:
        seen = np.tri(new, total, total - new, dtype=bool)
        scores = np.where(seen, scores.reshape(kv_heads, shared, new, total), -np.inf)
        scores = scores.reshape(kv_heads, shared * new, total).astype(np.float32)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mixed = (weights @ values).reshape(kv_heads, shared, new, dim)
    return np.asarray(mixed.transpose(2, 0, 1, 3).reshape(new, heads * dim))


def _rotate(x: Floats, cos: Floats, sin: Floats) -> Floats:
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    turned = np.empty_like(x)
    turned[..., :half] = first * cos - second * sin
    turned[..., half:] = second * cos + first * sin
    return turned


def _read_layer(shape: LlamaShape, tensors: Tensors, prefix: str) -> _Layer:
    def linear(name: str, rows: int, columns: int) -> Floats:
        return tensors.linear(prefix + name, rows, columns, shape.zero_offset)

    def norm(name: str) -> npt.NDArray[Any]:
        return tensors.floats(prefix + name + ".weight", (shape.hidden,))

    q_width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    hidden, inner = shape.hidden, shape.intermediate
    query = linear("self_attn.q_proj", hidden, q_width)
    key = linear("self_attn.k_proj", hidden, kv_width)
    value = linear("self_attn.v_proj", hidden, kv_width)
    gate_up = [linear("mlp.gate_proj", hidden, inner), linear("mlp.up_proj", hidden, inner)]
    return _Layer(
        norm_in=norm("input_layernorm"),
        qkv=np.concatenate([query, key, value], 1),
        out=linear("self_attn.o_proj", q_width, hidden),
        norm_post=norm("post_attention_layernorm"),
        gate_up=np.concatenate(gate_up, 1),
        down=linear("mlp.down_proj", inner, hidden),
    )
