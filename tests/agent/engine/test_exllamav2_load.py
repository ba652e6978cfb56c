"""How ExLlamaV2 is brought up: its attention, its configuration, what it says of a model, what it refuses."""

import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.engine import exllamav2_load
from agent.engine.exllamav2_load import (
    adapter,
    configured,
    flash_attention_version,
    load_engine,
    model_ends,
    open_exllamav2,
    prepare_attention,
    quantisation_of,
)
from agent.engine.protocol import OPTIONS
from agent.errors import DamagedCheckpoint, EngineFailed, EngineLacks
from agent.settings import ExLlamaV2, load_agent_settings
from store.errors import SettingsError
from tests.agent.conftest import write_settings
from tests.agent.engine.exllamav2_double import install, loaded

pytestmark = pytest.mark.xdist_group("torch")


@pytest.fixture(autouse=True)
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    for name in ("EXLLAMA_NO_XFORMERS", "EXLLAMA_NO_FLASH_ATTN"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def changed(model_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """The tiny model with other values in a file of JSON."""

    def change(name: str, **values: Any) -> Path:
        made = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(model_dir, made)
        path = made / name
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")
        return made

    return change


def versions(found: str | None) -> Callable[[str], str]:
    def version_of(_name: str) -> str:
        if found is None:
            raise importlib.metadata.PackageNotFoundError
        return found

    return version_of


def test_only_a_flash_attention_that_pages_is_one() -> None:
    def find(_name: str) -> str:
        return "here"

    assert flash_attention_version(versions("2.8.3.post2"), find) == "2.8.3.post2"
    assert flash_attention_version(versions("2.5.6"), find) is None
    assert flash_attention_version(versions("4.0.0b1"), find) is None, "another API, which has only the name"
    assert flash_attention_version(versions(None), find) is None
    assert flash_attention_version(versions("2.8.3"), lambda _name: None) is None


def test_without_flash_attention_ours_is_taken_and_unpaged_on_demand() -> None:
    assert prepare_attention("auto") == "agent-paged"
    assert prepare_attention("agent-paged") == "agent-paged"
    assert "EXLLAMA_NO_FLASH_ATTN" not in os.environ
    assert prepare_attention("unpaged") == "unpaged"
    assert os.environ["EXLLAMA_NO_FLASH_ATTN"] == os.environ["EXLLAMA_NO_XFORMERS"] == "1"
    with pytest.raises(SettingsError, match=r"set attention = 'auto'"):
        prepare_attention("flash-attn")


def test_unpaged_never_takes_torchs_attention(model_dir: Path) -> None:
    assert configured(model_dir, ExLlamaV2(), is_paged=False).no_sdpa
    config = configured(model_dir, ExLlamaV2(cache_tokens=1024), is_paged=True)
    assert (config.max_seq_len, config.max_input_len) == (1024, 2048)
    assert configured(model_dir, ExLlamaV2(context_tokens=512), is_paged=True).max_seq_len == 512
    assert configured(model_dir, ExLlamaV2(max_chunk_tokens=8192), is_paged=True).max_input_len == 8192


def test_a_quantised_cache_needs_heads_of_its_blocks(changed: Callable[..., Path]) -> None:
    odd = changed("config.json", head_dim=80)
    with pytest.raises(SettingsError, match=r"q4 needs heads of a multiple of 32, and .* has 80"):
        configured(odd, ExLlamaV2(cache="q4"), is_paged=True)
    assert configured(odd, ExLlamaV2(), is_paged=True).head_dim == 80


def test_a_directory_that_it_cannot_read_is_named(model_dir: Path, changed: Callable[..., Path]) -> None:
    other = changed("config.json", architectures=["NobodyKnows"])
    with pytest.raises(DamagedCheckpoint, match=r"does not know .*NobodyKnows"):
        configured(other, ExLlamaV2(), is_paged=True)
    empty = changed("config.json")
    (empty / "model.safetensors").unlink()
    with pytest.raises(DamagedCheckpoint, match="ExLlamaV2 cannot read it"):
        configured(empty, ExLlamaV2(), is_paged=True)
    (other / "config.json").unlink()
    with pytest.raises(DamagedCheckpoint, match=r"config\.json"):
        configured(other, ExLlamaV2(), is_paged=True)


def test_a_model_without_a_tokenizer_is_named(changed: Callable[..., Path]) -> None:
    lacking = changed("config.json")
    (lacking / "tokenizer.json").unlink()
    with pytest.raises(DamagedCheckpoint, match=r"tokenizer\.json: is missing"):
        configured(lacking, ExLlamaV2(), is_paged=True)


def test_every_end_of_a_model_is_one(model_dir: Path, changed: Callable[..., Path]) -> None:
    assert model_ends(model_dir, {"eos_token_id": 7}) == {2, 5, 7}
    assert model_ends(changed("generation_config.json", eos_token_id=3), {}) == {3}
    assert model_ends(changed("generation_config.json", eos_token_id=None), {"eos_token_id": [8, 9]}) == {8, 9}


def test_a_models_quantisation_is_said() -> None:
    assert quantisation_of({"quantization_config": {"quant_method": "gptq", "bits": 4}}) == "gptq 4-bit"
    assert quantisation_of({"quantization_config": {"quant_method": "exl2", "bits": 4.25}}) == "exl2 4.25 bits"
    assert quantisation_of({"torch_dtype": "bfloat16"}) == "bfloat16"


def test_the_engine_says_what_it_is(model_dir: Path) -> None:
    engine = adapter(loaded(model_dir), model_dir, "q6", 16)
    info = engine.info
    assert (info.name, info.attention, info.quantisation) == ("exllamav2", "agent-paged", "gptq 4-bit")
    assert info.label == "ExLlamaV2 0.3.2, gptq 4-bit, q6 cache, agent-paged attention"
    assert (info.max_batch, info.context_tokens, info.device) == (16, 4096, "cpu")
    assert info.options == OPTIONS
    unpaged = adapter(loaded(model_dir, is_paged=False, attention="unpaged"), model_dir, "fp16", 16)
    assert (unpaged.info.max_batch, unpaged.info.attention) == (1, "unpaged")
    drafting = adapter(loaded(model_dir, draft_tokens=4), model_dir, "fp16", 16)
    assert drafting.info.context_tokens == 4092, "a draft runs ahead"


def test_without_a_gpu_it_does_not_load_and_says_why(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="does not load"):
        load_engine(model_dir, ExLlamaV2(), "agent-paged", 4)
    settings = load_agent_settings(write_settings(tmp_path, model_dir, 'engine = "exllamav2"\n'), {})
    with pytest.raises(EngineLacks, match="exllamav2 needs "):
        open_exllamav2(settings)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cache_tokens = 1000", "multiple of 256"),
        ('cache = "q5"', "fp16"),
        ("tensor_parallel = true", "tensor_parallel"),
        ("ngram_draft = true\ndraft_model_dir = 'd'", "not both"),
        ("autosplit = true\ngpu_split = [20.0, 20.0]", "not both"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, model_dir: Path, line: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_agent_settings(write_settings(tmp_path, model_dir, f"[exllamav2]\n{line}\n"), {})


def test_its_settings_are_read(tmp_path: Path, model_dir: Path) -> None:
    more = 'engine = "exllamav2"\n[exllamav2]\ncache = "q8"\ngpu_split = [17.5, 24]\n'
    settings = load_agent_settings(
        write_settings(tmp_path, model_dir, more), {"MTOK_AGENT_EXLLAMAV2__NGRAM_DRAFT": "true"}
    )
    assert settings.exllamav2.gpu_split == (17.5, 24.0)
    assert settings.exllamav2.ngram_draft


class Library:
    """A DOUBLE of the library's classes that put a model on GPUs: it notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name == "ExLlamaV2":
            return lambda _config: self

        def made(_model: object, **given: Any) -> str:
            self.asked.append((name, given))
            return name

        return made

    def load(self, **given: Any) -> None:
        self.asked.append(("load", given))

    def load_autosplit(self, cache: Any) -> None:
        self.asked.append(("load_autosplit", cache))


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        (ExLlamaV2(), [("load", {"gpu_split": None}), ("ExLlamaV2Cache", {"max_seq_len": 32_768})]),
        (
            ExLlamaV2(cache="q4", gpu_split=(10, 20)),
            [("load", {"gpu_split": [10.0, 20.0]}), ("ExLlamaV2Cache_Q4", {"max_seq_len": 32_768})],
        ),
        (
            ExLlamaV2(cache="q8", autosplit=True, cache_tokens=512),
            [("ExLlamaV2Cache_Q8", {"max_seq_len": 512, "lazy": True}), ("load_autosplit", "ExLlamaV2Cache_Q8")],
        ),
    ],
)
def test_one_gpu_a_given_split_and_autosplit(
    wanted: ExLlamaV2, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library()
    monkeypatch.setattr(exllamav2_load, "_library", lambda: library)
    exllamav2_load._in_memory(None, wanted)
    assert library.asked == asked


def test_a_draft_has_to_fit_its_model(changed: Callable[..., Path], model_dir: Path) -> None:
    config = configured(model_dir, ExLlamaV2(), is_paged=True)
    other = changed("config.json", vocab_size=4096)
    with pytest.raises(SettingsError, match="has 4096 tokens, the model 2048"):
        exllamav2_load._draft(other, ExLlamaV2(), config, is_paged=True)
    shorter = changed("config.json", max_position_embeddings=1024)
    with pytest.raises(SettingsError, match="a context of 1024 tokens, the model 4096"):
        exllamav2_load._draft(shorter, ExLlamaV2(), config, is_paged=True)
