"""transformers as the reference: the numpy engine's logits are its logits. `make prove` runs it; it needs torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.engine.checkpoint import Tensors, read_shape
from agent.engine.llama import Cache, Llama, Slice
from agent.engine.make import Preset, write_model

PRESETS = {
    "tiny": Preset(),
    "wide": Preset(hidden=512, layers=3, heads=8, kv_heads=1, head_dim=64, intermediate=768, vocab=2048, group=64),
}


def unpacked(tensors: Tensors, key: str, rows: int, columns: int) -> Any:
    """A GPTQ layer's weight (columns, rows), word by word as AutoGPTQ's own unpacking has it."""
    import torch

    def words(name: str, shape: tuple[int, ...]) -> Any:
        return torch.from_numpy(np.array(tensors.get(f"{key}.{name}", shape)).astype(np.int64) & 0xFFFFFFFF)

    shifts = torch.arange(0, 32, 4)
    packed = words("qweight", (rows // 8, columns))
    scales = torch.from_numpy(np.array(tensors._arrays[f"{key}.scales"]).astype(np.float32))
    values = ((packed[:, None, :] >> shifts[None, :, None]) & 15).reshape(rows, columns)
    zeros = words("qzeros", (len(scales), columns // 8))
    zeros = ((zeros[:, :, None] >> shifts[None, None, :]) & 15).reshape(len(scales), columns) + 1
    group = torch.arange(rows) // (rows // len(scales))
    return (scales[group] * (values - zeros[group]).float()).T.contiguous()


def oracle(model_dir: Path, tensors: Tensors) -> Any:
    """transformers' LlamaForCausalLM with this checkpoint's weights, in float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    config.pop("quantization_config")
    torch.set_num_threads(1)
    made = LlamaForCausalLM(LlamaConfig(**config, attn_implementation="eager")).float().eval()
    state = {}
    for name, value in made.state_dict().items():
        key = name.removesuffix(".weight")
        if f"{key}.qweight" in tensors:
            state[name] = unpacked(tensors, key, value.shape[1], value.shape[0])
        else:
            state[name] = torch.from_numpy(np.array(tensors.get(name, tuple(value.shape))).astype(np.float32))
    made.load_state_dict(state)
    return made


@pytest.mark.parametrize("name", PRESETS)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    import torch

    write_model(tmp_path, PRESETS[name], seed=3)
    tensors = Tensors(tmp_path)
    llama = Llama(read_shape(tmp_path), tensors)
    made = oracle(tmp_path, tensors)
    ids = np.random.default_rng(1).integers(6, 2048, 200)
    with torch.no_grad():
        expected = made(torch.from_numpy(ids)[None]).logits[0].numpy()
    cache = Cache(llama.shape, 200)
    found = [llama.forward([Slice(ids[:100], cache)])[0]]
    found += [llama.forward([Slice(ids[place : place + 1], cache)])[0] for place in range(100, 200)]
    error = np.abs(np.stack(found) - expected[99:]).max()
    print(f"{name}: largest difference of {expected[99:].size} logits {error:.1e}, spread {expected.std():.2f}")
    assert error < 1e-5
    assert (np.stack(found).argmax(1) == expected[99:].argmax(1)).all()
