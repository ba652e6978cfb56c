"""Reads a Llama checkpoint directory: configuration and safetensors, 4-bit GPTQ or plain.

Whatever is wrong with it is a DamagedCheckpoint that names the file and says what to do.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.errors import DamagedCheckpoint

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

COPY_AGAIN = "copy the model again, or remove the directory to have the reference model made anew"
DTYPES = {"F16": "<f2", "F32": "<f4", "I32": "<i4", "I16": "<i2", "I64": "<i8"}
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_PARAMETERS = 1_000_000_000  # dequantised to 4 bytes each: more would not fit a small host


@dataclass(frozen=True)
class LlamaShape:
    """The numbers of config.json that a forward pass needs."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    context: int
    rms_eps: float
    rope_theta: float
    tied: bool
    zero_offset: int  # added to stored zero points: 1 in GPTQ v1, 0 in v2
    quantisation: str
    eos: frozenset[int]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of the model directory."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DamagedCheckpoint(path, error.strerror or "cannot be read", COPY_AGAIN) from error
    except ValueError as error:
        raise DamagedCheckpoint(path, f"is not JSON ({error})", COPY_AGAIN) from error
    if not isinstance(value, dict):
        raise DamagedCheckpoint(path, "is no JSON object", COPY_AGAIN)
    return value


def read_shape(model_dir: Path) -> LlamaShape:
    """The model's shape, checked for what the reference engine can run."""
    path = model_dir / "config.json"
    config = read_json(path)
    if config.get("model_type") not in ("llama", "mistral"):
        problem = f"model_type {config.get('model_type')!r} is not run by the reference engine"
        raise DamagedCheckpoint(path, problem, "use engine exllamav2, or a Llama checkpoint")
    if config.get("rope_scaling"):
        raise DamagedCheckpoint(path, "rope_scaling is not implemented", "use engine exllamav2")
    try:
        shape = _shape(model_dir, config)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpoint(path, f"bad or missing value ({error})", COPY_AGAIN) from error
    layer = shape.hidden * (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
    layer += 3 * shape.hidden * shape.intermediate
    if shape.layers * layer + 2 * shape.vocab * shape.hidden > MAX_PARAMETERS:
        raise DamagedCheckpoint(path, "over a billion parameters", "use engine exllamav2 on a GPU")
    return shape


def _shape(model_dir: Path, config: dict[str, Any]) -> LlamaShape:
    quantisation = config.get("quantization_config") or {}
    method = quantisation.get("quant_method", "none")
    if method not in ("none", "gptq") or quantisation.get("bits", 4) != 4:
        raise ValueError(f"quantisation {method!r}, {quantisation.get('bits')} bits")
    generation_path = model_dir / "generation_config.json"
    generation = read_json(generation_path) if generation_path.exists() else {}
    eos = generation.get("eos_token_id", config.get("eos_token_id"))
    heads = int(config["num_attention_heads"])
    return LlamaShape(
        name=str(config.get("mtok_model") or model_dir.resolve().name),
        hidden=int(config["hidden_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or config["hidden_size"] // heads),
        intermediate=int(config["intermediate_size"]),
        vocab=int(config["vocab_size"]),
        context=int(config["max_position_embeddings"]),
        rms_eps=float(config["rms_norm_eps"]),
        rope_theta=float(config.get("rope_theta", 10000.0)),
        tied=bool(config.get("tie_word_embeddings", False)),
        zero_offset=0 if quantisation.get("checkpoint_format") == "gptq_v2" else 1,
        quantisation="gptq 4-bit" if method == "gptq" else "none",
        eos=frozenset([eos] if isinstance(eos, int) else eos or ()),
    )


class Tensors:
    """All tensors of a directory's safetensors files, mapped and not read until asked for."""

    def __init__(self, model_dir: Path) -> None:
        self._dir = model_dir
        self._arrays: dict[str, Array] = {}
        files = sorted(model_dir.glob("*.safetensors"))
        if not files:
            raise DamagedCheckpoint(model_dir, "holds no .safetensors file", COPY_AGAIN)
        for path in files:
            self._arrays.update(_read_file(path))

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def get(self, name: str, shape: tuple[int, ...]) -> Array:
        """The tensor as stored, of exactly this shape."""
        array = self._arrays.get(name)
        if array is None:
            raise DamagedCheckpoint(self._dir, f"tensor {name} is missing", COPY_AGAIN)
        if array.shape != shape:
            raise DamagedCheckpoint(self._dir, f"tensor {name} has shape {array.shape}, not {shape}", COPY_AGAIN)
        return array

    def floats(self, name: str, shape: tuple[int, ...]) -> Floats:
        """The tensor as finite float32."""
        array = self.get(name, shape).astype(np.float32)
        if not np.isfinite(array).all():
            raise DamagedCheckpoint(self._dir, f"tensor {name} holds values that are not finite", COPY_AGAIN)
        return array

    def linear(self, key: str, rows: int, columns: int, zero_offset: int) -> Floats:
        """A layer's matrix (rows = inputs, columns = outputs), dequantised when it is GPTQ."""
        if key + ".qweight" not in self:
            return np.ascontiguousarray(self.floats(key + ".weight", (columns, rows)).T)
        packed = self.get(key + ".qweight", (rows // 8, columns))
        groups = len(self._arrays.get(key + ".scales", ()))
        if not groups or rows % groups:
            raise DamagedCheckpoint(self._dir, f"tensor {key}.scales does not fit {rows} inputs", COPY_AGAIN)
        zeros = self.get(key + ".qzeros", (groups, columns // 8))
        scales = self.floats(key + ".scales", (groups, columns))
        group = np.arange(rows) // (rows // groups)
        if key + ".g_idx" in self:
            order = np.asarray(self.get(key + ".g_idx", (rows,)), np.int64)
            if order.min() < 0 or order.max() >= groups:
                raise DamagedCheckpoint(self._dir, f"tensor {key}.g_idx names no group", COPY_AGAIN)
            group = order if order.any() else group  # all zeros means "not used"
        zero_points = (_nibbles(zeros, 2).reshape(groups, columns) + zero_offset).astype(np.float32)
        weights = _nibbles(packed, 1).reshape(rows, columns).astype(np.float32)
        return np.asarray((weights - zero_points[group]) * scales[group], np.float32)


def _nibbles(words: Array, axis: int) -> Array:
    """The eight 4-bit numbers of each word, lowest first, along a new `axis`."""
    unsigned = np.ascontiguousarray(words).view(np.uint32)
    return np.stack([(unsigned >> (4 * place)) & 15 for place in range(8)], axis)


def _read_file(path: Path) -> dict[str, Array]:
    try:
        data = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise DamagedCheckpoint(path, f"cannot be mapped ({error})", COPY_AGAIN) from error
    length = struct.unpack("<Q", data[:8].tobytes())[0] if data.size >= 8 else MAX_HEADER_BYTES
    if length > min(MAX_HEADER_BYTES, data.size - 8):
        raise DamagedCheckpoint(path, "is cut short, or no safetensors file", COPY_AGAIN)
    try:
        header = json.loads(data[8 : 8 + length].tobytes())
        body = data[8 + length :]
        return {
            name: _tensor(body, entry)
            for name, entry in header.items()
            if name != "__metadata__" and entry["dtype"] in DTYPES
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpoint(path, f"is cut short or garbled ({error})", COPY_AGAIN) from error


def _tensor(body: Array, entry: dict[str, Any]) -> Array:
    start, end = entry["data_offsets"]
    if not 0 <= start <= end <= body.size:
        raise ValueError(f"bytes {start}..{end} of {body.size}")
    return body[start:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
