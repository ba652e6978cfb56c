"""Our paged attention computes attention; the library's own way without flash-attn does not: never take it."""

import sys
import types
from typing import Any

import pytest

from agent.engine import paged_attention
from agent.engine.paged_attention import (
    PAGE_TOKENS,
    Heads,
    Query,
    agrees,
    flash_attn_func,
    flash_attn_varlen_func,
    flash_attn_with_kvcache,
    masked,
    way_for,
)
from tests.agent.engine.exllamav2_double import install

pytestmark = pytest.mark.xdist_group("torch")
PAGES, OF_ONE = 40, 5


def naive(q: Any, k: Any, v: Any, window: int = -1, softcap: float = 0.0) -> Any:
    """One sequence: queries (new, heads, dim), keys and values (all, kv_heads, dim), position by position."""
    import torch

    found, repeat = torch.empty_like(q), q.shape[1] // k.shape[1]
    for place in range(len(q)):
        last = len(k) - len(q) + place
        first = max(last - window, 0) if window >= 0 else 0
        for head in range(q.shape[1]):
            scores = k[first : last + 1, head // repeat] @ q[place, head] * q.shape[-1] ** -0.5
            scores = softcap * torch.tanh(scores / softcap) if softcap else scores
            found[place, head] = scores.softmax(0) @ v[first : last + 1, head // repeat]
    return found


def close(one: Any, other: Any) -> bool:
    return bool((one - other).abs().max() < 2e-6)


@pytest.mark.parametrize("written", ["by us", "before"])
@pytest.mark.parametrize("kv_heads", [8, 2, 1])
@pytest.mark.parametrize("new", [1, 3, 60])
@pytest.mark.parametrize(("window", "softcap"), [(-1, 0.0), (70, 0.0), (-1, 3.0)])
def test_pages_give_what_a_naive_reference_gives(
    new: int, kv_heads: int, written: str, window: int, softcap: float
) -> None:
    import torch

    draw = torch.Generator().manual_seed(new * 10 + kv_heads)
    batch, heads, dim = 3, 8, 16
    keys, values = (torch.randn(PAGES, PAGE_TOKENS, kv_heads, dim, generator=draw) for _ in range(2))
    table = torch.randperm(PAGES, generator=draw)[: batch * OF_ONE].view(batch, OF_ONE).int()
    before = torch.tensor([0, 255, 4 * PAGE_TOKENS + 7], dtype=torch.int32)
    q = torch.randn(batch, new, heads, dim, generator=draw)
    k, v = (torch.randn(batch, new, kv_heads, dim, generator=draw) for _ in range(2))
    expected = []
    for row in range(batch):
        old = int(before[row])
        old_keys, old_values = [
            torch.cat([pages[table[row].long()].reshape(-1, kv_heads, dim)[:old], more[row]])
            for pages, more in ((keys, k), (values, v))
        ]
        expected.append(naive(q[row], old_keys, old_values, window, softcap))
        if written == "before":
            for place in range(new):
                page, slot = table[row, (old + place) // PAGE_TOKENS], (old + place) % PAGE_TOKENS
                keys[page, slot], values[page, slot] = k[row, place], v[row, place]
    found = flash_attn_with_kvcache(
        q,
        keys,
        values,
        k if written == "by us" else None,
        v if written == "by us" else None,
        cache_seqlens=before if written == "by us" else before + new,
        block_table=table,
        softmax_scale=dim**-0.5,
        window_size=(window, window),
        softcap=softcap,
    )
    assert close(found, torch.stack(expected))


@pytest.mark.parametrize(("new", "window"), [(9, -1), (4, -1), (9, 3)])
def test_attention_without_pages_is_causal_to_the_lower_right(new: int, window: int) -> None:
    import torch

    draw = torch.Generator().manual_seed(1)
    q = torch.randn(2, new, 4, 16, generator=draw)
    k, v = (torch.randn(2, 9, 2, 16, generator=draw) for _ in range(2))
    found = flash_attn_func(q, k, v, softmax_scale=16**-0.5, causal=True, window_size=(window, window))
    assert close(found, torch.stack([naive(q[row], k[row], v[row], window) for row in range(2)]))
    assert close(flash_attn_func(q, k, v, causal=True, window_size=(window, window)), found)


def test_a_way_that_is_wrong_or_fails_is_not_taken() -> None:
    import torch

    def wrong(query: Query) -> Any:
        return masked(query) + 0.1

    def failing(query: Query) -> Any:
        raise RuntimeError("no kernel image is available for execution on the device")

    device, heads = torch.device("cpu"), Heads(4, 2, 16)
    assert agrees(masked, device, torch.float32, heads)
    assert not agrees(wrong, device, torch.float32, heads)
    assert not agrees(failing, device, torch.float32, heads)
    assert way_for(device, torch.float16, heads) is masked


def test_packed_and_paged_hand_the_kernels_what_they_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are CUDA's; a stand-in with their signature computes from exactly what it is given."""
    import torch

    def varlen(
        query: Any,
        key: Any,
        value: Any,
        cu_seq_q: Any,
        cu_seq_k: Any,
        max_q: int,
        max_k: int,
        *,
        scale: float,
        window_size: tuple[int, int],
        enable_gqa: bool = False,
        seqused_k: Any = None,
        block_table: Any = None,
    ) -> Any:
        assert enable_gqa
        assert window_size == (-1, 0)
        assert scale == 16**-0.5
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
        assert max_q == int(cu_seq_q.diff().max())
        found = []
        for row in range(len(cu_seq_q) - 1):
            if block_table is None:
                span = slice(cu_seq_k[row], cu_seq_k[row + 1])
                k, v = key[span], value[span]
            else:
                assert int(seqused_k.max()) <= max_k
                k, v = (one[block_table[row].long()].reshape(-1, 2, 16)[: seqused_k[row]] for one in (key, value))
            found.append(naive(query[cu_seq_q[row] : cu_seq_q[row + 1]], k, v))
        return torch.cat(found)

    monkeypatch.setattr(paged_attention, "_varlen", lambda: varlen)
    heads = Heads(4, 2, 16)
    for way in (paged_attention.packed, paged_attention.paged):
        assert agrees(way, torch.device("cpu"), torch.float32, heads, 1e-5)


def test_what_torch_has_is_what_we_call() -> None:
    import inspect

    assert {"window_size", "enable_gqa", "seqused_k", "block_table"} <= set(
        inspect.signature(paged_attention._varlen()).parameters
    )


def test_the_names_that_the_library_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flash_attn", "flash_attn_2_cuda"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    paged_attention.install()
    import flash_attn

    assert flash_attn.__version__ == "2.8.3"
    assert flash_attn.flash_attn_with_kvcache is flash_attn_with_kvcache
    with pytest.raises(NotImplementedError):
        flash_attn_varlen_func()


def leak(*, no_sdpa: bool, past: int, new: int) -> float:
    """How much earlier positions change with the last key and value alone, by the library's own function."""
    import torch

    install()
    from exllamav2.attn import ExLlamaV2Attention
    from exllamav2.attn_params import Params

    heads, kv_heads, dim = 4, 2, 16
    layer = types.SimpleNamespace(num_key_value_groups=2, sliding_window=0, scaling=dim**-0.5, layer_idx=0)
    layer.repeat_kv = types.MethodType(ExLlamaV2Attention.repeat_kv, layer)
    config = types.SimpleNamespace(no_sdpa=no_sdpa, attn_logit_softcapping=None)
    draw = torch.Generator().manual_seed(1)
    q = torch.randn(1, new, heads, dim, generator=draw).half()
    k, v = (torch.randn(1, past + new, kv_heads, dim, generator=draw).half() for _ in range(2))
    found = []
    for more in (0, 3):
        k[:, -1] += more
        v[:, -1] += more
        params = Params(batch_size=1, seq_len=new, past_len=past)
        found.append(ExLlamaV2Attention._attn_torch(layer, 1, new, q, k.clone(), v.clone(), params, config)[:, :-1])
    return float((found[0] - found[1]).abs().max())


@pytest.mark.parametrize("past", [0, 5])
def test_without_flash_attention_the_library_sees_the_future_unless_no_sdpa_is_set(past: int) -> None:
    assert leak(no_sdpa=False, past=past, new=8) > 0.1
    assert leak(no_sdpa=True, past=past, new=8) == 0
