"""Parts of the local engine by themselves: the store of prefixes, attention over packed pieces, a broken grammar."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import EngineRefused
from app.inference.engine import GenerationRequest
from app.inference.local.attention import Segment, packed_attention
from app.inference.local.grammars import Grammars
from app.inference.local.model import CausalModel
from app.inference.local.prefixes import BLOCK, PrefixStore
from app.inference.local.rows import Row, Ticket

BLOCK_BYTES = 1 * 2 * 1 * BLOCK * 1 * 4


def cache_of(tokens: list[int], weights: int = 0) -> torch.Tensor:
    """A cache whose every entry tells the tokens up to it and the weights, as a real one's does."""
    entries = [hash((weights, *tokens[: at + 1])) % 10**6 for at in range(len(tokens))]
    return torch.tensor(entries, dtype=torch.float32).view(1, 1, 1, -1, 1).expand(1, 2, 1, -1, 1).clone()


def restored(store: PrefixStore, tokens: list[int], weights: int = 0) -> int:
    """How many tokens were found; what was found has to be right."""
    cache = torch.zeros(1, 2, 1, max(len(tokens), 1), 1)
    count = store.restore(weights, tokens, cache)
    assert torch.equal(cache[:, :, :, :count], cache_of(tokens, weights)[:, :, :, :count])
    assert not cache[:, :, :, count:].any()
    return count


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-2, 0), st.lists(st.integers(0, 1), max_size=4), st.booleans()), min_size=1, max_size=30
    ),
    st.integers(0, 12),
)
def test_what_is_found_was_computed_for_just_that_beginning_within_the_memory_allowed(
    uses: list[tuple[int, list[int], bool]], blocks: int
) -> None:
    store = PrefixStore(blocks * BLOCK_BYTES)
    for weights, kinds, write in uses:
        tokens = [kind * 7 + at % 5 for kind in kinds for at in range(BLOCK)] + [1, 2, 3]
        if write:
            store.store(weights, tokens, cache_of(tokens, weights))
            assert restored(store, tokens, weights) == min(len(kinds), blocks) * BLOCK
        else:
            assert restored(store, tokens, weights) % BLOCK == 0
        assert store.bytes == len(store) * BLOCK_BYTES <= blocks * BLOCK_BYTES


def test_a_common_beginning_is_stored_once() -> None:
    store = PrefixStore(100 * BLOCK_BYTES)
    beginning = list(range(3 * BLOCK))
    for end in range(5):
        tokens = beginning + [end] * BLOCK
        store.store(0, tokens, cache_of(tokens))
    assert len(store) == 3 + 5


def test_the_least_recently_used_goes_first_and_its_end_before_its_beginning() -> None:
    store = PrefixStore(6 * BLOCK_BYTES)
    first, second, third = ([number] * 3 * BLOCK for number in range(3))
    for tokens in (first, second):
        store.store(0, tokens, cache_of(tokens))
    assert restored(store, first) == 3 * BLOCK
    store.store(0, third[: 2 * BLOCK], cache_of(third[: 2 * BLOCK]))
    assert [restored(store, tokens) // BLOCK for tokens in (second, first, third)] == [1, 3, 2]
    store.store(0, [9] * 2 * BLOCK, cache_of([9] * 2 * BLOCK))
    assert [restored(store, tokens) // BLOCK for tokens in (second, first, third)] == [0, 2, 2]
    store.clear()
    assert (restored(store, first), store.bytes, len(store)) == (0, 0, 0)


def test_a_grammar_that_broke_down_ends_the_answer_as_refused_not_as_finished(model_dir: Path) -> None:
    model = CausalModel(model_dir, device="cpu", dtype="float32")
    matcher = Grammars(model.tokenizer, model.vocabulary, model.eos).matcher({"enum": [12, 13]})
    (eos,) = model.eos
    row = Row(Ticket(GenerationRequest([5], {}, 9, 9.0), matcher, math.inf), 0, model.eos)
    assert not matcher.consume_token(model.tokenizer.encode("x")[0])
    with pytest.raises(EngineRefused):
        row.accept(eos, torch.zeros(model.vocabulary))


def attention(window: int | None, pieces: list[tuple[int, int]], heads: int, shared: int) -> None:
    """Compares pieces (tokens before, tokens) with attention written out in full, sequence by sequence."""
    generator = torch.Generator().manual_seed(3)
    size, total = 8, sum(length for _, length in pieces)

    def drawn(count: int, tokens: int) -> torch.Tensor:
        return torch.randn(1, count, tokens, size, generator=generator)

    segments = [
        Segment(torch.cat([drawn(heads, start + length + 3)] * 2).unsqueeze(0).clone(), start, length)
        for start, length in pieces
    ]
    query, key, value = drawn(heads * shared, total), drawn(heads, total), drawn(heads, total)
    module: Any = SimpleNamespace(layer_idx=0)
    output, _ = packed_attention(module, query, key, value, None, segments=segments, scaling=0.3, sliding_window=window)
    at = 0
    for segment in segments:
        part = slice(at, at + segment.length)
        keys, values = (segment.cache[0, side, :, : segment.end].repeat_interleave(shared, 0) for side in (0, 1))
        assert torch.equal(segment.cache[0, 0, :, segment.start : segment.end], key[0, :, part])
        assert torch.equal(segment.cache[0, 1, :, segment.start : segment.end], value[0, :, part])
        scores = 0.3 * query[0, :, part] @ keys.transpose(1, 2)
        queries = torch.arange(segment.start, segment.end)[:, None]
        distance = queries - torch.arange(segment.end)
        unseen = (distance < 0) | (distance >= (window or segment.end))
        expected = torch.softmax(scores.masked_fill(unseen, -torch.inf), -1) @ values
        torch.testing.assert_close(output[0, part].transpose(0, 1), expected, atol=1e-5, rtol=1e-4)
        at += segment.length


@pytest.mark.parametrize("window", [None, 1, 6, 100])
@pytest.mark.parametrize(("heads", "shared"), [(2, 1), (2, 3), (1, 4)])
def test_packed_attention_is_attention_of_each_sequence(window: int | None, heads: int, shared: int) -> None:
    attention(window, [(0, 1), (0, 9), (5, 1), (5, 4), (20, 7), (0, 12)], heads, shared)


@pytest.mark.parametrize("unknown", ["softcap", "s_aux", "position_bias"])
def test_a_kind_of_attention_that_is_not_known_is_refused(unknown: str) -> None:
    tensor = torch.zeros(1, 1, 1, 4)
    options: Any = {unknown: 1.0}
    module: Any = SimpleNamespace(layer_idx=0)
    with pytest.raises(RuntimeError, match=unknown):
        packed_attention(module, tensor, tensor, tensor, None, segments=[], **options)
