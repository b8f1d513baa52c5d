"""Keys and values of prompts seen before, for the next prompt that begins alike."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

BLOCK = 32
"""Tokens of a block: what two prompts share is found to within so many."""


@dataclass(frozen=True)
class _Block:
    id: int
    content: torch.Tensor
    """(layers, 2, key-value heads, BLOCK, head size)"""


class PrefixStore:
    """Blocks of tokens by what stands before them, the least recently used thrown out beyond `limit` bytes.

    A block's key is the block before it and its own tokens, compared in full. The first one's predecessor is
    `weights`, a number of 0 or less that stands for one set of weights (base, or base and adapter): what was computed
    with others is never found. Blocks are copies: no request's cache is kept alive, and a common beginning is stored
    once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blocks: OrderedDict[tuple[int, tuple[int, ...]], _Block] = OrderedDict()
        self._next_id = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def restore(self, weights: int, tokens: Sequence[int], cache: torch.Tensor) -> int:
        """Copies into the cache what is stored of the tokens' beginning; the number of tokens."""
        blocks = self._path(weights, tokens)
        for index, block in enumerate(blocks):
            cache[:, :, :, index * BLOCK : (index + 1) * BLOCK] = block.content
        return len(blocks) * BLOCK

    def store(self, weights: int, tokens: Sequence[int], cache: torch.Tensor) -> None:
        """Keeps the tokens' whole blocks, whose keys and values the cache holds."""
        size = cache[:, :, :, :BLOCK].numel() * cache.element_size()
        wanted = min(len(tokens) // BLOCK, self._limit // size)
        blocks = self._path(weights, tokens[: wanted * BLOCK])
        parent = blocks[-1].id if blocks else weights
        new = []
        for index in range(len(blocks), wanted):
            at = slice(index * BLOCK, (index + 1) * BLOCK)
            block = _Block(self._new_id(), cache[:, :, :, at].clone())
            key = (parent, tuple(tokens[at]))
            new.append((key, block))
            parent = block.id
        # The end first: a block is always older in use than the one before it, so that none outlives its predecessor.
        for key, block in reversed(new):
            self._blocks[key] = block
            self.bytes += size
        if new:
            self._path(weights, tokens[: len(blocks) * BLOCK])
        while self.bytes > self._limit:
            self._blocks.popitem(last=False)
            self.bytes -= size

    def clear(self) -> None:
        self._blocks.clear()
        self.bytes = 0

    def _path(self, weights: int, tokens: Sequence[int]) -> list[_Block]:
        """The stored blocks of the tokens' beginning, which count as used now."""
        keys, blocks, parent = [], [], weights
        for at in range(0, len(tokens) - BLOCK + 1, BLOCK):
            key = (parent, tuple(tokens[at : at + BLOCK]))
            block = self._blocks.get(key)
            if block is None:
                break
            keys.append(key)
            blocks.append(block)
            parent = block.id
        for key in reversed(keys):
            self._blocks.move_to_end(key)
        return blocks

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id
