"""What a model is asked, put together from an instruction and its ranked candidates."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from app.decision.model_calls import ModelCaller, ModelRequest
from app.decision.ranked import Ranked
from app.domain import Candidate, DecisionRule, HistorySetting, Interaction, Tool
from app.extraction.extract import input_features
from app.retrieval.embedders.batching import BatchingEmbedder
from app.retrieval.embedders.tools import ToolEncoder
from app.retrieval.functional_fit import functional_fit
from app.retrieval.preferences import PreferenceRanker, ToolSignature
from app.retrieval.query import intents
from app.retrieval.snapshot import CatalogueSnapshot


async def model_request(
    model: ModelCaller, instruction: str, ranked: Ranked, *, rule: DecisionRule, seconds: float
) -> ModelRequest:
    """With the hints that the model's prompt format is made with."""
    profile = ranked.profile
    return ModelRequest(
        instruction,
        profile.setting,
        profile.interactions,
        ranked.interaction_relevance,
        await _hinted(model, instruction, ranked),
        rule,
        seconds,
    )


async def _hinted(model: ModelCaller, instruction: str, ranked: Ranked) -> list[Candidate]:
    if model.matcher is None:
        return ranked.hinted()
    tools = [candidate.tool for candidate in ranked.candidates]
    # A millisecond for each tool.
    inputs = await asyncio.to_thread(input_features, instruction, tools, now=datetime.now(UTC))
    return ranked.matched(model.matcher, inputs)


@dataclass(frozen=True)
class CaseRanker:
    """Ranks the candidates of a case that is in no catalogue: instruction, history and tools as given."""

    embedder: BatchingEmbedder
    encoder: ToolEncoder
    ranker: PreferenceRanker

    async def rank(
        self, instruction: str, tools: Sequence[Tool], setting: HistorySetting, history: Sequence[Interaction]
    ) -> Ranked:
        """What the history says of a tool counts where the tool is among `tools`."""
        vectors = await self.encoder.encode(tools)
        queries = await self.embedder.encode(intents(instruction))
        found = CatalogueSnapshot.build(tools, vectors, 0).search(instruction, queries, len(tools))
        order = np.array([item.row for item in found])
        signatures = {
            tool.name: ToolSignature(tool.name, tool.provider, vector)
            for tool, vector in zip(tools, vectors, strict=True)
        }
        profile = self.ranker.profile(setting, history, signatures)
        found_tools = [item.tool for item in found]
        candidates = self.ranker.rank(functional_fit(found), found_tools, vectors[order], profile)
        return Ranked.of(candidates, found, vectors[order], queries, profile)
