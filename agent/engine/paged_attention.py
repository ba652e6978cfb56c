"""Paged attention on torch's own kernels, for the one function of flash-attn that ExLlamaV2 batches with.

Three ways to the same result. `paged` hands the pages to the FlashAttention kernels that ship inside torch;
`packed` gathers each sequence's keys and values for them first; `masked` is plain torch, slow, and right on every
device. On a GPU the first one that agrees with `masked` there and then is used.

Source: exllamav2 0.3.2, attn.py, where it calls `flash_attn_with_kvcache`; torch 2.13, nn/attention/varlen.py
(read on 2026-11-25). flash-attn's own conventions: https://github.com/Dao-AILab/flash-attention, the docstring of
`flash_attn_with_kvcache`.
"""

import inspect
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog

log = structlog.get_logger()
STANDS_FOR = "2.8.3"  # the version of flash-attn whose signatures are offered
PAGE_TOKENS = 256
TOLERANCE = 2e-2  # of half precision, for values of about 1
NO_WINDOW = (-1, -1)


@dataclass(frozen=True, slots=True)
class Query:
    """One call: `queries` (batch, new, heads, dim) are the last positions of sequences of `lengths` tokens.

    `keys` and `values` are (pages, page, kv_heads, dim), `pages` (batch, pages of the longest); `window` is how far
    a query looks back and ahead, -1 for without end.
    """

    queries: Any
    keys: Any
    values: Any
    lengths: Any
    pages: Any
    scale: float
    window: tuple[int, int] = NO_WINDOW
    softcap: float = 0.0


Way = Callable[[Query], Any]


def masked(query: Query) -> Any:
    """Attention (batch, new, heads, dim) with an explicit mask, in float32."""
    import torch

    batch, new, heads, dim = query.queries.shape
    kv_heads = query.keys.shape[2]
    places, longest = _places(query)
    keys, values = (one.reshape(-1, kv_heads, dim)[places].float() for one in (query.keys, query.values))
    grouped = query.queries.float().reshape(batch, new, kv_heads, heads // kv_heads, dim)
    scores = torch.einsum("btkgd,bnkd->bkgtn", grouped, keys) * query.scale
    if query.softcap:
        scores = query.softcap * torch.tanh(scores / query.softcap)
    positions = torch.arange(longest, device=places.device)
    own = query.lengths.long()[:, None] - new + torch.arange(new, device=places.device)
    seen = positions <= own[:, :, None]
    if query.window[0] >= 0:
        seen &= positions >= own[:, :, None] - query.window[0]
    scores = scores.masked_fill(~seen[:, None, None], float("-inf")).softmax(-1)
    found = torch.einsum("bkgtn,bnkd->btkgd", scores, values)
    return found.reshape(batch, new, heads, dim).to(query.queries.dtype)


def packed(query: Query) -> Any:
    """Attention by torch's variable-length kernels over gathered keys and values."""
    import torch
    from torch.nn.functional import pad

    batch, new, heads, dim = query.queries.shape
    kv_heads = query.keys.shape[2]
    places, longest = _places(query)
    lengths = query.lengths.long()
    kept = places[torch.arange(longest, device=places.device) < lengths[:, None]]
    found = _varlen()(
        query.queries.reshape(batch * new, heads, dim),
        query.keys.reshape(-1, kv_heads, dim)[kept],
        query.values.reshape(-1, kv_heads, dim)[kept],
        torch.arange(0, (batch + 1) * new, new, device=places.device, dtype=torch.int32),
        pad(lengths.cumsum(0), (1, 0)).int(),
        new,
        longest,
        scale=query.scale,
        window_size=(query.window[0], 0),
        **_grouped(heads != kv_heads),
    )
    return found.view(batch, new, heads, dim)


def paged(query: Query) -> Any:
    """Attention by torch's variable-length kernels, which look the pages up themselves; waits for no device."""
    import torch
    from torch.nn.functional import pad

    batch, new, heads, dim = query.queries.shape
    page_tokens, kv_heads = query.keys.shape[1:3]
    found = _varlen()(
        query.queries.reshape(batch * new, heads, dim),
        query.keys,
        query.values,
        torch.arange(0, (batch + 1) * new, new, device=query.queries.device, dtype=torch.int32),
        pad(query.lengths.cumsum(0), (1, 0)).int(),
        new,
        query.pages.shape[1] * page_tokens,
        scale=query.scale,
        window_size=(query.window[0], 0),
        seqused_k=query.lengths.int(),
        block_table=query.pages.int(),
        **_grouped(heads != kv_heads),
    )
    return found.view(batch, new, heads, dim)


WAYS: dict[str, Way] = {"paged": paged, "packed": packed, "masked": masked}


@dataclass(frozen=True, slots=True)
class Heads:
    """The shape of a model's attention."""

    query: int
    key: int
    dim: int


def agrees(way: Way, device: Any, dtype: Any, heads: Heads, tolerance: float = TOLERANCE) -> bool:
    """Whether a way computes on this device what `masked` does, for several lengths, one new position and more."""
    import torch

    source = torch.Generator(device).manual_seed(1)

    def noise(*shape: int) -> Any:
        return torch.randn(shape, generator=source, device=device, dtype=dtype)

    keys, values = (noise(9, PAGE_TOKENS, heads.key, heads.dim) for _ in range(2))
    pages = torch.tensor([[4, 0, 8], [2, 7, 1], [6, 3, 5]], device=device, dtype=torch.int32)
    for new in (1, 5, 300):
        lengths = torch.tensor([new, new + 200, 600], device=device, dtype=torch.int32)
        queries = noise(3, new, heads.query, heads.dim)
        query = Query(queries, keys, values, lengths, pages, heads.dim**-0.5)
        try:
            difference = float((way(query) - masked(query)).abs().max())
        except (RuntimeError, ValueError, TypeError, ImportError, NotImplementedError) as error:
            log.info("a kernel of torch is not usable", way=way.__name__, problem=str(error).splitlines()[0])
            return False
        if not difference <= tolerance:
            log.warning("a kernel of torch disagrees", way=way.__name__, largest_difference=difference)
            return False
    return True


@cache
def way_for(device: Any, dtype: Any, heads: Heads) -> Way:
    """The fastest way that can be trusted for a model on a device."""
    import torch

    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return masked
    way = next(way for way in WAYS.values() if way is masked or agrees(way, device, dtype, heads))
    log.info("paged attention", way=way.__name__, device=str(device))
    return way


def flash_attn_with_kvcache(
    q: Any,
    k_cache: Any,
    v_cache: Any,
    k: Any = None,
    v: Any = None,
    *,
    cache_seqlens: Any,
    block_table: Any,
    softmax_scale: float,
    causal: bool = True,
    window_size: tuple[int, int] = NO_WINDOW,
    softcap: float = 0.0,
) -> Any:
    """flash-attn's function, as ExLlamaV2 calls it: `k` and `v` are written to their pages first, in place."""
    import torch

    assert causal
    lengths = cache_seqlens
    if k is not None:
        new = k.shape[1]
        positions = lengths.long()[:, None] + torch.arange(new, device=k.device)
        page_tokens = k_cache.shape[1]
        page = block_table.long().gather(1, positions // page_tokens)
        k_cache[page, positions % page_tokens] = k
        v_cache[page, positions % page_tokens] = v
        lengths = lengths + new
    query = Query(q, k_cache, v_cache, lengths, block_table, softmax_scale, window_size, softcap)
    heads = Heads(q.shape[2], k_cache.shape[2], q.shape[3])
    return (masked if softcap else way_for(q.device, q.dtype, heads))(query)


def flash_attn_func(
    q: Any,
    k: Any,
    v: Any,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    *,
    causal: bool = False,
    window_size: tuple[int, int] = NO_WINDOW,
    softcap: float = 0.0,
) -> Any:
    """flash-attn's function for keys (batch, all, kv_heads, dim) that are no pages: while GPUs are being filled."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    assert causal
    assert dropout_p == 0
    batch, length = k.shape[:2]
    if q.shape[1] == length and window_size == NO_WINDOW and not softcap:  # its memory is what is measured
        queries, keys, values = (one.transpose(1, 2) for one in (q, k, v))
        found = scaled_dot_product_attention(
            queries,
            keys,
            values,
            is_causal=True,
            scale=softmax_scale,
            enable_gqa=q.shape[2] != k.shape[2],
        )
        return found.transpose(1, 2)
    lengths = torch.full((batch,), length, device=k.device, dtype=torch.int32)
    pages = torch.arange(batch, device=k.device, dtype=torch.int32)[:, None]
    scale = softmax_scale if softmax_scale is not None else q.shape[-1] ** -0.5
    return masked(Query(q, k, v, lengths, pages, scale, window_size, softcap))


def flash_attn_varlen_func(*_given: Any, **_named: Any) -> Any:
    """Asked for by name only: models of pictures would call it.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("attention over packed pictures")


def install() -> None:
    """Offer these functions under the names that exllamav2 looks for; before it is imported."""
    module = types.ModuleType("flash_attn")
    offered: Sequence[Any] = (flash_attn_func, flash_attn_varlen_func, flash_attn_with_kvcache)
    vars(module).update({one.__name__: one for one in offered}, __version__=STANDS_FOR)
    sys.modules["flash_attn"] = module
    sys.modules["flash_attn_2_cuda"] = types.ModuleType("flash_attn_2_cuda")


def _places(query: Query) -> tuple[Any, int]:
    """Where each position of each sequence is among all tokens of all pages (batch, longest), and the longest."""
    import torch

    page_tokens = query.keys.shape[1]
    longest = int(query.lengths.max())
    positions = torch.arange(longest, device=query.keys.device)
    pages = query.pages.long()[:, positions // page_tokens]
    return pages * page_tokens + positions % page_tokens, longest


@cache
def _varlen() -> Any:
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn


def _grouped(is_grouped: bool) -> dict[str, bool]:
    """What tells the kernels of fewer key heads; torch 2.11 needs no telling, and knows no such argument."""
    return {"enable_gqa": is_grouped} if "enable_gqa" in inspect.signature(_varlen()).parameters else {}
