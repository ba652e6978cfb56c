"""Brings ExLlamaV2 up: prepares the process before the library is imported, then loads model, cache and draft.

The library's own choice without flash-attn, torch's attention, lets a prompt's tokens see later ones: `no_sdpa` is
set wherever it could be taken.

Source: exllamav2 0.3.2, ext.py, attn.py, config.py, model.py (read on 2026-11-25).
"""

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog

from agent.engine import paged_attention
from agent.engine.checkpoint import COPY_AGAIN, read_json
from agent.engine.exllamav2 import ExLlamaV2Engine, Loaded
from agent.engine.extension import ensure_extension
from agent.engine.grammar import Vocabulary
from agent.engine.probe import Machine, gpu_names, require
from agent.engine.protocol import EngineInfo
from agent.engine.tokenizer import ChatTokenizer
from agent.errors import DamagedCheckpoint, EngineFailed
from agent.settings import AgentSettings, ExLlamaV2
from store.errors import SettingsError

log = structlog.get_logger()
FLASH_ATTENTION = (2, 5, 7)  # the first that can page
UNPAGED_CHUNK_TOKENS = 512  # without flash-attn the scores of a chunk, for the whole context, are in memory
QUANTISED_CACHE_DIM = 32
LEAST_INPUT_TOKENS = 2048  # 64 sequences with a draft of 16 tokens each are one input


def open_exllamav2(settings: AgentSettings, say: Callable[[str], None] = lambda _doing: None) -> ExLlamaV2Engine:
    """The engine on the GPU; takes seconds, or minutes while its extension is compiled.

    Raises:
        EngineLacks: something is not on this machine.
        BuildFailed: the extension cannot be compiled.
        DamagedCheckpoint: the model cannot be run.
        SettingsError: settings that do not go with this model.
    """
    wanted, machine = settings.exllamav2, Machine()
    if wanted.extension_dir is not None:
        machine = machine.with_extensions(settings.beside(wanted.extension_dir))
    require(machine)
    with _talk_on_stderr():
        ensure_extension(machine, wanted.build_within_s, say)
        say(f"loading {settings.model_dir}")
        attention = prepare_attention(wanted.attention)
        draft_dir = None if wanted.draft_model_dir is None else settings.beside(wanted.draft_model_dir)
        engine = load_engine(
            settings.beside(settings.model_dir), wanted, attention, settings.limits.max_batch, draft_dir
        )
        engine.warm_up()
    return engine


def prepare_attention(wanted: str) -> str:
    """Choose an attention and make the library find it; before its import. The name is that of the choice.

    Raises:
        SettingsError: flash-attn is asked for by name, and is not usable.
    """
    os.environ["EXLLAMA_NO_XFORMERS"] = "1"
    version = flash_attention_version()
    if wanted in ("auto", "flash-attn") and version is not None:
        return f"flash-attn {version}"
    if wanted == "flash-attn":
        problem = "flash-attn 2.5.7 or newer is not installed, or the GPU is older than sm_80"
        raise SettingsError("exllamav2.attention", problem, "install it, or set attention = 'auto'")
    if wanted == "unpaged":
        os.environ["EXLLAMA_NO_FLASH_ATTN"] = "1"
        return "unpaged"
    paged_attention.install()
    return "agent-paged"


def flash_attention_version(
    version_of: Callable[[str], str] = importlib.metadata.version, find: Callable[[str], Any] | None = None
) -> str | None:
    """The version of a flash-attn that ExLlamaV2 can use here; packages that only share its name are none."""
    import torch

    try:
        version = version_of("flash_attn")
    except importlib.metadata.PackageNotFoundError:
        return None
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    has_kernels = (find or importlib.util.find_spec)("flash_attn_2_cuda") is not None
    devices = [torch.cuda.get_device_capability(place) for place in range(torch.cuda.device_count())]
    is_new_enough = all(capability >= (8, 0) for capability in devices)
    return version if FLASH_ATTENTION <= numbers < (3,) and has_kernels and is_new_enough else None


def load_engine(
    model_dir: Path, wanted: ExLlamaV2, attention: str, max_batch: int, draft_dir: Path | None = None
) -> ExLlamaV2Engine:
    """The engine on a model, not warmed up."""
    is_paged = attention != "unpaged"
    config = configured(model_dir, wanted, is_paged=is_paged)
    if is_paged and config.no_flash_attn:
        log.warning("this model's attention cannot be paged: one request at a time", model=str(model_dir))
        is_paged, attention, config.no_sdpa = False, "unpaged", True
    chunk_tokens = wanted.max_chunk_tokens if is_paged else min(wanted.max_chunk_tokens, UNPAGED_CHUNK_TOKENS)
    try:
        model, cache = _in_memory(config, wanted)
        draft = (None, None) if draft_dir is None else _draft(draft_dir, wanted, config, is_paged=is_paged)
    except (RuntimeError, AssertionError) as error:
        raise EngineFailed(f"{model_dir} does not load ({str(error).splitlines()[0]})") from error
    loaded = Loaded(
        model=model,
        cache=cache,
        tokenizer=_library().ExLlamaV2Tokenizer(config),
        attention=attention,
        is_paged=is_paged,
        chunk_tokens=min(chunk_tokens, config.max_input_len // 256 * 256),  # filling GPUs may have lowered it
        draft_model=draft[0],
        draft_cache=draft[1],
        draft_tokens=wanted.draft_tokens if draft_dir is not None or wanted.ngram_draft else 0,
        heals=wanted.token_healing,
    )
    return adapter(loaded, model_dir, wanted.cache, max_batch)


def adapter(loaded: Loaded, model_dir: Path, cache_name: str, max_batch: int) -> ExLlamaV2Engine:
    """The adapter over what is loaded, with the model's tokenizer, its ends and its names."""
    config = read_json(model_dir / "config.json")
    vocabulary_tokens = loaded.model.config.vocab_size
    ends = model_ends(model_dir, config) | {loaded.tokenizer.eos_token_id} - {None}
    vocabulary = Vocabulary(model_dir / "tokenizer.json", vocabulary_tokens, ends)
    tokens = ChatTokenizer(model_dir, vocabulary)
    if tokens.vocab_size > vocabulary_tokens:
        problem = f"has {tokens.vocab_size} tokens, the model {vocabulary_tokens}"
        raise DamagedCheckpoint(model_dir / "tokenizer.json", problem, "copy both from one source")
    version = importlib.metadata.version("exllamav2")
    quantisation = quantisation_of(config)
    info = EngineInfo(
        name="exllamav2",
        version=f"{version}, torch {importlib.metadata.version('torch')}",
        label=f"ExLlamaV2 {version}, {quantisation}, {cache_name} cache, {loaded.attention} attention",
        model=str(config.get("mtok_model") or model_dir.resolve().name),
        device=gpu_names(),
        quantisation=quantisation,
        attention=loaded.attention,
        context_tokens=loaded.context_tokens,
        max_batch=max_batch if loaded.is_paged else 1,
    )
    return ExLlamaV2Engine(loaded, tokens, vocabulary, ends, info)


def configured(model_dir: Path, wanted: ExLlamaV2, *, is_paged: bool) -> Any:
    """The library's configuration of a model, checked against the settings.

    Raises:
        DamagedCheckpoint: it cannot read the directory.
        SettingsError: a quantised cache that this model cannot have.
    """
    names = read_json(model_dir / "config.json").get("architectures")
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            config = _library().ExLlamaV2Config(os.fspath(model_dir))
    except (AssertionError, KeyError, TypeError, ValueError, OSError) as error:
        raise DamagedCheckpoint(model_dir, f"ExLlamaV2 cannot read it ({error})", COPY_AGAIN) from error
    if not (model_dir / "tokenizer.json").is_file():
        raise DamagedCheckpoint(model_dir / "tokenizer.json", "is missing", "a tokenizer.model alone is not enough")
    if "unknown architecture" in said.getvalue():  # it would run it as a Llama
        raise DamagedCheckpoint(model_dir, f"ExLlamaV2 does not know {names}", "use a model that it supports")
    if wanted.cache != "fp16" and config.head_dim % QUANTISED_CACHE_DIM:
        problem = f"{wanted.cache} needs heads of a multiple of 32, and {model_dir} has {config.head_dim}"
        raise SettingsError("exllamav2.cache", problem, "set cache = 'fp16'")
    config.no_sdpa = not is_paged
    config.arch_compat_overrides(quiet=True)
    config.max_seq_len = min(wanted.context_tokens or config.max_seq_len, config.max_seq_len, wanted.cache_tokens)
    config.max_input_len = max(wanted.max_chunk_tokens, LEAST_INPUT_TOKENS)
    config.max_attention_size = config.max_input_len**2
    return config


def model_ends(model_dir: Path, config: dict[str, Any]) -> frozenset[int]:
    """Every token by which the model ends an answer; the library itself takes only the first."""
    path = model_dir / "generation_config.json"
    found: set[int] = set()
    for source in (config, read_json(path) if path.exists() else {}):
        ends = source.get("eos_token_id")
        found |= {ends} if isinstance(ends, int) else set(ends or ())
    return frozenset(found)


def quantisation_of(config: dict[str, Any]) -> str:
    """`gptq 4-bit`, `exl2 4.25 bits`, or what the weights are stored as."""
    given = config.get("quantization_config") or {}
    method, bits = given.get("quant_method"), given.get("bits")
    if method == "exl2":
        return f"exl2 {bits} bits"
    return f"{method} {bits}-bit" if method else str(config.get("torch_dtype", "fp16"))


def _in_memory(config: Any, wanted: ExLlamaV2) -> tuple[Any, Any]:
    library = _library()
    model = library.ExLlamaV2(config)
    suffix = "" if wanted.cache == "fp16" else f"_{wanted.cache.upper()}"
    make_cache = getattr(library, f"ExLlamaV2Cache{suffix}")
    if wanted.autosplit:
        cache = make_cache(model, max_seq_len=wanted.cache_tokens, lazy=True)
        model.load_autosplit(cache)
    else:
        model.load(gpu_split=list(wanted.gpu_split) or None)
        cache = make_cache(model, max_seq_len=wanted.cache_tokens)
    return model, cache


def _draft(draft_dir: Path, wanted: ExLlamaV2, config: Any, *, is_paged: bool) -> tuple[Any, Any]:
    """The draft model and its cache, which has to be as large as the model's."""
    draft = configured(draft_dir, wanted, is_paged=is_paged)
    if draft.vocab_size != config.vocab_size:
        problem = f"{draft_dir} has {draft.vocab_size} tokens, the model {config.vocab_size}"
        raise SettingsError("exllamav2.draft_model_dir", problem, "name a draft of the same family")
    if draft.max_seq_len < config.max_seq_len:
        problem = f"{draft_dir} has a context of {draft.max_seq_len} tokens, the model {config.max_seq_len}"
        raise SettingsError("exllamav2.draft_model_dir", problem, "set context_tokens to the smaller one")
    return _in_memory(draft, wanted)


@contextlib.contextmanager
def _talk_on_stderr() -> Iterator[None]:
    """The library prints warnings; our stdout is data."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _library() -> Any:
    import exllamav2

    return exllamav2
