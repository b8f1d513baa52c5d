"""Tools to vectors, one for each, which serve retrieval and preference alike."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.domain import Tool
from app.retrieval.embedders.batching import BatchingEmbedder
from app.retrieval.texts import retrieval_text


class ToolEncoder:
    """Tools to vectors."""

    def __init__(self, embedder: BatchingEmbedder) -> None:
        self._embedder = embedder
        self.name = embedder.name
        self.dimension = embedder.dimension

    @staticmethod
    def text_hash(tool: Tool) -> bytes:
        return hashlib.sha256(retrieval_text(tool).encode()).digest()

    async def encode(self, tools: Sequence[Tool]) -> NDArray[np.float32]:
        """(n, d)."""
        return await self._embedder.encode([retrieval_text(tool) for tool in tools])
