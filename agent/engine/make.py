"""Makes the reference model: a real 4-bit GPTQ checkpoint of random weights, with a real tokenizer.

Random 32-bit words are a uniform random 4-bit matrix, so nothing has to be quantised.
"""

import json
import os
import pydoc_data.topics
import shutil
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

MODEL_NAME = "mtok-reference-tiny-gptq"
SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
BOS, EOS, PAD, IM_END = 1, 2, 3, 5
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# AutoGPTQ v1 stores the zero point less one: 7 in each nibble is the zero point 8
STORED_ZEROS = 0x77777777
NIBBLE_STD = 4.61  # standard deviation of a uniform draw from 0..15

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Preset:
    """The shape of a Llama."""

    hidden: int = 256
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    intermediate: int = 512
    vocab: int = 2048
    context: int = 4096
    group: int = 128


TINY = Preset()


def ensure_model(model_dir: Path) -> bool:
    """Make the tiny model unless there is one; True if it was made now.

    Made beside its place and renamed into it, so that several agents may start at once.
    """
    if model_dir.is_dir() and any(model_dir.iterdir()):
        return False
    model_dir.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{model_dir.name}.", dir=model_dir.parent))
    try:
        write_model(made)
        made.chmod(0o755)
        made.rename(model_dir)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if not (model_dir / "config.json").exists():  # else another agent was first
            raise
        return False
    return True


def write_model(out: Path, preset: Preset = TINY, *, seed: int = 0) -> None:
    """Write tokenizer, configuration and weights into the directory `out`."""
    write_configuration(out, preset, preset.vocab)
    write_safetensors(out / "model.safetensors", _tensors(preset, np.random.default_rng(seed)))


def write_configuration(out: Path, preset: Preset, tokens: int) -> None:
    """Write all but the weights, with a tokenizer of at most so many tokens."""
    train_tokenizer(tokens).save(os.fspath(out / "tokenizer.json"))
    _write_json(out / "tokenizer_config.json", _tokenizer_config())
    _write_json(out / "config.json", _config(preset))
    _write_json(out / "generation_config.json", {"bos_token_id": BOS, "eos_token_id": [EOS, IM_END]})


def train_tokenizer(vocab: int) -> Tokenizer:
    """A byte-level BPE learnt from Python's own help topics, which every CPython ships."""
    tokenizer = Tokenizer(models.BPE())  # byte-level covers every string: no unknown token is needed
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(pydoc_data.topics.topics.values(), trainer)
    return tokenizer


def write_safetensors(path: Path, tensors: dict[str, Array]) -> None:
    """The safetensors container: length, JSON header padded to 8 bytes, the raw tensors."""
    header, offset = {}, 0
    for name, array in tensors.items():
        dtype = {"int32": "I32", "float16": "F16"}[array.dtype.name]
        end = offset + array.nbytes
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def _tensors(preset: Preset, rng: np.random.Generator) -> dict[str, Array]:
    q_width, kv_width = preset.heads * preset.head_dim, preset.kv_heads * preset.head_dim
    residual_std = 0.02 / (2 * preset.layers) ** 0.5  # keeps the residual stream tame at any depth
    linears = {
        "self_attn.q_proj": (preset.hidden, q_width, 0.02),
        "self_attn.k_proj": (preset.hidden, kv_width, 0.02),
        "self_attn.v_proj": (preset.hidden, kv_width, 0.02),
        "self_attn.o_proj": (q_width, preset.hidden, residual_std),
        "mlp.gate_proj": (preset.hidden, preset.intermediate, 0.02),
        "mlp.up_proj": (preset.hidden, preset.intermediate, 0.02),
        "mlp.down_proj": (preset.intermediate, preset.hidden, residual_std),
    }
    ones = np.ones(preset.hidden, np.float16)
    tensors: dict[str, Array] = {"model.embed_tokens.weight": _normal(rng, preset)}
    for layer in range(preset.layers):
        prefix = f"model.layers.{layer}."
        for name, (rows, columns, std) in linears.items():
            tensors |= _linear(rng, prefix + name, rows, columns, preset.group, std)
        tensors[prefix + "input_layernorm.weight"] = ones
        tensors[prefix + "post_attention_layernorm.weight"] = ones
    tensors["model.norm.weight"] = ones
    tensors["lm_head.weight"] = _normal(rng, preset)
    return tensors


def _linear(
    rng: np.random.Generator, key: str, rows: int, columns: int, group: int, std: float
) -> dict[str, Array]:
    groups = rows // group
    words = rng.integers(0, 1 << 32, (rows // 8, columns), np.uint32).view(np.int32)
    return {
        key + ".qweight": words,
        key + ".qzeros": np.full((groups, columns // 8), STORED_ZEROS, np.int32),
        key + ".scales": np.full((groups, columns), std / NIBBLE_STD, np.float16),
    }


def _normal(rng: np.random.Generator, preset: Preset) -> Array:
    return (rng.standard_normal((preset.vocab, preset.hidden), np.float32) * 0.02).astype(np.float16)


def _config(preset: Preset) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "mtok_model": MODEL_NAME,
        "hidden_size": preset.hidden,
        "num_hidden_layers": preset.layers,
        "num_attention_heads": preset.heads,
        "num_key_value_heads": preset.kv_heads,
        "head_dim": preset.head_dim,
        "intermediate_size": preset.intermediate,
        "vocab_size": preset.vocab,
        "max_position_embeddings": preset.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "bos_token_id": BOS,
        "eos_token_id": IM_END,
        "pad_token_id": PAD,
        "quantization_config": {
            "quant_method": "gptq",
            "bits": 4,
            "group_size": preset.group,
            "desc_act": False,
            "sym": True,
            "checkpoint_format": "gptq",
        },
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "<|im_end|>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "chat_template": CHAT_TEMPLATE,
        "added_tokens_decoder": {
            str(index): {"content": token, "special": True} for index, token in enumerate(SPECIAL_TOKENS)
        },
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
