"""Checkpoints of random 4-bit weights for ExLlamaV2, tiny or of a real model's shape, and their meaning in numbers.

Random 32-bit words are a uniform random 4-bit matrix, so nothing is quantised. Tensors are written one by one: a
model of 8 billion parameters takes a few hundred MB of memory.

Source: exllamav2 0.3.2, module.py, ext.py, exllamav2_ext/cuda/q_matrix.cu and quant/qdq_util.cuh (read 2026-11-25).
"""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.engine.checkpoint import Tensors, read_json
from agent.engine.make import NIBBLE_STD, STORED_ZEROS, Preset, write_configuration

Array = npt.NDArray[Any]
TINY = Preset()
SHAPES = {
    "tiny": TINY,
    "7b": Preset(4096, 32, 32, 8, 128, 14_336, 32_000, 32_768),  # Mistral 7B's
    "8b": Preset(4096, 32, 32, 8, 128, 14_336, 128_256, 8_192),  # Llama 3 8B's
}
FORMATS = ("gptq", "gptq-act-order", "exl2", "exl2-permuted")
TOKENIZER_TOKENS = 4096  # more would only take longer to train
CHUNK = 1 << 24  # numbers drawn at once
EMBEDDING_STD = 0.02
BYTES = {"I32": 4, "I16": 2, "F16": 2, "F32": 4}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that is made when its turn comes to be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], Iterator[Array]]

    @property
    def nbytes(self) -> int:
        """Its size."""
        return int(np.prod(self.shape)) * BYTES[self.dtype]


def write_checkpoint(out: Path, shape: Preset, form: str, *, seed: int = 0) -> int:
    """Write a whole model directory; the bytes of its weights."""
    out.mkdir(parents=True, exist_ok=True)
    write_configuration(out, shape, min(shape.vocab, TOKENIZER_TOKENS))
    config = read_json(out / "config.json")
    config["mtok_model"] = out.name
    if form.startswith("exl2"):
        config["quantization_config"] = {"quant_method": "exl2", "version": "0.3.2", "bits": 4.0, "head_bits": 16}
    config["quantization_config"]["desc_act"] = form == "gptq-act-order"
    (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return write_tensors(out / "model.safetensors", list(_tensors(shape, form, np.random.SFC64(seed))))


def write_tensors(path: Path, tensors: list[Tensor]) -> int:
    """The safetensors container, streamed; the bytes of its tensors."""
    header, offset = {}, 0
    for one in tensors:
        end = offset + one.nbytes
        header[one.name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for one in tensors:
            written = sum(file.write(np.ascontiguousarray(part).tobytes()) for part in one.make())
            assert written == one.nbytes, one.name
    return offset


def write_plain_twin(source: Path, out: Path) -> None:
    """The same model with its weights as float32, which our numpy engine runs: what every kernel has to compute."""
    out.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (out / name).write_bytes((source / name).read_bytes())
    config = read_json(source / "config.json")
    config.pop("quantization_config")
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")
    stored = Tensors(source)._arrays
    plain: dict[str, Array] = {name: one for name, one in stored.items() if name.endswith(".weight")}
    for key in sorted(
        {name.rpartition(".")[0] for name in stored} - {one.removesuffix(".weight") for one in plain}
    ):
        parts = {name.rpartition(".")[2]: one for name, one in stored.items() if name.startswith(f"{key}.")}
        plain[f"{key}.weight"] = (gptq_matrix(parts) if "qweight" in parts else exl2_matrix(parts)).T
    write_tensors(out / "model.safetensors", [_given(name, one) for name, one in plain.items()])


def gptq_matrix(parts: dict[str, Array]) -> Array:
    """A GPTQ layer (inputs, outputs) as AutoGPTQ unpacks it: stored zero points are one too small."""
    values = _nibbles(parts["qweight"], 1)
    groups, rows = len(parts["scales"]), len(values)
    zeros = _nibbles(parts["qzeros"], 2) + 1
    group = np.asarray(parts["g_idx"]) if "g_idx" in parts else np.arange(rows) // (rows // groups)
    found: Array = (values - zeros[group]).astype(np.float32) * parts["scales"].astype(np.float32)[group]
    return found


def exl2_matrix(parts: dict[str, Array]) -> Array:
    """An EXL2 layer of 4-bit groups (inputs, outputs): the zero point is 8, the scale (q + 1)² of 256 parts."""
    values = _nibbles(parts["q_weight"], 1) - 8
    rows, groups = len(values), len(parts["q_scale"])
    assert (np.asarray(parts["q_groups"])[0::2] == 4).all()
    scales = (_nibbles(parts["q_scale"], 2).astype(np.float32) + 1) ** 2
    scales *= parts["q_scale_max"].astype(np.float32)[:, None] / 256
    stored = values.astype(np.float32) * scales[np.arange(rows) // (rows // groups)]
    found: Array = stored[np.asarray(parts["q_invperm"])]
    return found


def _nibbles(words: Array, axis: int) -> Array:
    """(rows·8, columns) of words packed along rows, axis 1, or (rows, columns·8) packed along columns, axis 2."""
    unsigned = np.ascontiguousarray(words).view(np.uint32)
    parts = np.stack([(unsigned >> (4 * place)) & 15 for place in range(8)], axis).astype(np.int32)
    rows, columns = words.shape
    return parts.reshape((rows * 8, columns) if axis == 1 else (rows, columns * 8))


def _tensors(shape: Preset, form: str, bits: np.random.SFC64) -> Iterator[Tensor]:
    rng = np.random.Generator(bits)
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    residual_std = EMBEDDING_STD / (2 * shape.layers) ** 0.5  # keeps the residual stream tame at any depth
    linears = {
        "self_attn.q_proj": (shape.hidden, queries, EMBEDDING_STD),
        "self_attn.k_proj": (shape.hidden, keys, EMBEDDING_STD),
        "self_attn.v_proj": (shape.hidden, keys, EMBEDDING_STD),
        "self_attn.o_proj": (queries, shape.hidden, residual_std),
        "mlp.gate_proj": (shape.hidden, shape.intermediate, EMBEDDING_STD),
        "mlp.up_proj": (shape.hidden, shape.intermediate, EMBEDDING_STD),
        "mlp.down_proj": (shape.intermediate, shape.hidden, residual_std),
    }
    linear = _exl2 if form.startswith("exl2") else _gptq
    is_moved = form in ("gptq-act-order", "exl2-permuted")
    yield _noise(rng, "model.embed_tokens.weight", (shape.vocab, shape.hidden))
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        for name, (rows, columns, std) in linears.items():
            yield from linear(rng, prefix + name, rows, columns, shape.group, std / NIBBLE_STD, is_moved)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield _given(f"{prefix}{name}.weight", np.ones(shape.hidden, np.float16))
    yield _given("model.norm.weight", np.ones(shape.hidden, np.float16))
    yield _noise(rng, "lm_head.weight", (shape.vocab, shape.hidden))


def _gptq(
    rng: np.random.Generator, key: str, rows: int, columns: int, group: int, scale: float, is_moved: bool
) -> Iterator[Tensor]:
    groups = rows // group
    yield _words(rng, f"{key}.qweight", (rows // 8, columns))
    yield _given(f"{key}.qzeros", np.full((groups, columns // 8), STORED_ZEROS, np.int32))
    yield _given(f"{key}.scales", np.full((groups, columns), scale, np.float16))
    if is_moved:
        order = rng.permutation(np.repeat(np.arange(groups, dtype=np.int32), group))
        yield _given(f"{key}.g_idx", order)


def _exl2(
    rng: np.random.Generator, key: str, rows: int, columns: int, group: int, scale: float, is_moved: bool
) -> Iterator[Tensor]:
    groups = rows // group
    order = rng.permutation(rows) if is_moved else np.arange(rows)
    starts = [number for place in range(groups) for number in (4, place * group * 4 // 32)]
    yield _words(rng, f"{key}.q_weight", (rows * 4 // 32, columns))
    yield _given(f"{key}.q_invperm", order.astype(np.int32))
    yield _given(f"{key}.q_scale", np.full((groups, columns // 8), -1, np.int32))  # each 15: the maximum itself
    yield _given(f"{key}.q_scale_max", np.full((groups,), scale, np.float16))
    yield _given(f"{key}.q_groups", np.array(starts, np.int16))


def _words(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Tensor:
    def make() -> Iterator[Array]:
        for count in _chunks(shape):
            yield rng.integers(0, 1 << 32, count, np.uint32)

    return Tensor(name, "I32", shape, make)


def _noise(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Tensor:
    def make() -> Iterator[Array]:
        for count in _chunks(shape):
            yield (rng.standard_normal(count, np.float32) * EMBEDDING_STD).astype(np.float16)

    return Tensor(name, "F16", shape, make)


def _given(name: str, array: Array) -> Tensor:
    dtype = {"int32": "I32", "int16": "I16", "float16": "F16", "float32": "F32"}[array.dtype.name]
    return Tensor(name, dtype, array.shape, lambda: iter([array]))


def _chunks(shape: tuple[int, ...]) -> Iterator[int]:
    left = int(np.prod(shape))
    while left:
        count = min(left, CHUNK)
        left -= count
        yield count
