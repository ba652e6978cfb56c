"""The checkpoints that a GPU is tested with are what they claim: the library reads them, numpy computes them."""

from pathlib import Path

import numpy as np
import pytest

from agent.engine.checkpoint import Tensors, read_shape
from agent.engine.llama import Cache, Llama, Slice
from agent.engine.make import Preset
from tests.agent.engine.exllamav2_double import install
from tests.gpu.checkpoints import (
    FORMATS,
    SHAPES,
    TINY,
    exl2_matrix,
    gptq_matrix,
    write_checkpoint,
    write_plain_twin,
)

pytestmark = pytest.mark.xdist_group("torch")
IDS = np.arange(7, 60, dtype=np.int64)
SMALL = Preset(vocab=512, layers=1)


def logits(model_dir: Path) -> np.ndarray:
    llama = Llama(read_shape(model_dir), Tensors(model_dir))
    (found,) = llama.forward([Slice(IDS, Cache(llama.shape, 64))])
    return np.asarray(found)


@pytest.mark.parametrize("form", FORMATS)
def test_the_library_reads_every_format_and_finds_each_byte(form: str, tmp_path: Path) -> None:
    weights_bytes = write_checkpoint(tmp_path / form, SMALL, form)
    install()
    from exllamav2 import ExLlamaV2, ExLlamaV2Config

    model = ExLlamaV2(ExLlamaV2Config(str(tmp_path / form)))
    # it does not count the norms' few bytes, and the embedding only where it is on the GPU
    found = sum(module.weight_footprint() for module in model.modules)
    assert found == pytest.approx(weights_bytes, rel=0.02)


@pytest.mark.parametrize("form", FORMATS[:2])
def test_the_plain_twin_of_a_gptq_model_computes_the_same(form: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / form, SMALL, form)
    write_plain_twin(tmp_path / form, tmp_path / "plain")
    assert np.abs(logits(tmp_path / form) - logits(tmp_path / "plain")).max() < 1e-5


@pytest.mark.parametrize("form", FORMATS[2:])
def test_the_plain_twin_of_an_exl2_model_is_a_working_transformer(form: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / form, SMALL, form)
    write_plain_twin(tmp_path / form, tmp_path / "plain")
    found = logits(tmp_path / "plain")
    assert np.isfinite(found).all()
    assert found.std() > 0.1


def test_a_layer_by_hand() -> None:
    words = np.full((2, 8), 0x76543210, np.uint32).view(np.int32)  # rows 0 to 7 hold 0 to 7, twice
    gptq = {"qweight": words, "qzeros": np.full((2, 1), 0x77777777, np.int32)}
    gptq["scales"] = np.array([[0.5] * 8, [2.0] * 8], np.float16)
    assert gptq_matrix(gptq)[:, 0].tolist() == [(v - 8) * s for s in (0.5, 2.0) for v in range(8)]
    gptq["g_idx"] = np.array([1, 0] * 8, np.int32)
    assert gptq_matrix(gptq)[:2, 3].tolist() == [-16.0, -3.5]
    exl2: dict[str, np.ndarray] = {
        "q_weight": words,
        "q_invperm": np.arange(16, dtype=np.int32)[::-1],
        "q_scale": np.array([[-1], [0]], np.int32),  # 15: the maximum; 0: a 256th of it
        "q_scale_max": np.array([0.5, 256.0], np.float16),
        "q_groups": np.array([4, 0, 4, 1], np.int16),
    }
    found = exl2_matrix(exl2)[:, 0].tolist()
    assert found == [(v - 8) * s for s in (0.5, 1.0) for v in range(8)][::-1]


def test_shapes_are_those_of_real_models() -> None:
    def parameters(shape: Preset) -> int:
        layer = shape.hidden * (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
        layer += 3 * shape.hidden * shape.intermediate
        return shape.layers * layer + 2 * shape.vocab * shape.hidden

    assert [round(parameters(SHAPES[name]) / 1e9, 1) for name in ("7b", "8b")] == [7.2, 8.0]
    assert SHAPES["tiny"] is TINY
